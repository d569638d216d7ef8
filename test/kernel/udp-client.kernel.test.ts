import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { IpFamily } from '../../src/model/address.ts';
import type { Protocol } from '../../src/model/port.ts';
import { UNHURRIED } from './host.ts';
import { describeWithIpvs, isEmulated, run, UNLESS_LEFT_OUT } from './probe.ts';
import { type SvcplaneOn, svcplaneOn } from './svcplane-on.ts';
import { clusterIPs, SERVICE_ROUTES, TARGET_PORT, type TestService, vips } from './test-services.ts';
import { FAMILIES } from './traffic/dual-stack.ts';
import type { Attached, Pod } from './traffic/lab-plan.ts';
import { type Outcome, type Request, Sockets } from './traffic/sockets.ts';
import { createLab, type Lab, type LabNode } from './traffic/topology.ts';

/** How long a client waits before it asks again. */
const PATIENCE_MS = isEmulated ? 2000 : 200;
/** A second's worth, in questions: a busy machine may take longer for them. */
const ATTEMPTS = 5;

/** SCTP passes over a refusal that comes while the very question is being sent, and asks again after 3 s. */
const REFUSAL_MS = isEmulated ? 60_000 : 10_000;

const PORT = 53;
const NODE_PORT = 30_053;
/** Of every client, for all its life. */
const SOURCE_PORT = 5353;

const PROTOCOLS = ['UDP', 'SCTP'] as const satisfies readonly Protocol[];

/** One that asks again and again from the same port. */
interface Client {
  readonly name: string;
  readonly request: Request;
}

describeWithIpvs('clients that keep their source port', () => {
  let lab: Lab;
  let node: LabNode;
  let svcplane: SvcplaneOn;
  let pods: readonly [Pod, Pod];
  let clients: readonly Client[];
  let sockets: Sockets;
  const took: string[] = [];

  const dns = (...endpoints: readonly Pod[]): TestService => ({
    name: 'dns',
    number: 10,
    vip: 10,
    ports: PROTOCOLS.map((protocol) => ({ protocol, port: PORT, nodePort: NODE_PORT })),
    endpoints,
  });

  beforeAll(async () => {
    lab = createLab({ nodes: 2, podsPerNode: 3, routes: SERVICE_ROUTES });
    sockets = new Sockets();
    const [first, second] = lab.nodes;
    const [local, , client] = first?.pods ?? [];
    const remote = second?.pods[0];
    if (!first || !local || !remote || !client) throw new RangeError('the lab has no two nodes with pods');
    node = first;
    pods = [local, remote];
    clients = clientsOf(lab.outside, node, client);
    for (const pod of pods) {
      for (const family of FAMILIES) {
        for (const protocol of PROTOCOLS) {
          sockets.serve({ ...pod, address: pod.addresses[family], port: TARGET_PORT, protocol });
        }
      }
    }
    svcplane = svcplaneOn(lab, node);
    // Questions to an address that is nobody's yet do not end on the node, and are remembered as passing through.
    for (const family of FAMILIES) {
      run(['ip', '-n', node.namespace, 'route', 'add', 'default', 'via', lab.outside.addresses[family]]);
    }
  }, UNHURRIED.timeout);

  afterAll(() => {
    console.log(
      `kept source ports: ${clients?.length} clients of ${PATIENCE_MS} ms patience; ${took.join('; ')}`,
    );
    sockets?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  beforeEach(async () => {
    await svcplane.apply([dns(...pods)]);
  }, UNHURRIED.timeout);

  /** What every client is told at once, side by side. */
  async function ask(
    asked: readonly Client[],
    timeoutMs: number,
  ): Promise<ReadonlyMap<Client, Outcome['kind']>> {
    const outcomes = await sockets.exchange(
      asked.map(({ request }) => request),
      { timeoutMs },
    );
    return new Map(asked.map((client, i) => [client, outcomes[i]?.kind ?? 'timeout']));
  }

  /** Has those who have no answer ask again and again. @returns names of those who had none within a second */
  async function withoutAnswer(event: string): Promise<readonly string[]> {
    const startMs = performance.now();
    let stuck = clients;
    let attempts = 0;
    for (; stuck.length > 0 && attempts < ATTEMPTS; attempts++) {
      const told = await ask(stuck, PATIENCE_MS);
      stuck = stuck.filter((client) => told.get(client) !== 'answered');
    }
    const tookMs = Math.round(performance.now() - startMs);
    took.push(`${event}: ${attempts} attempts, ${tookMs} ms`);
    return stuck.map(({ name }) => name);
  }

  /** Who is told anything but `kind`. */
  async function others(kind: Outcome['kind'], timeoutMs: number): Promise<readonly string[]> {
    const told = [...(await ask(clients, timeoutMs))];
    return told.filter(([, each]) => each !== kind).map(([{ name }, each]) => `${name}: ${each}`);
  }

  describe('get an answer within a second', { ...UNHURRIED, ...UNLESS_LEFT_OUT }, () => {
    it('of the death of the endpoint that answered before', async () => {
      for (const [dead, living] of [pods, pods.toReversed()]) {
        if (!dead || !living) throw new RangeError('two endpoints');
        await svcplane.apply([dns(dead)]);
        expect(await withoutAnswer('first')).toEqual([]);
        using _ = silence(lab, dead);
        expect(await others('timeout', PATIENCE_MS)).toEqual([]);
        await svcplane.apply([dns(living)]);
        expect(await withoutAnswer('endpoint replaced')).toEqual([]);
      }
    });

    it('of the return of an endpoint after all have gone', async () => {
      expect(await withoutAnswer('first')).toEqual([]);
      await svcplane.apply([dns()]);
      expect(await others('refused', REFUSAL_MS)).toEqual([]);
      await svcplane.apply([dns(pods[1])]);
      expect(await withoutAnswer('endpoint back')).toEqual([]);
    });

    it('of the deletion of the Service and its return', async () => {
      expect(await withoutAnswer('first')).toEqual([]);
      await svcplane.apply([]);
      // They go on asking, so that whatever is kept of their questions does not grow old.
      expect([...(await ask(clients, PATIENCE_MS)).values()]).not.toContain('answered');
      await svcplane.apply([dns(pods[0])]);
      expect(await withoutAnswer('Service back')).toEqual([]);
    });
  });
});

function clientsOf(outside: Attached, node: LabNode, pod: Pod): readonly Client[] {
  const frontends = (family: IpFamily) => [
    { name: 'ClusterIP', destination: clusterIPs(10)[family], port: PORT },
    { name: 'LoadBalancer', destination: vips(10)[family], port: PORT },
    { name: 'NodePort', destination: node.addresses[family], port: NODE_PORT },
  ];
  return [outside, node, pod].flatMap(({ name, namespace }) =>
    FAMILIES.flatMap((family) =>
      PROTOCOLS.flatMap((protocol) =>
        frontends(family).map(
          ({ name: frontend, destination, port }, i): Client => ({
            name: `${name} ${frontend} ${family} ${protocol}`,
            // One for each frontend: what comes to one endpoint from one port would be one flow.
            request: { namespace, destination, port, protocol, sourcePort: SOURCE_PORT + i },
          }),
        ),
      ),
    ),
  );
}

/** Cuts a pod's cable, as it were, until disposed of: nothing answers, nothing refuses. */
function silence(lab: Lab, { name, node }: Pod): Disposable {
  const namespace = lab.nodes.find((each) => each.name === node)?.namespace ?? '';
  const set = (state: 'up' | 'down') => void run(['ip', '-n', namespace, 'link', 'set', name, state]);
  set('down');
  return { [Symbol.dispose]: () => set('up') };
}
