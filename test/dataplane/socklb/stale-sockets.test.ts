import { rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as links from '../../../native-bindings/bpf-links.ts';
import * as maps from '../../../native-bindings/bpf-maps.ts';
import * as objects from '../../../native-bindings/bpf-object.ts';
import * as programs from '../../../native-bindings/bpf-programs.ts';
import { mountFileSystem, unmountFileSystem } from '../../../native-bindings/mounts.ts';
import * as netlink from '../../../native-bindings/netlink-socket.ts';
import * as namespaces from '../../../native-bindings/network-namespace.ts';
import * as diagnosis from '../../../native-bindings/socket-diagnosis-probe.ts';
import { socketPrograms } from '../../../src/dataplane/socklb/bindings.ts';
import { BpfSocklbKernel } from '../../../src/dataplane/socklb/client.ts';
import { createSocklbDataplane, type SocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import type { SocklbRows } from '../../../src/dataplane/socklb/rows.ts';
import { openEnder } from '../../../src/socket-host.ts';
import { createNamespace } from '../../kernel/probe.ts';
import { within } from '../../kernel/traffic/raw-socket.ts';
import { needsBpf } from '../../native-bindings/bpf-environment.ts';
import { type ClientKind, RawSocket } from '../../native-bindings/raw-sockets.ts';
import { type JoinedCgroup, joinNewCgroup, temporaryDirectory } from '../../native-bindings/socklb-lab.ts';
import { NEVER, OPTIONS, wantedOf } from './build.ts';

const MODULES = { ...links, ...maps, ...objects, ...programs };

/** A DNS Service as a kind of client writes it, and its two endpoints. */
const FAMILIES: readonly { kind: ClientKind; vip: string; dead: string; live: string }[] = [
  { kind: 'IPv4', vip: '10.96.0.10:53', dead: '127.0.0.1:5301', live: '127.0.0.2:5302' },
  { kind: 'IPv4 on IPv6', vip: '10.96.0.10:53', dead: '127.0.0.1:5301', live: '127.0.0.2:5302' },
  { kind: 'IPv6', vip: '[fd00:96::a]:53', dead: '[::1]:5301', live: '[::1]:5302' },
];

function whyNoEnding(): { readonly skip?: true; readonly meta?: { readonly skipReason: string } } {
  const { skip, meta } = needsBpf();
  if (skip) return { skip, ...(meta && { meta }) };
  const probe = diagnosis.probeEndingUdpSockets();
  return probe.outcome === 'supported' ? {} : { skip: true, meta: { skipReason: probe.reason } };
}

describe('a DNS client with one connected UDP socket', whyNoEnding(), () => {
  let cgroup: JoinedCgroup | undefined;
  let bpffs = '';

  beforeAll(() => {
    cgroup = joinNewCgroup();
    bpffs = temporaryDirectory();
    mountFileSystem('bpf', bpffs);
  });

  afterAll(() => {
    unmountFileSystem(bpffs);
    rmdirSync(bpffs);
    cgroup?.[Symbol.dispose]();
  });

  async function sync(dataplane: SocklbDataplane, wanted: SocklbRows): Promise<readonly string[]> {
    const { make, break: unmake } = dataplane.plan(await dataplane.observe(NEVER), wanted);
    const reports = [await dataplane.apply(make, NEVER), await dataplane.apply(unmake, NEVER)];
    expect(reports.flatMap(({ refused }) => refused.map(({ message }) => message))).toEqual([]);
    return [...make, ...unmake].map(({ op }) => op);
  }

  it.each(FAMILIES)('over $kind hears at its next query that the endpoint is gone', async (family) => {
    const { kind, vip, dead, live } = family;
    using namespace = createNamespace('stale');
    const socket = (of: ClientKind = kind) => within(namespace.name, () => new RawSocket('UDP', of));
    const server = (at: string) => socket(at.startsWith('[') ? 'IPv6' : 'IPv4').bind(at);
    const place = { directory: join(bpffs, kind.replaceAll(' ', '-')), cgroup: cgroup?.path ?? '' };
    const ender = openEnder({ ...netlink, ...namespaces, ...diagnosis });
    expect(ender.ending).toEqual({ outcome: 'supported' });
    const bpf = socketPrograms(MODULES, objects.readSocklbObject('socklb'));
    using kernel = new BpfSocklbKernel(bpf, place, ender);
    await using _ = { [Symbol.asyncDispose]: async () => void (await kernel.remove(NEVER)) };
    let nowMs = 0;
    const dataplane = createSocklbDataplane({ kernel, nowMs: () => nowMs }, OPTIONS);
    const dns = `UDP ${vip} random`;
    await sync(dataplane, wantedOf([`${dns} ${dead}`]));

    using dying = server(dead);
    using living = server(live);
    using client = socket();
    using direct = socket();
    using loose = socket();
    expect([client.connect(vip), direct.connect(dead)]).toEqual(['', '']);
    const asked = (by: RawSocket, to?: string) => [
      by.send('query', to),
      dying.receive()?.text,
      living.receive()?.text,
    ];
    for (const [by, to] of [[client], [direct], [loose, vip]] as const) {
      expect(asked(by, to)).toEqual(['', 'query', undefined]);
    }

    const changed = wantedOf([`${dns} ${live}`]);
    expect(await sync(dataplane, changed)).toEqual(['setSocketService']);
    // As long as a program may be at work nothing is ended.
    expect(asked(client)).toEqual(['', 'query', undefined]);
    nowMs = 50;
    expect(await sync(dataplane, changed)).toEqual(['deleteSocketSlots', 'endSockets']);
    expect(await sync(dataplane, changed)).toEqual([]);

    // One query fails: it can't be sent, and who waits for the answer hears why.
    expect(client.send('query')).toBe('EDESTADDRREQ');
    expect(() => client.receive()).toThrow('ECONNABORTED');
    expect(client.connect(vip)).toBe('');
    expect(asked(client)).toEqual(['', undefined, 'query']);
    expect(asked(loose, vip)).toEqual(['', undefined, 'query']);
    // Nobody asked us about this one.
    expect(asked(direct)).toEqual(['', 'query', undefined]);
    expect((await kernel.readAll('lb_udp_conn', NEVER)).keys).toHaveLength(8);
  });
});
