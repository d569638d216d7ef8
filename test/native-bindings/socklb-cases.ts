import { describe, expect, test } from 'vitest';
import { createNamespace } from '../kernel/probe.ts';
import { within } from '../kernel/traffic/raw-socket.ts';
import { acceptedBy, LOOPBACK_MS, RawSocket } from './raw-sockets.ts';
import { describeChoices } from './socklb-choice-cases.ts';
import { SocklbLab } from './socklb-lab.ts';
import {
  connectMany,
  FAMILIES,
  type Family,
  openLab as openLabIn,
  UdpServers,
  V4,
  VIP,
} from './socklb-service.ts';

/**
 * What the programs do with real sockets.
 * @param cgroup where they are attached; this process is in it or below. Asked for when a test begins
 */
export function describeSocklb(cgroup: () => string): void {
  const openLab = (family?: Family): SocklbLab => openLabIn(cgroup(), family);

  describe.each(FAMILIES)('$kind', (family) => {
    test('connect(2) reaches a backend, and getpeername(2) shows the service', () => {
      using lab = openLab(family);
      using one = lab.server('TCP', family.backends[0]);
      using two = lab.server('TCP', family.backends[1]);
      using client = lab.socket('TCP', family.kind);
      expect(client.connect(family.vip)).toBe('');
      expect(acceptedBy(one, two).filter(Boolean)).toHaveLength(1);
      expect(client.peer()).toBe(family.shown);
      expect([lab.statistic('STAT_HIT'), lab.statistic('STAT_REVERSE')]).toEqual([1, 1]);
    });

    test('a direct connection to a backend is left alone', () => {
      using lab = openLab(family);
      using server = lab.server('TCP', family.backends[0]);
      using client = lab.socket('TCP', family.kind);
      expect(client.connect(family.backends[0])).toBe('');
      expect(acceptedBy(server)).toEqual([true]);
      expect(client.peer()).toBe(family.shownBackend);
      expect([lab.statistic('STAT_HIT'), lab.statistic('STAT_MISS')]).toEqual([0, 1]);
    });

    test('unconnected UDP has its replies from the service', () => {
      using lab = openLab(family);
      using server = new UdpServers(lab, family);
      using client = lab.socket('UDP', family.kind);
      expect(client.send('question', family.vip)).toBe('');
      expect(server.answerAll()).toBe(1);
      expect(client.receive(LOOPBACK_MS)).toEqual({ text: 'answer to question', from: family.shown });
    });

    test('connected UDP has its replies from the service, and getpeername(2) shows it', () => {
      using lab = openLab(family);
      using server = new UdpServers(lab, family);
      using client = lab.socket('UDP', family.kind);
      expect(client.connect(family.vip)).toBe('');
      expect(client.peer()).toBe(family.shown);
      expect(client.send('question')).toBe('');
      expect(server.answerAll()).toBe(1);
      expect(client.receive(LOOPBACK_MS)).toEqual({ text: 'answer to question', from: family.shown });
    });

    test('a connected UDP socket that names the service again stays with its backend', () => {
      using lab = openLab(family);
      using server = new UdpServers(lab, family);
      for (let i = 0; i < 20; i++) {
        using client = lab.socket('UDP', family.kind);
        client.connect(family.vip);
        expect(client.send(`question ${i}`, family.vip)).toBe('');
        server.answerAll();
        expect(client.receive(LOOPBACK_MS)?.text).toBe(`answer to question ${i}`);
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
    expect([...acceptedBy(v4), ...acceptedBy(v6)]).toEqual([true, true]);
  });

  describeChoices(cgroup);

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

    test('host only serves the sockets of the namespace that it names, as where the node is a container', () => {
      using lab = openLab();
      using node = lab.socket('UDP');
      const { CFG_HOST_ONLY = -1, CFG_HOST_NETNS_SHIFT = -1 } = lab.object.constants;
      const cookie = Number(node.namespaceCookie());
      lab.configure({ flags: CFG_HOST_ONLY + cookie * 2 ** CFG_HOST_NETNS_SHIFT });
      expect(node.connect(VIP)).toBe('');
      using namespace = createNamespace('pod');
      using pod = within(namespace.name, () => new RawSocket('UDP'));
      expect(pod.connect(VIP)).toBe('ENETUNREACH');
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
