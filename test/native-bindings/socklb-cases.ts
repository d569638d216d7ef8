import { describe, expect, test } from 'vitest';
import type { ClientKind } from './raw-sockets.ts';
import { SocklbLab } from './socklb-lab.ts';

/** A client's kind of socket with a service, as it writes the address, and two places for backends. */
interface Family {
  readonly kind: ClientKind;
  readonly vip: string;
  /** The service's address as that kind of socket shows it. */
  readonly shown: string;
  readonly backends: readonly [string, string];
  /** The first backend as that kind of socket shows it. */
  readonly shownBackend: string;
}

const FAMILIES: readonly Family[] = [
  {
    kind: 'IPv4',
    vip: '10.96.0.10:80',
    shown: '10.96.0.10:80',
    backends: ['127.0.0.1:18081', '127.0.0.2:18082'],
    shownBackend: '127.0.0.1:18081',
  },
  {
    kind: 'IPv6',
    vip: '[fd00:96::a]:80',
    shown: '[fd00:96::a]:80',
    backends: ['[::1]:18081', '[::1]:18082'],
    shownBackend: '[::1]:18081',
  },
  {
    kind: 'IPv4 on IPv6',
    vip: '10.96.0.10:80',
    shown: '[::ffff:10.96.0.10]:80',
    backends: ['127.0.0.1:18081', '127.0.0.2:18082'],
    shownBackend: '[::ffff:127.0.0.1]:18081',
  },
];
const [V4] = FAMILIES as readonly [Family];
const VIP = V4.vip;

/**
 * What the programs do with real sockets.
 * @param cgroup where they are attached; this process is in it or below. Asked for when a test begins
 */
export function describeSocklb(cgroup: () => string): void {
  /** A lab with one service of two TCP and one of two UDP backends. */
  function openLab(family: Family = V4): SocklbLab {
    const lab = SocklbLab.open(cgroup());
    lab.configure({});
    for (const [protocol, id] of [
      ['TCP', 1],
      ['UDP', 2],
    ] as const) {
      for (const [i, address] of family.backends.entries()) {
        lab.putBackend({ id: 10 * id + i, service: id, address, protocol });
      }
      lab.putService({ frontend: family.vip, protocol, id, slots: [10 * id, 10 * id + 1] });
    }
    return lab;
  }

  describe.each(FAMILIES)('$kind', (family) => {
    test('connect(2) reaches a backend, and getpeername(2) shows the service', () => {
      using lab = openLab(family);
      using one = lab.server('TCP', family.backends[0]);
      using two = lab.server('TCP', family.backends[1]);
      using client = lab.socket('TCP', family.kind);
      expect(client.connect(family.vip)).toBe('');
      expect([one.accept(), two.accept()].filter(Boolean)).toHaveLength(1);
      expect(client.peer()).toBe(family.shown);
      expect([lab.statistic('STAT_HIT'), lab.statistic('STAT_REVERSE')]).toEqual([1, 1]);
    });

    test('a direct connection to a backend is left alone', () => {
      using lab = openLab(family);
      using server = lab.server('TCP', family.backends[0]);
      using client = lab.socket('TCP', family.kind);
      expect(client.connect(family.backends[0])).toBe('');
      expect(server.accept()).toBe(true);
      expect(client.peer()).toBe(family.shownBackend);
      expect([lab.statistic('STAT_HIT'), lab.statistic('STAT_MISS')]).toEqual([0, 1]);
    });

    test('unconnected UDP has its replies from the service', () => {
      using lab = openLab(family);
      using server = new UdpServers(lab, family);
      using client = lab.socket('UDP', family.kind);
      expect(client.send('question', family.vip)).toBe('');
      expect(server.answerAll()).toBe(1);
      expect(client.receive()).toEqual({ text: 'answer to question', from: family.shown });
    });

    test('connected UDP has its replies from the service, and getpeername(2) shows it', () => {
      using lab = openLab(family);
      using server = new UdpServers(lab, family);
      using client = lab.socket('UDP', family.kind);
      expect(client.connect(family.vip)).toBe('');
      expect(client.peer()).toBe(family.shown);
      expect(client.send('question')).toBe('');
      expect(server.answerAll()).toBe(1);
      expect(client.receive()).toEqual({ text: 'answer to question', from: family.shown });
    });

    test('a connected UDP socket that names the service again stays with its backend', () => {
      using lab = openLab(family);
      using server = new UdpServers(lab, family);
      for (let i = 0; i < 20; i++) {
        using client = lab.socket('UDP', family.kind);
        client.connect(family.vip);
        expect(client.send(`question ${i}`, family.vip)).toBe('');
        server.answerAll();
        expect(client.receive()?.text).toBe(`answer to question ${i}`);
      }
    });

    test('a service without backends refuses at once', () => {
      using lab = openLab(family);
      lab.putService({ frontend: family.vip, protocol: 'TCP', id: 1, generation: 2, slots: [] });
      lab.putService({ frontend: family.vip, protocol: 'UDP', id: 2, generation: 2, slots: [] });
      using tcp = lab.socket('TCP', family.kind);
      using udp = lab.socket('UDP', family.kind);
      expect([tcp.connect(family.vip), udp.connect(family.vip), udp.send('x', family.vip)]).toEqual([
        'ECONNREFUSED',
        'ECONNREFUSED',
        'ECONNREFUSED',
      ]);
      expect(lab.statistic('STAT_REFUSED')).toBe(3);
    });
  });

  test('the build for kernels before 5.18 refuses with EPERM', () => {
    using lab = SocklbLab.open(cgroup(), 'socklb-no-retval');
    lab.configure({});
    lab.putService({ frontend: VIP, id: 1, slots: [] });
    using client = lab.socket('TCP');
    expect(client.connect(VIP)).toBe('EPERM');
  });

  test('a service without a row is left alone, as is another port or protocol of one that has', () => {
    using lab = openLab();
    lab.map('lb_svc').delete(lab.serviceKey({ frontend: VIP, protocol: 'UDP' }));
    using tcp = lab.socket('TCP');
    using udp = lab.socket('UDP');
    const outcomes = [tcp.connect('10.96.0.10:81'), tcp.connect('10.96.0.11:80'), udp.send('x', VIP)];
    expect(outcomes).toEqual(['ENETUNREACH', 'ENETUNREACH', 'ENETUNREACH']);
    expect(lab.statistic('STAT_MISS')).toBe(3);
  });

  test('backends are chosen at random, as often as they have slots', () => {
    using lab = openLab();
    lab.putService({ frontend: VIP, id: 1, generation: 2, slots: [10, 10, 10, 11] });
    using one = lab.server('TCP', V4.backends[0]);
    using two = lab.server('TCP', V4.backends[1]);
    const counts = connectMany(lab, [one, two], 400);
    expect(counts[0] + counts[1]).toBe(400);
    // Three of four: 300 +- 5.5 standard deviations, so a right program fails once in 10 million runs.
    expect(Math.abs(counts[0] - 300)).toBeLessThan(48);
  });

  test('NodePort on the loopback is a row like any other', () => {
    using lab = openLab();
    lab.putService({ frontend: '127.0.0.1:30080', id: 1, slots: [10] });
    lab.putService({ frontend: '[::1]:30080', id: 3, slots: [30] });
    lab.putBackend({ id: 30, service: 3, address: '[::1]:18083' });
    using v4 = lab.server('TCP', V4.backends[0]);
    using v6 = lab.server('TCP', '[::1]:18083');
    using client4 = lab.socket('TCP');
    using client6 = lab.socket('TCP', 'IPv6');
    expect([client4.connect('127.0.0.1:30080'), client6.connect('[::1]:30080')]).toEqual(['', '']);
    expect([v4.accept(), v6.accept()]).toEqual([true, true]);
  });

  describe('affinity', () => {
    test('keeps a client with its backend, until that is gone', () => {
      using lab = openLab();
      lab.putService({ frontend: VIP, id: 1, generation: 2, affinitySeconds: 60, slots: [10, 11] });
      using one = lab.server('TCP', V4.backends[0]);
      using two = lab.server('TCP', V4.backends[1]);
      const before = connectMany(lab, [one, two], 50);
      expect(before.toSorted((a, b) => a - b)).toEqual([0, 50]);
      expect(lab.statistic('STAT_AFFINITY')).toBe(49);
      const [gone, other] = before[0] === 50 ? [10, 11] : [11, 10];
      lab.putService({ frontend: VIP, id: 1, generation: 3, affinitySeconds: 60, slots: [other] });
      lab.deleteBackend(gone);
      expect(connectMany(lab, [one, two], 50)).toEqual(before.toReversed());
    });

    test('ends after its time, and with a backend that is terminating', () => {
      using lab = openLab();
      // Slots name the first backend only; the second is reached by affinity alone.
      lab.putService({ frontend: VIP, id: 1, generation: 2, affinitySeconds: 50, slots: [10] });
      using one = lab.server('TCP', V4.backends[0]);
      using two = lab.server('TCP', V4.backends[1]);
      connectMany(lab, [one, two], 1);
      const key = lab.map('lb_aff').entries().keys;
      const remember = (secondsAgo: bigint) => {
        const last_ns = process.hrtime.bigint() - secondsAgo * 1_000_000_000n;
        lab.map('lb_aff').update(key, lab.encode('aff_val', { last_ns, backend_id: 11 }));
      };
      remember(30n);
      expect(connectMany(lab, [one, two], 1)).toEqual([0, 1]);
      remember(51n);
      expect(connectMany(lab, [one, two], 1)).toEqual([1, 0]);
      remember(30n);
      lab.putBackend({ id: 11, service: 1, address: V4.backends[1], state: 1 });
      expect(connectMany(lab, [one, two], 1)).toEqual([1, 0]);
    });

    test('is per service', () => {
      using lab = openLab();
      lab.putService({ frontend: VIP, id: 1, generation: 2, affinitySeconds: 60, slots: [10] });
      lab.putService({ frontend: '10.96.0.20:80', id: 4, affinitySeconds: 60, slots: [40] });
      lab.putBackend({ id: 40, service: 4, address: V4.backends[1] });
      using one = lab.server('TCP', V4.backends[0]);
      using two = lab.server('TCP', V4.backends[1]);
      expect(connectMany(lab, [one, two], 3)).toEqual([3, 0]);
      expect(connectMany(lab, [one, two], 3, '10.96.0.20:80')).toEqual([0, 3]);
      expect(lab.map('lb_aff').entries().count).toBe(2);
    });
  });

  describe('Maglev', () => {
    test('chooses by the table, in place as soon as it is filled again', () => {
      using lab = openLab();
      lab.putService({ frontend: VIP, id: 1, generation: 2, flags: 1, slots: [10, 11] });
      using one = lab.server('TCP', V4.backends[0]);
      using two = lab.server('TCP', V4.backends[1]);
      using table = lab.putMaglev(1, 11);
      expect(connectMany(lab, [one, two], 60)).toEqual([0, 60]);
      lab.fillMaglev(table, 10);
      expect(connectMany(lab, [one, two], 60)).toEqual([60, 0]);
    });

    test('falls back to slots for a backend that is gone, and without a table', () => {
      using lab = openLab();
      lab.putService({ frontend: VIP, id: 1, generation: 2, flags: 1, slots: [11] });
      using one = lab.server('TCP', V4.backends[0]);
      using two = lab.server('TCP', V4.backends[1]);
      expect(connectMany(lab, [one, two], 5)).toEqual([0, 5]);
      using _ = lab.putMaglev(1, 99);
      expect(connectMany(lab, [one, two], 5)).toEqual([0, 5]);
    });

    test('never takes a backend of another service', () => {
      using lab = openLab();
      lab.putService({ frontend: VIP, id: 1, generation: 2, flags: 1, slots: [10] });
      lab.putBackend({ id: 40, service: 4, address: V4.backends[1] });
      using one = lab.server('TCP', V4.backends[0]);
      using two = lab.server('TCP', V4.backends[1]);
      using _ = lab.putMaglev(1, 40);
      expect(connectMany(lab, [one, two], 5)).toEqual([5, 0]);
    });
  });

  describe('UDP flows', () => {
    test('a socket stays with its backend, and sockets are spread', () => {
      using lab = openLab();
      using server = new UdpServers(lab, V4);
      const reached = Array.from({ length: 30 }, () => {
        using client = lab.socket('UDP');
        for (let i = 0; i < 5; i++) client.send('x', VIP);
        return server.take();
      });
      expect(reached.every((counts) => Math.max(...counts) === 5)).toBe(true);
      expect(new Set(reached.map((counts) => counts.indexOf(5)))).toEqual(new Set([0, 1]));
      expect(lab.statistic('STAT_FLOW')).toBe(30 * 4);
    });

    test('a socket moves when its backend is gone, and stays with one that is terminating', () => {
      using lab = openLab();
      using server = new UdpServers(lab, V4);
      using client = lab.socket('UDP');
      client.send('x', VIP);
      const first = server.take().indexOf(1);
      const [id, other] = [20 + first, 21 - first];
      lab.putService({ frontend: VIP, protocol: 'UDP', id: 2, generation: 2, slots: [other] });
      lab.putBackend({ id, service: 2, address: V4.backends[first] ?? '', protocol: 'UDP', state: 1 });
      client.send('x', VIP);
      expect(server.take()[first]).toBe(1);
      lab.deleteBackend(id);
      client.send('x', VIP);
      expect(server.take()[1 - first]).toBe(1);
    });

    test('an idle socket chooses again after the time of a flow', () => {
      using lab = openLab();
      using server = new UdpServers(lab, V4);
      lab.putService({ frontend: VIP, protocol: 'UDP', id: 2, generation: 2, slots: [20] });
      lab.configure({ udp_flow_s: 0 });
      using client = lab.socket('UDP');
      client.send('x', VIP);
      lab.putService({ frontend: VIP, protocol: 'UDP', id: 2, generation: 3, slots: [21] });
      client.send('x', VIP);
      expect(server.take()).toEqual([1, 1]);
    });

    test('late replies still come from the service, after 7 others', () => {
      using lab = openLab();
      using server = new UdpServers(lab, V4);
      using client = lab.socket('UDP');
      client.send('early', VIP);
      for (let i = 0; i < 7; i++) {
        const frontend = `10.96.1.${i}:53`;
        lab.putBackend({ id: 50 + i, service: 5 + i, address: `127.0.0.1:${19_000 + i}`, protocol: 'UDP' });
        lab.putService({ frontend, protocol: 'UDP', id: 5 + i, slots: [50 + i] });
        client.send('x', frontend);
      }
      server.answerAll();
      expect(client.receive()).toEqual({ text: 'answer to early', from: VIP });
    });

    test('of two services with the same backend, the one asked last is shown', () => {
      using lab = openLab();
      using server = new UdpServers(lab, V4);
      using client = lab.socket('UDP');
      lab.putService({ frontend: VIP, protocol: 'UDP', id: 2, generation: 2, slots: [20] });
      lab.putBackend({ id: 60, service: 6, address: V4.backends[0], protocol: 'UDP' });
      lab.putService({ frontend: '10.96.0.60:53', protocol: 'UDP', id: 6, slots: [60] });
      const ask = (frontend: string) => {
        client.send('x', frontend);
        server.answerAll();
        return client.receive()?.from;
      };
      expect([ask(VIP), ask('10.96.0.60:53'), ask(VIP)]).toEqual([VIP, '10.96.0.60:53', VIP]);
    });

    test('connected sockets are noted with their backend, unconnected ones are not', () => {
      using lab = openLab();
      lab.putService({ frontend: VIP, protocol: 'UDP', id: 2, generation: 2, slots: [21] });
      using connected = lab.socket('UDP');
      using unconnected = lab.socket('UDP');
      connected.connect(VIP);
      unconnected.send('x', VIP);
      const { count, keys, values } = lab.map('lb_udp_conn').entries();
      expect(count).toBe(1);
      expect(keys).toEqual(Buffer.from(lab.encode('conn_key', { sk_cookie: connected.cookie() })));
      expect(values).toEqual(Buffer.from(lab.encode('conn_val', { backend_id: 21, svc_id: 2 })));
    });
  });

  describe('the switches', () => {
    test('off leaves every socket alone', () => {
      using lab = openLab();
      lab.configure({ flags: lab.object.constants.CFG_OFF ?? -1 });
      using client = lab.socket('TCP');
      expect(client.connect(VIP)).toBe('ENETUNREACH');
      lab.configure({});
      expect(client.connect(VIP)).toBe('');
    });

    test('host only leaves the sockets of other namespaces alone', () => {
      using lab = openLab();
      lab.configure({ flags: lab.object.constants.CFG_HOST_ONLY ?? -1 });
      using client = lab.socket('TCP');
      expect(client.connect(VIP)).toBe('ENETUNREACH');
    });
  });

  test('a row whose slots are gone is read again, and refused if it is still so', () => {
    using lab = openLab();
    lab
      .map('lb_svc')
      .update(lab.serviceKey({ frontend: VIP }), lab.encode('svc_val', { svc_id: 1, gen: 9, count: 2 }));
    using client = lab.socket('TCP');
    expect(client.connect(VIP)).toBe('ECONNREFUSED');
    expect([lab.statistic('STAT_STALE'), lab.statistic('STAT_REFUSED')]).toEqual([1, 1]);
  });
}

/** Both UDP backends of a family. */
class UdpServers implements Disposable {
  readonly #sockets;

  constructor(lab: SocklbLab, { backends }: Family) {
    this.#sockets = backends.map((address) => lab.server('UDP', address));
  }

  /** Answers everything that has come. @returns how much that was */
  answerAll(): number {
    let answered = 0;
    for (const socket of this.#sockets) {
      for (let asked = socket.receive(); asked; asked = socket.receive()) {
        socket.send(`answer to ${asked.text}`, asked.from);
        answered++;
      }
    }
    return answered;
  }

  /** How many datagrams came to each, which are dropped. */
  take(): readonly number[] {
    return this.#sockets.map((socket) => {
      let count = 0;
      while (socket.receive()) count++;
      return count;
    });
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket[Symbol.dispose]();
  }
}

/** Connects so often, one after the other. @returns how many came to each server */
function connectMany(
  lab: SocklbLab,
  servers: readonly [{ accept(): boolean }, { accept(): boolean }],
  times: number,
  frontend = VIP,
): readonly [number, number] {
  const counts: [number, number] = [0, 0];
  for (let i = 0; i < times; i++) {
    using client = lab.socket('TCP');
    expect(client.connect(frontend)).toBe('');
    for (const [n, server] of [servers[0], servers[1]].entries()) {
      if (server.accept()) counts[n === 0 ? 0 : 1]++;
    }
  }
  return counts;
}
