import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWithIpvs } from '../probe.ts';
import { FAMILIES } from './dual-stack.ts';
import { type Attached, podsOf } from './lab-plan.ts';
import { Sockets } from './sockets.ts';
import { createLab, type Lab } from './topology.ts';

const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
const PORT = 8080;

describeWithIpvs('traffic lab', () => {
  let lab: Lab;
  let sockets: Sockets;
  let all: readonly Attached[];

  beforeAll(() => {
    lab = createLab({ routes: ['10.244.0.0/16', 'fd00:244::/32'] });
    sockets = new Sockets();
    all = [lab.outside, ...lab.nodes, ...podsOf(lab)];
  });

  afterAll(() => {
    sockets?.[Symbol.dispose]();
    lab[Symbol.dispose]();
    expect(all.filter(({ namespace }) => existsSync(`/run/netns/${namespace}`))).toEqual([]);
  });

  it('exchange() is refused by everybody, without a server', async () => {
    const requests = requestsOfAll();
    const outcomes = await sockets.exchange(requests, { timeoutMs: 20_000 });
    const kinds = outcomes.map(({ kind }, i) => ({ kind, request: requests[i] }));
    expect(kinds.filter(({ kind }) => kind !== 'refused')).toEqual([]);
  });

  it('exchange() brings every client to every pod over each protocol, from its own address', async () => {
    for (const pod of podsOf(lab)) {
      for (const family of FAMILIES) {
        for (const protocol of PROTOCOLS) {
          sockets.serve({ ...pod, address: pod.addresses[family], port: PORT, protocol });
        }
      }
    }
    const outcomes = await sockets.exchange(requestsOfAll(), { timeoutMs: 20_000 });
    const seen = outcomes.map((outcome) =>
      outcome.kind === 'answered' ? `${outcome.source} ${outcome.server}` : outcome,
    );
    expect(seen).toEqual(
      pairs().map(({ client, pod, family }) => {
        const node = lab.nodes.find(({ name }) => name === client.name);
        const source = node && pod.node === node.name ? node.gateway : client.addresses;
        return `${source[family]} ${pod.name}`;
      }),
    );
  });

  const pairs = () =>
    all.flatMap((client) =>
      podsOf(lab).flatMap((pod) =>
        FAMILIES.flatMap((family) => PROTOCOLS.map((protocol) => ({ client, pod, family, protocol }))),
      ),
    );
  const requestsOfAll = () =>
    pairs().map(({ client: { namespace }, pod, family, protocol }) => ({
      namespace,
      destination: pod.addresses[family],
      port: PORT,
      protocol,
    }));
});
