import { describe, expect, it } from 'vitest';
import { planIpvs } from '../../../src/dataplane/ipvs/plan.ts';
import { holdUnwantedServers, unwantedServers } from '../../../src/dataplane/ipvs/unwanted.ts';
import { NOW_MS, OPTIONS, real, row, rows } from './build.ts';

const WEB = 'TCP 10.96.0.50:80';
const OUTSIDE = 'TCP 203.0.113.9:80';
const MARK = 'FWM4 1392508929';
const A = '10.1.0.1:80';
const B = '10.1.0.2:80';

describe('unwantedServers()', () => {
  it('counts ours, and those of them that are not wanted', () => {
    const observed = rows([
      row(WEB, { realServers: [real(A)] }),
      row('TCP 10.96.0.51:80', { service: 'web/old' }),
      row('TCP 10.96.0.52:80', { realServers: [real(B), real(A)] }),
      row('TCP 10.96.0.53:80', { owner: 'foreign' }),
    ]);
    const wanted = rows([row(WEB), row('TCP 10.96.0.51:80', { service: 'web/new' })]);
    expect(unwantedServers(observed, wanted)).toEqual({
      ours: 3,
      unwanted: 1,
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
    expect(unwantedServers(observed, rows([]))).toMatchObject({
      unwanted: 2,
      frontends: [{ mark: 0x53000001, endpoints: new Set(['10.1.0.2', '10.1.0.1']) }],
    });
  });

  it('gives no mark that is another frontend’s now, and no frontend that is wanted without its mark', () => {
    const observed = rows([row(MARK, { frontend: OUTSIDE }), row(OUTSIDE)]);
    const handedOver = rows([row(MARK, { frontend: WEB }), row(WEB)]);
    expect(unwantedServers(observed, handedOver)).toMatchObject({ unwanted: 1, frontends: [{ mark: null }] });
    expect(unwantedServers(observed, rows([row(OUTSIDE)]))).toMatchObject({ unwanted: 1, frontends: [] });
  });
});

describe('holdUnwantedServers()', () => {
  it('returns its argument where all of ours are wanted', () => {
    const wanted = rows([row(WEB)]);
    expect(holdUnwantedServers(rows([row(WEB), row(OUTSIDE, { owner: 'foreign' })]), wanted)).toBe(wanted);
  });

  it('lets what drains already stay beyond its deadline, and other endpoints change', () => {
    const overdue = { weight: 0, activeConnections: 1, drainStartedAtMs: NOW_MS - 600_000 };
    const observed = rows([
      row(WEB, { realServers: [real(A)] }),
      row(OUTSIDE, { realServers: [real(A, overdue), real(B)] }),
    ]);
    const wanted = rows([row(WEB, { realServers: [real(B)] })]);
    const { make, break: broken } = planIpvs(observed, holdUnwantedServers(observed, wanted), OPTIONS);
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
    const { make, break: broken } = planIpvs(observed, holdUnwantedServers(observed, wanted), OPTIONS);
    expect([...make, ...broken].map(({ op }) => op)).toEqual(restored);
  });
});
