import { describe, expect, test } from 'vitest';
import { LOOPBACK_MS } from './raw-sockets.ts';
import type { SocklbLab } from './socklb-lab.ts';
import { connectMany, openLab as openLabIn, UdpServers, V4, VIP } from './socklb-service.ts';

/** Which backend a socket comes to, and whether it stays there. @param cgroup as for describeSocklb() */
export function describeChoices(cgroup: () => string): void {
  const openLab = (): SocklbLab => openLabIn(cgroup());

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
      expect(client.receive(LOOPBACK_MS)).toEqual({ text: 'answer to early', from: VIP });
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
        return client.receive(LOOPBACK_MS)?.from;
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
}
