import { describe, expect, it } from 'vitest';
import type { IpvsOp } from '../../../src/dataplane/ipvs/ops.ts';
import { reduceIpvs } from '../../../src/dataplane/ipvs/reduce.ts';
import { canonicalText } from '../../../src/dataplane/ipvs/text.ts';
import { realServerKey } from '../../../src/model/virtual-server.ts';
import { APPLY_CASES, opsOf } from './apply-cases.ts';
import { NOW_MS, real, row, rows } from './build.ts';

const KEY = 'TCP 10.96.0.50:80';
const A = real('10.1.0.1:80', { activeConnections: 3 });

describe('reduceIpvs()', () => {
  it.each(APPLY_CASES)('gives what the kernel has after: $name', ({ after, ...given }) => {
    const text = canonicalText(reduceIpvs(given.observed, opsOf(given)));
    expect(text).toBe(after.map((line) => `${line}\n`).join(''));
  });

  it('keeps connections and stamps the drain', () => {
    const observed = rows([row(KEY, { realServers: [A] })]);
    const reduced = reduceIpvs(observed, opsOf({ observed, wanted: rows([row(KEY)]) }));
    const drained = reduced.virtualServers.get(row(KEY).key)?.realServers.get(realServerKey(A.config));
    expect(drained).toMatchObject({
      activeConnections: 3,
      drain: { startedAtMs: NOW_MS, timeoutSeconds: null },
      config: { weight: 0 },
    });
  });

  it('changes neither its input nor rows that no operation is about', () => {
    const observed = rows([row(KEY, { realServers: [A] }), row('TCP 10.96.0.51:80')]);
    const before = structuredClone(observed);
    const reduced = reduceIpvs(observed, opsOf({ observed, wanted: rows([row('TCP 10.96.0.51:80')]) }));
    expect(observed).toEqual(before);
    const other = row('TCP 10.96.0.51:80').key;
    expect(reduced.virtualServers.get(other)).toBe(observed.virtualServers.get(other));
    expect(reduceIpvs(observed, [])).toBe(observed);
  });

  it('remembers the last value of a sysctl that was not ours', () => {
    const set = (before: string): IpvsOp => ({
      op: 'setSysctl',
      subject: '',
      detail: '',
      reason: '',
      name: 'net.ipv4.vs.conntrack',
      before,
      value: '1',
    });
    const changedAfter = (ops: readonly IpvsOp[]) =>
      reduceIpvs(rows([], { sysctls: {} }), ops).sysctls?.get('net.ipv4.vs.conntrack')?.changed;
    expect(changedAfter([set('0')])).toEqual({ before: '0', set: '1' });
    expect(changedAfter([set('0'), set('1')])).toEqual({ before: '0', set: '1' });
    expect(changedAfter([set('0'), set('7')])).toEqual({ before: '7', set: '1' });
  });
});
