import type { ApplyReport, Plan } from '../../../src/dataplane/dataplane.ts';
import { createIpvsDataplane } from '../../../src/dataplane/ipvs/index.ts';
import type { IpvsKernel } from '../../../src/dataplane/ipvs/kernel.ts';
import type { IpvsOp } from '../../../src/dataplane/ipvs/ops.ts';
import { planIpvs, teardownIpvs } from '../../../src/dataplane/ipvs/plan.ts';
import { frontendOf, type IpvsRows, type VirtualServerRow } from '../../../src/dataplane/ipvs/rows.ts';
import {
  type DrainKey,
  drainKey,
  EMPTY_LEDGER,
  type Ledger,
  type LedgerDrain,
  type LedgerOrigin,
  type LedgerSysctl,
} from '../../../src/dataplane/ledger.ts';
import { type VirtualServerKey, virtualServerKey } from '../../../src/model/virtual-server.ts';
import { Crash, crashing } from '../../fakes/faulty.ts';
import { FakeFlowKernel, type Flow } from '../../fakes/flow-kernel.ts';
import { FakeIpvsKernel, FakeSysctls } from '../../fakes/ipvs-kernel.ts';
import { tableText } from '../../fakes/ipvs-table-text.ts';
import { MemoryLedger } from '../../fakes/ledger.ts';
import { ALL_OPTIONS, NOW_MS, OPTIONS, real } from './build.ts';

/** A kernel with these rows in it, the ledger that goes with them, and a process that syncs. */
export function worldOf(observed: IpvsRows) {
  const kernel = new FakeIpvsKernel();
  for (const row of observed.virtualServers.values()) load(kernel, row);
  // With the default missing, too, there is no way to the wanted rows.
  kernel.missingSchedulers = new Set([...observed.unavailableSchedulers].filter((name) => name !== 'rr'));
  const ledger = new MemoryLedger(ledgerOf(observed));
  const flows = new FakeFlowKernel(flowsOf(observed));
  const sysctls = new FakeSysctls(
    Object.fromEntries(Array.from(observed.sysctls ?? [], ([name, { value }]) => [name, value])),
  );
  let nowMs = NOW_MS;
  const never = new AbortController().signal;
  const dataplaneOn = (execute: IpvsKernel['execute']) =>
    createIpvsDataplane(
      {
        kernel: {
          dump: (signal) => kernel.dump(signal),
          read: (identities, signal) => kernel.read(identities, signal),
          has: (identity) => kernel.has(identity),
          execute,
        },
        ledger,
        flows,
        nowMs: () => nowMs,
        readSysctl: sysctls.read,
        readTable: async () => tableText(kernel.table()),
        writeSysctl: sysctls.write,
      },
      ALL_OPTIONS,
    );
  const run = async (plan: (rows: IpvsRows) => Plan<IpvsOp>, execute: IpvsKernel['execute']) => {
    nowMs += 1000;
    const dataplane = dataplaneOn(execute);
    const { make, break: breaking } = plan(await dataplane.observe(never));
    await dataplane.apply(make, never);
    await dataplane.apply(breaking, never);
    return [...make, ...breaking];
  };
  const planTo = (wanted: IpvsRows) => (rows: IpvsRows) => planIpvs(rows, wanted, OPTIONS);
  return {
    kernel,
    ledger,
    flows,
    sysctls,
    /** The dataplane of a process that has just started. */
    dataplane: (execute = executeOf(kernel)) => dataplaneOn(execute),
    apply: (ops: readonly IpvsOp[], signal = never): Promise<ApplyReport<IpvsOp>> =>
      dataplaneOn(executeOf(kernel)).apply(ops, signal),
    observe: () => dataplaneOn(executeOf(kernel)).observe(never),
    sync: (wanted: IpvsRows, execute = executeOf(kernel)) => run(planTo(wanted), execute),
    teardown: () => run(teardownIpvs, executeOf(kernel)),
    /** A sync that ends after `done` requests, if there are more; then nothing is written any more, ledger included. */
    crash: async (wanted: IpvsRows, done: number) => {
      const execute = crashing(executeOf(kernel), done);
      const dying: IpvsKernel['execute'] = async (requests, signal) => {
        ledger.full = requests.length > done - kernel.writes;
        return execute(requests, signal);
      };
      kernel.writes = 0;
      await run(planTo(wanted), dying).catch((error: unknown) => {
        if (!(error instanceof Crash || ledger.full)) throw error;
      });
      ledger.full = false;
    },
  };
}

/** Its batches as a function, to be wrapped. */
export function executeOf(kernel: FakeIpvsKernel): IpvsKernel['execute'] {
  return (requests, signal) => kernel.execute(requests, signal);
}

/** A client of each real server of ours that has no connections, and one of an endpoint that an earlier run deleted. */
function flowsOf({ virtualServers, staleFlows }: IpvsRows): Flow[] {
  const flows: Flow[] = Array.from(staleFlows, (frontend) => ({
    frontend,
    endpoint: real(frontend.includes('[') ? '[fd01::99]:9' : '10.1.0.99:53').config,
  }));
  for (const row of virtualServers.values()) {
    const frontend = frontendOf(row);
    if (row.owner === 'foreign' || frontend === null || frontend.protocol === 'TCP') continue;
    for (const { config } of row.realServers.values()) {
      flows.push({ frontend: virtualServerKey(frontend), endpoint: config });
    }
  }
  return flows;
}

function load(kernel: FakeIpvsKernel, { key, identity, config, realServers }: VirtualServerRow): void {
  kernel.request({ command: 'newService', identity, config });
  for (const [real, { config: realServer, activeConnections, inactiveConnections }] of realServers) {
    kernel.request({ command: 'newDest', identity, realServer });
    kernel.connect(key, real, activeConnections, inactiveConnections);
  }
}

function ledgerOf(rows: IpvsRows): Ledger {
  const virtualServers = new Map<VirtualServerKey, LedgerOrigin>();
  const drains = new Map<DrainKey, LedgerDrain>();
  for (const { key, origin, realServers } of rows.virtualServers.values()) {
    if (origin) virtualServers.set(key, origin);
    for (const [real, { drain }] of realServers) {
      if (drain !== null) drains.set(drainKey(key, real), drain);
    }
  }
  const sysctls = new Map<string, LedgerSysctl>();
  for (const [name, { changed }] of rows.sysctls ?? []) if (changed) sysctls.set(name, changed);
  return { ...EMPTY_LEDGER, virtualServers, drains, sysctls, staleFlows: rows.staleFlows };
}
