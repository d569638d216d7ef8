import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as netlink from '../../../native-bindings/netlink-socket.ts';
import * as namespaces from '../../../native-bindings/network-namespace.ts';
import * as diagnosis from '../../../native-bindings/socket-diagnosis-probe.ts';
import { createSocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import { openEnder } from '../../../src/socket-ending-host.ts';
import { createNamespace } from '../../kernel/probe.ts';
import { within } from '../../kernel/traffic/raw-socket.ts';
import { needsBpf } from '../../native-bindings/bpf-environment.ts';
import { type ClientKind, RawSocket } from '../../native-bindings/raw-sockets.ts';
import { NEVER, OPTIONS, wantedOf } from './build.ts';
import { openKernel, SocketGround, syncOnce } from './ground.ts';

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
  let ground: SocketGround;

  beforeAll(() => {
    ground = SocketGround.join();
  });

  afterAll(() => {
    ground?.[Symbol.dispose]();
  });

  it.each(FAMILIES)('over $kind hears at its next query that the endpoint is gone', async (family) => {
    const { kind, vip, dead, live } = family;
    using namespace = createNamespace('stale');
    const socket = (of: ClientKind = kind) => within(namespace.name, () => new RawSocket('UDP', of));
    const server = (at: string) => socket(at.startsWith('[') ? 'IPv6' : 'IPv4').bind(at);
    const ender = openEnder({ ...netlink, ...namespaces, ...diagnosis });
    expect(ender.ending).toEqual({ outcome: 'supported' });
    using kernel = openKernel(ground.place(kind.replaceAll(' ', '-')), 'socklb', ender);
    await using _ = { [Symbol.asyncDispose]: async () => void (await kernel.remove(NEVER)) };
    let nowMs = 0;
    const dataplane = createSocklbDataplane({ kernel, nowMs: () => nowMs }, OPTIONS);
    const dns = `UDP ${vip} random`;
    await syncOnce(dataplane, wantedOf([`${dns} ${dead}`]));

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
    expect(await syncOnce(dataplane, changed)).toEqual(['setSocketService']);
    // As long as a program may be at work nothing is ended.
    expect(asked(client)).toEqual(['', 'query', undefined]);
    nowMs = 50;
    expect(await syncOnce(dataplane, changed)).toEqual(['deleteSocketSlots', 'endSockets']);
    expect(await syncOnce(dataplane, changed)).toEqual([]);

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
