import { expect } from 'vitest';
import type { DataplaneName, Operation } from '../../src/dataplane/dataplane.ts';
import { EMPTY_LEDGER } from '../../src/dataplane/ledger.ts';
import type { HealthCheck } from '../../src/model/desired-state.ts';
import { parsePort } from '../../src/model/port.ts';
import { DaemonStatus, type DaemonStatusOptions } from '../../src/status/daemon-status.ts';
import type { NodeView, SocketRecord, SyncRecord } from '../../src/status/records.ts';

/** When the process of these tests began. */
export const START = Date.UTC(2026, 10, 21, 20, 0, 0);

export const at = (seconds: number) => START + seconds * 1000;

export function operation(op: string, subject = 'x', detail = ''): Operation {
  return { op, subject, detail, reason: 'Service web/front' };
}

export const ADD = operation('addRealServer', 'TCP 10.96.0.50:80 -> 10.244.1.20:8080', 'weight 1');
export const SET = operation('setRealServer', 'TCP 10.96.0.50:80 -> 10.244.1.20:8080', 'weight 5 → 1');
export const DELETE = operation('deleteAddress', 'address 10.96.0.50');

/** A health check node port of a Service. */
export function healthCheck(port: number, localEndpoints = 1, service = 'web/front'): HealthCheck {
  return { service, port: parsePort(port) ?? expect.unreachable(), localEndpoints };
}

/** One round that did `done` and was refused `refused`, from second 10 on, for 250 ms. */
export function syncRecord(
  done: readonly Operation[],
  { refused = [], ...rest }: Partial<SyncRecord> & { readonly refused?: readonly Operation[] } = {},
): SyncRecord {
  return {
    kind: 'scoped',
    reasons: new Set(['API server']),
    begunAtMs: at(10),
    endedAtMs: at(10.25),
    rounds: [
      {
        acknowledged: done,
        refused: refused.map((op) => ({ op, code: 'EPERM', message: `Cannot do ${op.op}: EPERM` })),
        notAttempted: [],
      },
    ],
    isComplete: refused.length === 0,
    ...rest,
  };
}

export const EMPTY_VIEW: NodeView = {
  desired: undefined,
  rejected: [],
  foreign: [],
  ledger: Object.fromEntries(Object.keys(EMPTY_LEDGER).map((kind) => [kind, 0])),
  draining: 0,
  deletedFlows: { IPv4: 0, IPv6: 0 },
  sockets: null,
  announcements: [],
};

/** On a node whose sockets are balanced. */
export const BALANCED: SocketRecord = {
  mode: 'auto',
  outcome: 'used',
  cgroup: '/sys/fs/cgroup',
  reason: null,
  served: 3,
  left: 1,
  events: { hit: 7, miss: 90 },
};

/** A daemon's status, at the second that `clock` says. */
export function daemonStatus(
  clock: { seconds: number },
  options: Partial<DaemonStatusOptions> = {},
): DaemonStatus {
  return new DaemonStatus({
    node: 'n0',
    versions: { svcplane: '1.2.3', node: 'v24.0.0' },
    startMs: START,
    nowMs: () => at(clock.seconds),
    dataplaneOf: ({ op }): DataplaneName => (op.endsWith('Address') ? 'addresses' : 'ipvs'),
    view: () => EMPTY_VIEW,
    retryAtMs: () => null,
    listenFailures: () => [],
    figures: async () => ({
      cpuSeconds: 1.5,
      residentBytes: 100,
      heapUsedBytes: 50,
      openFiles: 12,
      maxFiles: null,
      eventLoopLagSeconds: 0.001,
      eventLoopUtilization: 0.25,
    }),
    ...options,
  });
}
