import { describe, expect, it } from 'vitest';
import { planIpvs } from '../../../src/dataplane/ipvs/plan.ts';
import type { IpvsRows } from '../../../src/dataplane/ipvs/rows.ts';
import { holdUnwantedServers, unwantedServers } from '../../../src/dataplane/ipvs/unwanted.ts';
import { ip, NOW_MS, OPTIONS, real, row, rows } from './build.ts';

const WEB = 'TCP 10.96.0.50:80';
const OUTSIDE = 'TCP 203.0.113.9:80';
const MARK = 'FWM4 1392508929';
const A = '10.1.0.1:80';
const B = '10.1.0.2:80';

const hold = (observed: IpvsRows, wanted: IpvsRows) =>
  holdUnwantedServers(observed, wanted, unwantedServers(observed, wanted, null));

describe('unwantedServers()', () => {
  it('counts ours, and those of them that are not wanted', () => {
    const observed = rows([
      row(WEB, { realServers: [real(A)] }),
      row('TCP 10.96.0.51:80', { service: 'web/old' }),
      row('TCP 10.96.0.52:80', { realServers: [real(B), real(A)] }),
      row('TCP 10.96.0.53:80', { owner: 'foreign' }),
    ]);
    const wanted = rows([row(WEB), row('TCP 10.96.0.51:80', { service: 'web/new' })]);
    expect(unwantedServers(observed, wanted, null)).toEqual({
      ours: 3,
      keys: new Set(['TCP 10.96.0.52:80']),
      frontends: [
        {
          address: '10.96.0.52',
          port: 80,
          protocol: 'TCP',
          mark: null,
          endpoints: new Set(['10.1.0.1', '10.1.0.2']),
        },
      ],
    });
  });

  it('joins a frontend with the row of its inside clients', () => {
    const observed = rows([
      row(MARK, { frontend: OUTSIDE, realServers: [real(B)] }),
      row(OUTSIDE, { realServers: [real(A)] }),
    ]);
    expect(unwantedServers(observed, rows([]), null)).toMatchObject({
      keys: new Set([MARK, OUTSIDE]),
      frontends: [{ mark: 0x53000001, endpoints: new Set(['10.1.0.2', '10.1.0.1']) }],
    });
  });

  it('gives no mark that is another frontend’s now, and no frontend that is wanted without its mark', () => {
    const observed = rows([row(MARK, { frontend: OUTSIDE }), row(OUTSIDE)]);
    const handedOver = rows([row(MARK, { frontend: WEB }), row(WEB)]);
    expect(unwantedServers(observed, handedOver, null)).toMatchObject({
      keys: new Set([OUTSIDE]),
      frontends: [{ mark: null }],
    });
    expect(unwantedServers(observed, rows([row(OUTSIDE)]), null)).toMatchObject({
      keys: new Set([MARK]),
      frontends: [],
    });
  });
});

describe('unwantedServers() without addresses of the host', () => {
  const at = (address: string) => `TCP ${address}:30080`;
  const nodePort = { exposure: 'NodePort' } as const;
  const LOST = '192.0.2.10';
  const KEPT = '192.0.2.11';

  it('leaves out NodePorts where the host has lost their address, and nothing else', () => {
    const observed = rows([
      row(at(LOST), nodePort),
      row('FWM4 1392508930', { ...nodePort, frontend: at(LOST) }),
      row(at(KEPT), nodePort),
      row(OUTSIDE, { exposure: 'LoadBalancer' }),
    ]);
    const unwanted = unwantedServers(observed, rows([]), new Set([ip(KEPT)]));
    expect(unwanted).toMatchObject({ ours: 2, keys: new Set([at(KEPT), OUTSIDE]) });
    const held = holdUnwantedServers(observed, rows([]), unwanted);
    expect(new Set(held.virtualServers.keys())).toEqual(unwanted.keys);
  });

  it('counts one that is wanted all the same: somebody may send its packets here', () => {
    const observed = rows([row(at(LOST), nodePort)]);
    expect(unwantedServers(observed, observed, new Set())).toMatchObject({ ours: 1, keys: new Set() });
  });
});

describe('holdUnwantedServers()', () => {
  it('returns its argument where all of ours are wanted', () => {
    const wanted = rows([row(WEB)]);
    const observed = rows([row(WEB), row(OUTSIDE, { owner: 'foreign' })]);
    expect(hold(observed, wanted)).toBe(wanted);
  });

  it('lets what drains already stay beyond its deadline, and other endpoints change', () => {
    const overdue = { weight: 0, activeConnections: 1, drainStartedAtMs: NOW_MS - 600_000 };
    const observed = rows([
      row(WEB, { realServers: [real(A)] }),
      row(OUTSIDE, { realServers: [real(A, overdue), real(B)] }),
    ]);
    const wanted = rows([row(WEB, { realServers: [real(B)] })]);
    const { make, break: broken } = planIpvs(observed, hold(observed, wanted), OPTIONS);
    expect([...make, ...broken].map(({ op, subject }) => `${op} ${subject}`)).toEqual([
      `addRealServer ${WEB} -> ${B}`,
      `deleteRealServer ${WEB} -> ${A}`,
    ]);
  });

  it.each([
    { exposure: 'LoadBalancer', restored: [] },
    { exposure: 'ClusterIP', restored: ['restoreSysctl'] },
  ] as const)('keeps strict ARP for a held $exposure: $restored', ({ exposure, restored }) => {
    const arp = { 'net.ipv4.conf.all.arp_ignore': { value: '1', changed: { before: '0', set: '1' } } };
    const observed = rows([row(OUTSIDE, { exposure })], { sysctls: arp });
    const wanted = rows([], { sysctls: {} });
    const { make, break: broken } = planIpvs(observed, hold(observed, wanted), OPTIONS);
    expect([...make, ...broken].map(({ op }) => op)).toEqual(restored);
  });
});
