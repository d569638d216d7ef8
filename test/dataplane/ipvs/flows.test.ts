import { describe, expect, it } from 'vitest';
import { planFlows } from '../../../src/dataplane/ipvs/flows.ts';
import { planIpvs } from '../../../src/dataplane/ipvs/plan.ts';
import { reduceIpvs } from '../../../src/dataplane/ipvs/reduce.ts';
import type { IpvsRows } from '../../../src/dataplane/ipvs/rows.ts';
import { OPTIONS, real, row, rows } from './build.ts';

const DNS = 'UDP 10.96.0.10:53';
const DIAMETER = 'SCTP 10.96.0.20:3868';
const A = '10.1.0.1:53';
const B = '10.1.0.2:53';

/** Rows of a kernel that was looked at; those of a record know no sysctls. */
function looked(observed: IpvsRows): IpvsRows {
  return { ...observed, sysctls: new Map() };
}

/** What is planned, and that nothing more is to do once it is done. */
function planned(observed: IpvsRows, wanted: IpvsRows): readonly string[] {
  const plan = planIpvs(observed, wanted, OPTIONS);
  const ops = [...plan.make, ...plan.break];
  const after = planIpvs(reduceIpvs(observed, ops), wanted, OPTIONS);
  expect([...after.make, ...after.break]).toEqual([]);
  return ops
    .filter(({ op }) => op === 'deleteFlows')
    .map(
      (op) => `${op.subject} keeps ${op.op === 'deleteFlows' ? op.keep.map(({ address }) => address) : ''}`,
    );
}

describe('planFlows()', () => {
  const cases: { name: string; observed: IpvsRows; wanted: IpvsRows; flows: readonly string[] }[] = [
    {
      name: 'a new UDP frontend, for who asked before it was there is on the way to nobody',
      observed: looked(rows([])),
      wanted: looked(rows([row(DNS, { realServers: [real(A)] })])),
      flows: [`${DNS} keeps 10.1.0.1`],
    },
    {
      name: 'no new frontend against a record, which knows no flows',
      observed: rows([]),
      wanted: rows([row(DNS, { realServers: [real(A)] })]),
      flows: [],
    },
    {
      name: 'no new TCP frontend',
      observed: looked(rows([])),
      wanted: looked(rows([row('TCP 10.96.0.10:53', { realServers: [real(A)] })])),
      flows: [],
    },
    {
      name: 'a lost UDP endpoint, but not those of the others',
      observed: looked(rows([row(DNS, { realServers: [real(A), real(B)] })])),
      wanted: looked(rows([row(DNS, { realServers: [real(B)] })])),
      flows: [`${DNS} keeps 10.1.0.2`],
    },
    {
      name: 'no UDP endpoint more: nobody was sent elsewhere',
      observed: looked(rows([row(DNS)])),
      wanted: looked(rows([row(DNS, { realServers: [real(A)] })])),
      flows: [],
    },
    {
      name: 'the first SCTP endpoint of a frontend that had none',
      observed: looked(rows([row(DIAMETER, { realServers: [real(B, { weight: 0 })] })])),
      wanted: looked(rows([row(DIAMETER, { realServers: [real(A), real(B)] })])),
      flows: [`${DIAMETER} keeps 10.1.0.1,10.1.0.2`],
    },
    {
      name: 'no SCTP endpoint behind the first',
      observed: looked(rows([row(DIAMETER, { realServers: [real(A)] })])),
      wanted: looked(rows([row(DIAMETER, { realServers: [real(A), real(B)] })])),
      flows: [],
    },
  ];
  it.each(cases)('deletes flows to $name', ({ observed, wanted, flows }) => {
    expect(planned(observed, wanted)).toEqual(flows);
  });

  it('deletes what an earlier run has left', () => {
    const left = { ...rows([row(DNS, { realServers: [real(A)] })]), staleFlows: new Set([row(DNS).key]) };
    expect(
      planFlows(left, rows([...left.virtualServers.values()]), []).map(({ subject }) => subject),
    ).toEqual([DNS]);
  });
});
