import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { desiredOf, linesOf, reasonsOf } from '../derive.ts';
import { service, slice } from '../objects.ts';

const born = (year: number) => ({ creationTimestamp: `${year}-01-01T00:00:00Z` });
const claim = (name: string, clusterIP: string, externalIP: string, year?: number) =>
  service({
    name,
    ...(year === undefined ? {} : { metadata: born(year) }),
    spec: { clusterIP, externalIPs: [externalIP] },
  });

describe('settleClaims() gives one address, protocol and port to', () => {
  const winner = (...services: object[]) => {
    const desired = desiredOf(services.map((object) => ({ ...object })));
    const vip = [...desired.virtualServers.values()].find(({ address }) => address === '198.51.100.7');
    return { winner: vip?.service, reasons: reasonsOf(desired) };
  };

  it('the oldest Service, whatever the order, and names the loser', () => {
    const old = claim('z', '10.96.0.1', '198.51.100.7', 2020);
    const young = claim('a', '10.96.0.2', '198.51.100.7', 2024);
    for (const order of [
      [old, young],
      [young, old],
    ]) {
      expect(winner(...order)).toEqual({
        winner: 'web/z',
        reasons: ['Service web/a: ExternalIP TCP 198.51.100.7:80 belongs to the older Service web/z'],
      });
    }
  });

  it('the first by name where ages are equal, and to any age before none', () => {
    const a = claim('a', '10.96.0.1', '198.51.100.7');
    const b = claim('b', '10.96.0.2', '198.51.100.7');
    expect(winner(b, a).winner).toBe('web/a');
    expect(winner(a, claim('c', '10.96.0.3', '198.51.100.7', 2024)).winner).toBe('web/c');
  });

  it('the owner of a ClusterIP, against any externalIP on any port', () => {
    const owner = service({ name: 'owner', spec: { clusterIP: '10.96.0.9', ports: [{ port: 443 }] } });
    const thief = claim('a', '10.96.0.1', '10.96.0.9', 2001);
    const desired = desiredOf([thief, owner]);
    expect([...desired.virtualServers.keys()]).toEqual(['TCP 10.96.0.1:80', 'TCP 10.96.0.9:443']);
    expect(reasonsOf(desired)).toEqual(['Service web/a: externalIP 10.96.0.9 is the ClusterIP of web/owner']);
  });

  it('the owner of a ClusterIP, but not against a load balancer that gave out the same address', () => {
    const owner = service({ name: 'owner', spec: { clusterIP: '10.96.0.9', ports: [{ port: 443 }] } });
    const both = service({
      name: 'a',
      spec: { clusterIP: '10.96.0.1', externalIPs: ['10.96.0.9'] },
      status: { loadBalancer: { ingress: [{ ip: '10.96.0.9' }] } },
    });
    expect([...desiredOf([both, owner]).virtualServers.keys()]).toEqual([
      'TCP 10.96.0.1:80',
      'TCP 10.96.0.9:80',
      'TCP 10.96.0.9:443',
    ]);
  });

  it('two Services that share an address on different ports: both', () => {
    const a = claim('a', '10.96.0.1', '198.51.100.7');
    const b = service({
      name: 'b',
      spec: { clusterIP: '10.96.0.2', externalIPs: ['198.51.100.7'], ports: [{ port: 81 }] },
    });
    expect(desiredOf([a, b]).virtualServers.size).toBe(4);
  });
});

describe('derive() is deterministic', () => {
  it('in any order of objects', () => {
    const objects = [
      claim('a', '10.96.0.1', '198.51.100.7', 2020),
      claim('b', '10.96.0.2', '198.51.100.7', 2020),
      claim('c', '10.96.0.3', '198.51.100.7', 2019),
      claim('d', '10.96.0.1', '10.96.0.2', 2018),
      claim('e', '10.96.0.2', '10.96.0.1', 2018),
      slice({ name: 'x', service: 'a', endpoints: [{ address: '10.1.0.2' }, { address: '10.1.0.1' }] }),
      slice({ name: 'y', service: 'a', endpoints: [{ address: '10.1.0.3', node: 'n0' }] }),
      slice({ name: 'z', service: 'c', endpoints: [{ address: '10.1.0.3' }] }),
    ];
    const expected = desiredOf(objects);
    fc.assert(
      fc.property(fc.shuffledSubarray(objects, { minLength: objects.length }), (shuffled) => {
        const desired = desiredOf(shuffled);
        expect(linesOf(desired)).toEqual(linesOf(expected));
        expect(reasonsOf(desired)).toEqual(reasonsOf(expected));
      }),
    );
  });
});
