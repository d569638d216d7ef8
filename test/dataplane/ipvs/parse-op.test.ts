import { describe, expect, it } from 'vitest';
import { parseIpvsOp } from '../../../src/dataplane/ipvs/parse-op.ts';
import { APPLY_CASES, opsOf } from './apply-cases.ts';
import { identity, real } from './build.ts';

const text = { subject: '', detail: '', reason: '' };
const realServer = real('10.1.0.1:80').config;
const valid = { ...text, op: 'addRealServer', identity: identity('TCP 10.96.0.50:80'), realServer };

describe('parseIpvsOp()', () => {
  it('reads back every operation from JSON', () => {
    for (const op of APPLY_CASES.flatMap(opsOf)) {
      expect(parseIpvsOp(JSON.parse(JSON.stringify(op)))).toEqual(op);
    }
  });

  it.each([
    null,
    'addRealServer',
    {},
    { op: 7 },
    { op: 'addAddress' },
    { op: 'toString' },
  ])('leaves %j to others', (value) => {
    expect(parseIpvsOp(value)).toBeUndefined();
  });

  it.each([
    { name: 'a field is missing', op: { ...text, op: 'addRealServer' }, field: 'identity' },
    {
      name: 'a port is out of range',
      op: { ...valid, realServer: { ...realServer, port: 65_536 } },
      field: 'realServer.port',
    },
    {
      name: 'an address is not canonical',
      op: { ...valid, realServer: { ...realServer, address: '10.1.0.01' } },
      field: 'realServer.address',
    },
    {
      name: 'a drain has weight',
      op: { ...valid, op: 'drainRealServer', weightBefore: 1, startedAtMs: 0 },
      field: 'realServer.weight',
    },
    {
      name: 'a sysctl is none of ours',
      op: { ...text, op: 'setSysctl', name: 'kernel.core_pattern', before: '', value: '|/bin/sh' },
      field: 'name',
    },
  ])('throws and names the field if $name', ({ op, field }) => {
    expect(() => parseIpvsOp(op)).toThrow(RangeError);
    expect(() => parseIpvsOp(op)).toThrow(`Cannot read operation ${op.op}: ${field}: `);
  });
});
