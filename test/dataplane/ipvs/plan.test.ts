import { describe, expect, it } from 'vitest';
import type { IpvsOp } from '../../../src/dataplane/ipvs/ops.ts';
import { drainingIpvsAddresses, planIpvs, teardownIpvs } from '../../../src/dataplane/ipvs/plan.ts';
import { NOW_MS, OPTIONS, real, row, rows } from './build.ts';
import { TEARDOWN_CASES } from './plan-break-cases.ts';
import { PLAN_CASES } from './plan-cases.ts';

const textOf = ({ op, subject, detail }: IpvsOp) => `${op} ${subject}: ${detail}`;

describe('planIpvs()', () => {
  it.each(PLAN_CASES)('$name', ({
    observed,
    wanted,
    options,
    make = [],
    break: breaking = [],
    conflicts = [],
  }) => {
    const plan = planIpvs(observed, wanted, { ...OPTIONS, ...options });
    expect(plan.make.map(textOf)).toEqual(make);
    expect(plan.break.map(textOf)).toEqual(breaking);
    expect(plan.conflicts.map(({ subject, reason }) => `${subject}: ${reason}`)).toEqual(conflicts);
  });

  it('gives the Service and the slice as reason for a new endpoint, and the Service for a lost one', () => {
    const slice = 'EndpointSlice web/front-x7k2p';
    const wanted = rows([
      row('TCP 10.96.0.50:80', { realServers: [real('10.1.0.2:80', { reason: slice })] }),
    ]);
    const observed = rows([row('TCP 10.96.0.50:80', { realServers: [real('10.1.0.1:80')] })]);
    const { make, break: breaking } = planIpvs(observed, wanted, OPTIONS);
    expect(make.map(({ reason }) => reason)).toEqual([`Service web/front port http, ${slice}`]);
    expect(breaking.map(({ reason }) => reason)).toEqual([
      'no longer an endpoint of Service web/front port http',
    ]);
  });
});

describe('teardownIpvs()', () => {
  it.each(TEARDOWN_CASES)('$name', ({ observed, break: breaking }) => {
    const plan = teardownIpvs(observed);
    expect(plan.make).toEqual([]);
    expect(plan.break.map(textOf)).toEqual(breaking);
  });
});

describe('drainingIpvsAddresses()', () => {
  const draining = { weight: 0, activeConnections: 1, drainStartedAtMs: NOW_MS };
  const busy = [real('10.1.0.1:80', draining)];

  it('names addresses that only draining virtual servers of ours have', () => {
    const observed = rows([
      row('TCP 10.96.0.1:80', { realServers: busy }),
      row('TCP 10.96.0.2:80', { realServers: busy }),
      row('TCP 10.96.0.3:80', { realServers: [real('10.1.0.1:80')] }),
      row('TCP 10.96.0.4:80', { realServers: busy, owner: 'foreign' }),
      row('TCP 10.96.0.5:80', { realServers: [real('10.1.0.1:80', { activeConnections: 1 })] }),
    ]);
    const wanted = rows([row('TCP 10.96.0.2:443')]);
    expect([...drainingIpvsAddresses(observed, wanted, OPTIONS)]).toEqual(['10.96.0.1', '10.96.0.5']);
  });

  it('names the address of a frontend whose inside clients keep connections', () => {
    const observed = rows([row('FWM4 1392508929', { frontend: 'TCP 10.96.0.6:80', realServers: busy })]);
    expect([...drainingIpvsAddresses(observed, rows([]), OPTIONS)]).toEqual(['10.96.0.6']);
    expect([...drainingIpvsAddresses(observed, rows([row('TCP 10.96.0.6:443')]), OPTIONS)]).toEqual([]);
  });

  it('names none if deleted Services do not drain', () => {
    const observed = rows([row('TCP 10.96.0.1:80', { realServers: busy })]);
    const options = { ...OPTIONS, drainDeletedServices: false };
    expect([...drainingIpvsAddresses(observed, rows([]), options)]).toEqual([]);
  });
});
