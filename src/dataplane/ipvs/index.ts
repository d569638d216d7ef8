import type { VirtualServer } from '../../model/virtual-server.ts';
import { type Dataplane, partOf } from '../dataplane.ts';
import type { LedgerAccess } from '../ledger.ts';
import { applyIpvs, type WriteSysctl, writeSysctlFile } from './apply.ts';
import type { FlowKernel, IpvsKernel } from './kernel.ts';
import {
  areAsWanted,
  isAsWanted,
  observeIpvs,
  type ReadSysctl,
  type ReadTable,
  readSysctlFile,
  tableReader,
} from './observe.ts';
import { drainingServices, observeIpvsChange } from './observe-change.ts';
import type { IpvsOp } from './ops.ts';
import { NO_STALE_ENTRIES, type StaleEntries } from './ownership.ts';
import { parseIpvsOp } from './parse-op.ts';
import { drainingIpvsAddresses, type PlanOptions, planIpvs, teardownIpvs } from './plan.ts';
import { type ProjectOptions, projectIpvs, wantedServers, wantedSysctls } from './project.ts';
import { reduceIpvs } from './reduce.ts';
import { EMPTY_ROWS, foreignVirtualServers, type IpvsRows } from './rows.ts';
import { servedFrontends } from './served.ts';
import { foreignHeaders } from './table-text.ts';
import { canonicalText } from './text.ts';
import { holdUnwantedServers, unwantedServers } from './unwanted.ts';

export interface IpvsOptions extends ProjectOptions, PlanOptions {}

export interface IpvsResources {
  readonly kernel: IpvsKernel;
  readonly ledger: LedgerAccess;
  /** Without it no flow is known, and none is ever stale: as where nothing is tracked. */
  readonly flows?: FlowKernel;
  /** Wall clock, ms since the epoch: drain starts are kept over restarts. */
  readonly nowMs: () => number;
  /** Through /proc/sys by default. */
  readonly readSysctl?: ReadSysctl;
  readonly writeSysctl?: WriteSysctl;
  readonly readTable?: ReadTable;
}

const NO_FLOWS: FlowKernel = { deleteFlows: async (frontends) => frontends.map(() => ({ outcome: 'ok' })) };

/** The IPVS table of this network namespace, and the sysctls it needs. */
export function createIpvsDataplane(
  resources: IpvsResources,
  options: IpvsOptions,
): Dataplane<IpvsRows, IpvsOp> {
  const { kernel, ledger, flows = NO_FLOWS, nowMs } = resources;
  const { readSysctl = readSysctlFile, writeSysctl = writeSysctlFile, readTable = tableReader() } = resources;
  let stale: StaleEntries = NO_STALE_ENTRIES;
  let foreign: ReadonlySet<string> = new Set();
  return {
    name: 'ipvs',
    project: (desired) => projectIpvs(desired, options),
    observe: async (signal) => {
      const observation = await observeIpvs(kernel, ledger, readSysctl, nowMs, signal);
      stale = observation.stale;
      foreign = foreignHeaders(observation.rows);
      return observation.rows;
    },
    isAsWanted: (desired, look) => {
      const wanted = {
        servers: wantedServers(desired, options),
        sysctls: wantedSysctls(desired, options),
        foreign,
      };
      return isAsWanted(wanted, ledger.read(), { readSysctl, readTable }, look);
    },
    isPartAsWanted: (desired, part, look) => {
      const virtualServers = new Map(partOf(desired.virtualServers, part));
      const { rows } = projectIpvs({ ...desired, virtualServers }, options);
      return areAsWanted(kernel, [...rows.virtualServers.values()], look);
    },
    plan: (observed, wanted) => planIpvs(observed, wanted, options),
    teardown: teardownIpvs,
    apply: (ops, signal) => {
      const pruned = stale;
      // Valid once: what this apply enters may be among them.
      stale = NO_STALE_ENTRIES;
      return applyIpvs(ops, pruned, { kernel, flows, ledger, writeSysctl, nowMs }, signal);
    },
    reduce: reduceIpvs,
    canonical: canonicalText,
    foreign: foreignVirtualServers,
    parseOp: parseIpvsOp,
    drainingAddresses: (observed, wanted) => drainingIpvsAddresses(observed, wanted, options),
    unwanted: unwantedServers,
    served: servedFrontends,
    holdUnwanted: holdUnwantedServers,
    scoped: {
      needs: (server) => neededSysctls(server, options),
      observe: (change, signal) => {
        // Of a look at everything that no apply has followed: it may be out of date.
        stale = NO_STALE_ENTRIES;
        const isOver = (rows: IpvsRows) =>
          planIpvs(rows, EMPTY_ROWS, options).break.some(({ op }) => op === 'deleteVirtualServer');
        return observeIpvsChange(kernel, ledger.read(), change, { nowMs, isOver }, signal);
      },
      drainingServices: () => drainingServices(ledger.read()),
    },
  };
}

/** Those that no virtual server would need that is not like this one. */
function neededSysctls(server: VirtualServer, options: IpvsOptions): readonly string[] {
  const always = wantedSysctls({ virtualServers: new Map() }, options);
  const alone = wantedSysctls({ virtualServers: new Map([[server.key, server]]) }, options);
  return [...alone.keys()].filter((name) => !always.has(name)).map((name) => `sysctl ${name}`);
}
