import type { IpvsOp } from '../../../src/dataplane/ipvs/ops.ts';
import { planIpvs, teardownIpvs } from '../../../src/dataplane/ipvs/plan.ts';
import type { IpvsRows } from '../../../src/dataplane/ipvs/rows.ts';
import { OPTIONS, real, row, rows, scheduler } from './build.ts';

/** What is in the kernel and the ledger, what is wanted, and the canonical text of the kernel after the plan's apply. */
export interface ApplyCase {
  readonly name: string;
  readonly observed: IpvsRows;
  /** null to remove all that is ours */
  readonly wanted: IpvsRows | null;
  readonly after: readonly string[];
  readonly kernelWrites: number;
}

const WEB = 'TCP 10.96.0.50:80';
const A = '10.1.0.1:80';
const CONNTRACK = 'net.ipv4.vs.conntrack';

export const APPLY_CASES: readonly ApplyCase[] = [
  {
    name: 'adds a virtual server with a real server, and sets a sysctl',
    observed: rows([], { sysctls: { [CONNTRACK]: '0' } }),
    wanted: rows([row(WEB, { realServers: [real(A)] })], { sysctls: { [CONNTRACK]: '1' } }),
    after: [`${WEB} svcplane, scheduler rr`, `  -> ${A} weight 1`, `${CONNTRACK} = 1`],
    kernelWrites: 2,
  },
  {
    name: 'changes a virtual server and a real server in place',
    observed: rows([row(WEB, { realServers: [real(A, { weight: 0 })] })]),
    wanted: rows([row(WEB, { config: { scheduler: scheduler('wrr') }, realServers: [real(A)] })]),
    after: [`${WEB} svcplane, scheduler wrr`, `  -> ${A} weight 1`],
    kernelWrites: 2,
  },
  {
    name: 'adopts without asking the kernel for anything',
    observed: rows([row(WEB, { owner: 'foreign', realServers: [real(A)] })]),
    wanted: rows([row(WEB, { realServers: [real(A)] })]),
    after: [`${WEB} svcplane, scheduler rr`, `  -> ${A} weight 1`],
    kernelWrites: 0,
  },
  {
    name: 'drains one real server and deletes another',
    observed: rows([
      row(WEB, { realServers: [real(A, { activeConnections: 1, weight: 4 }), real('10.1.0.2:80')] }),
    ]),
    wanted: rows([row(WEB)]),
    after: [`${WEB} svcplane, scheduler rr`, `  -> ${A} weight 0`],
    kernelWrites: 2,
  },
  {
    name: 'only stamps the drain of a real server that has weight 0 already',
    observed: rows([row(WEB, { realServers: [real(A, { activeConnections: 1, weight: 0 })] })]),
    wanted: rows([row(WEB)]),
    after: [`${WEB} svcplane, scheduler rr`, `  -> ${A} weight 0`],
    kernelWrites: 0,
  },
  {
    name: 'deletes a virtual server with its real servers by one request',
    observed: rows([row(WEB, { realServers: [real(A), real('10.1.0.2:80')] })]),
    wanted: rows([]),
    after: [],
    kernelWrites: 1,
  },
  {
    name: 'deletes flows, which are not of IPVS',
    observed: rows([row('UDP 10.96.0.10:53', { realServers: [real('10.1.0.1:53')] })]),
    wanted: rows([row('UDP 10.96.0.10:53')]),
    after: ['UDP 10.96.0.10:53 svcplane, scheduler rr'],
    kernelWrites: 1,
  },
  {
    name: 'removes what is ours and restores a sysctl',
    observed: rows([row(WEB), row('FWM4 17', { owner: 'foreign' })], {
      sysctls: { [CONNTRACK]: { value: '1', changed: { before: '0', set: '1' } } },
    }),
    wanted: null,
    after: ['FWM4 17 foreign, scheduler rr', `${CONNTRACK} = 0`],
    kernelWrites: 1,
  },
];

/** The operations of a case, in order. */
export function opsOf({ observed, wanted }: Pick<ApplyCase, 'observed' | 'wanted'>): readonly IpvsOp[] {
  const plan = wanted ? planIpvs(observed, wanted, OPTIONS) : teardownIpvs(observed);
  return [...plan.make, ...plan.break];
}
