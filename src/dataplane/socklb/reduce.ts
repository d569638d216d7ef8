import { type RealServerKey, realServerKey } from '../../model/virtual-server.ts';
import { type Executors, execute } from '../dataplane.ts';
import type { FrontendKey } from './layout.ts';
import type { PlannedService, SocklbOp, SocklbOps } from './ops.ts';
import { type LeftElement, type Remain, remainKey } from './remains.ts';
import { type BackendRow, EMPTY_ROWS, hasTable, keyOf, type ServiceRow, type SocklbRows } from './rows.ts';

/** The rows after the kernel has acknowledged `ops`, in order. What remains does so since the rows were observed. */
export function reduceSocklb(rows: SocklbRows, ops: readonly SocklbOp[]): SocklbRows {
  if (ops.length === 0) return rows;
  const draft: Draft = { rows, services: new Map(rows.services), remains: new Map(rows.remains) };
  const effects = effectsOn(draft);
  for (const op of ops) execute<SocklbOps, keyof SocklbOps, void>(effects, op);
  const { services, remains } = draft;
  return { ...draft.rows, services, remains };
}

interface Draft {
  rows: SocklbRows;
  services: Map<ServiceRow['key'], ServiceRow>;
  remains: Map<string, Remain>;
}

function effectsOn(draft: Draft): Executors<SocklbOps, void> {
  const put = (frontend: FrontendKey, service: PlannedService, reason: string): void => {
    const row = rowOf(frontend, service, reason);
    draft.services.set(row.key, row);
    const { lastServiceId, lastBackendId } = draft.rows;
    draft.rows = {
      ...draft.rows,
      lastServiceId: Math.max(lastServiceId, service.id),
      lastBackendId: service.backends.reduce((last, { id }) => Math.max(last, id), lastBackendId),
    };
  };
  const remain = (change: RemainsChange): void =>
    changeRemains(draft.remains, change, draft.rows.observedAtMs);
  return {
    addSocketService: (op) => {
      put(op.frontend, op.service, op.reason);
      remain(remainsAfter(op));
    },
    setSocketService: (op) => {
      put(op.frontend, op.service, op.reason);
      remain(remainsAfter(op));
    },
    deleteSocketService: (op) => {
      draft.services.delete(keyOf(op.frontend));
      remain(remainsAfter(op));
    },
    deleteSocketEntry: (op) => remain(remainsAfter(op)),
    deleteSocketSlots: (op) => remain(remainsAfter(op)),
    deleteSocketTable: (op) => remain(remainsAfter(op)),
    endSockets: (op) => remain(remainsAfter(op)),
    deleteSocketBackend: (op) => remain(remainsAfter(op)),
    setSocketMode: ({ flags, udpFlowSeconds }) => {
      draft.rows = { ...draft.rows, config: { flags, udpFlowSeconds } };
    },
    addSocketPrograms: () => {
      draft.rows = { ...draft.rows, programs: 'attached' };
    },
    deleteSocketPrograms: () => {
      draft.rows = { ...EMPTY_ROWS, observedAtMs: draft.rows.observedAtMs };
      draft.services = new Map();
      draft.remains = new Map();
    },
  };
}

/** What an operation does to what remains. */
export interface RemainsChange {
  /** By remainKey(). */
  readonly gone: readonly string[];
  readonly left: readonly LeftElement[];
}

/** Pure: see {@link RemainsChange}; nothing for operations that are about something else. */
export function remainsAfter(op: SocklbOp): RemainsChange {
  switch (op.op) {
    case 'addSocketService':
      return remainsOfService(op, []);
    case 'setSocketService':
      return remainsOfService(op, op.leaves);
    case 'deleteSocketService':
      return { gone: [], left: op.leaves };
    case 'deleteSocketEntry':
      return { gone: [remainKey({ kind: 'entry', key: op.key })], left: [] };
    case 'deleteSocketSlots': {
      const { serviceId, generation, slots } = op;
      return { gone: [remainKey({ kind: 'slots', serviceId, generation, slots })], left: [] };
    }
    case 'deleteSocketTable':
      return { gone: [remainKey({ kind: 'table', serviceId: op.serviceId })], left: [] };
    case 'endSockets':
    case 'deleteSocketBackend':
      return { gone: [`backend ${op.id}`], left: [] };
    default:
      return { gone: [], left: [] };
  }
}

/** Changes `remains`. What is left already keeps its time. */
export function changeRemains(
  remains: Map<string, Remain>,
  { gone, left }: RemainsChange,
  sinceMs: number,
): void {
  for (const key of gone) remains.delete(key);
  for (const element of left) remains.set(remainKey(element), { ...element, sinceMs });
}

function remainsOfService(
  { frontend, service }: { readonly frontend: FrontendKey; readonly service: PlannedService },
  leaves: readonly LeftElement[],
): RemainsChange {
  const { id: serviceId, algorithm, backends } = service;
  return {
    gone: [
      ...backends.filter(({ weight }) => weight > 0).map(({ id }) => `backend ${id}`),
      ...(hasTable({ algorithm, backends }) ? [remainKey({ kind: 'table', serviceId })] : []),
    ],
    left: [
      ...leaves,
      ...backends
        .filter(({ weight }) => weight === 0)
        .map(
          ({ id, address, port }): LeftElement => ({
            kind: 'backend',
            id,
            serviceId,
            endpoint: { address, port, protocol: frontend.protocol },
            isTerminating: true,
          }),
        ),
    ],
  };
}

function rowOf(frontend: FrontendKey, service: PlannedService, reason: string): ServiceRow {
  const { id, generation, algorithm, affinitySeconds, backends } = service;
  return {
    ...frontend,
    key: keyOf(frontend),
    algorithm,
    affinitySeconds,
    backends: backendRows(backends.filter(({ weight }) => weight > 0)),
    place: { id, generation },
    fault: null,
    reason,
  };
}

function backendRows(backends: PlannedService['backends']): ReadonlyMap<RealServerKey, BackendRow> {
  return new Map(
    backends.map(({ id, address, port, weight }) => [
      realServerKey({ address, port }),
      { address, port, weight, id },
    ]),
  );
}
