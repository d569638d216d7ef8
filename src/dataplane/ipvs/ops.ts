import {
  realServerKey,
  type VirtualServerIdentity,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import type { Operation, OpOf } from '../dataplane.ts';
import type { LedgerDrain, LedgerOrigin } from '../ledger.ts';
import type { FlowEndpoint, StaleFlows } from './kernel.ts';
import type {
  ConnectionCounts,
  Frontend,
  RealServerConfig,
  RealServerRow,
  VirtualServerConfig,
  VirtualServerRow,
} from './rows.ts';
import { configFields, describe, describeChange, plural, realServerFields } from './text.ts';

/** Every change this dataplane makes, by name, with its arguments. */
export interface IpvsOps {
  /** `before` is the value it replaces. */
  setSysctl: { readonly name: string; readonly before: string; readonly value: string };
  /** Gives a sysctl the value it had before us. */
  restoreSysctl: { readonly name: string; readonly before: string; readonly value: string };
  addVirtualServer: {
    readonly identity: VirtualServerIdentity;
    readonly config: VirtualServerConfig;
    readonly origin: LedgerOrigin;
  };
  /** In place; its connections live on. */
  setVirtualServer: { readonly identity: VirtualServerIdentity; readonly config: VirtualServerConfig };
  /** Enters what is there already, exactly as wanted, as ours. Changes the ledger, not the kernel. */
  adoptVirtualServer: { readonly identity: VirtualServerIdentity; readonly origin: LedgerOrigin };
  /** Its real servers go with it. */
  deleteVirtualServer: { readonly identity: VirtualServerIdentity };
  addRealServer: { readonly identity: VirtualServerIdentity; readonly realServer: RealServerConfig };
  /** In place; its connections live on. */
  setRealServer: { readonly identity: VirtualServerIdentity; readonly realServer: RealServerConfig };
  /** `realServer` has weight 0: no new connections, the open ones go on. Starts the deadline. */
  drainRealServer: {
    readonly identity: VirtualServerIdentity;
    readonly realServer: RealServerConfig;
    /** With 0 there is nothing to write: only the start is recorded. */
    readonly weightBefore: number;
    /** ms since the epoch */
    readonly startedAtMs: number;
    /** null for the configured default */
    readonly timeoutSeconds: number | null;
  };
  deleteRealServer: { readonly identity: VirtualServerIdentity; readonly realServer: RealServerConfig };
  /** Makes conntrack forget where clients of a frontend were sent, but for those whom `keep` answers. */
  deleteFlows: StaleFlows;
}

export type IpvsOpNamed<Name extends keyof IpvsOps> = {
  [N in Name]: Operation & { readonly op: N } & IpvsOps[N];
}[Name];

export type IpvsOp = OpOf<IpvsOps>;

export function setSysctl(name: string, before: string, value: string, reason: string): IpvsOp {
  return {
    op: 'setSysctl',
    subject: `sysctl ${name}`,
    detail: `${before} → ${value}`,
    reason,
    name,
    before,
    value,
  };
}

export function restoreSysctl(name: string, before: string, value: string): IpvsOp {
  return {
    op: 'restoreSysctl',
    subject: `sysctl ${name}`,
    detail: `${before} → ${value}`,
    reason: 'the value before svcplane',
    name,
    before,
    value,
  };
}

export function addVirtualServer(row: VirtualServerRow, origin: LedgerOrigin): IpvsOp {
  const { key, identity, config, reason } = row;
  const detail = describe(configFields(config));
  return { op: 'addVirtualServer', subject: key, detail, reason, identity, config, origin };
}

export function setVirtualServer(have: VirtualServerRow, want: VirtualServerRow): IpvsOp {
  const { key, identity, config, reason } = want;
  const detail = describeChange(configFields(have.config), configFields(config));
  return { op: 'setVirtualServer', subject: key, detail, reason, identity, config };
}

export function adoptVirtualServer(
  have: VirtualServerRow,
  want: VirtualServerRow,
  origin: LedgerOrigin,
): IpvsOp {
  const { key, identity, reason } = want;
  const drains = have.origin?.drainTimeoutSeconds ?? null;
  const drain = `drain timeout ${timeoutText(drains)} → ${timeoutText(origin.drainTimeoutSeconds ?? null)}`;
  const owner = `owner ${have.reason === '' ? have.owner : have.reason} → ${reason}`;
  const detail = have.reason === reason && drains !== (origin.drainTimeoutSeconds ?? null) ? drain : owner;
  return { op: 'adoptVirtualServer', subject: key, detail, reason, identity, origin };
}

export function deleteVirtualServer(have: VirtualServerRow, reason: string): IpvsOp {
  const { key, identity } = have;
  const count = have.realServers.size;
  const detail = count === 0 ? '' : `with ${plural(count, 'real server')}`;
  return { op: 'deleteVirtualServer', subject: key, detail, reason, identity };
}

export function addRealServer(row: VirtualServerRow, want: RealServerRow): IpvsOp {
  const { identity } = row;
  const realServer = want.config;
  const detail = describe(realServerFields(realServer));
  const reason = `${row.reason}, ${want.reason}`;
  return { op: 'addRealServer', subject: subjectOf(row, realServer), detail, reason, identity, realServer };
}

export function setRealServer(row: VirtualServerRow, have: RealServerRow, want: RealServerRow): IpvsOp {
  const { identity } = row;
  const realServer = want.config;
  const detail = describeChange(realServerFields(have.config), realServerFields(realServer));
  const reason = `${row.reason}, ${want.reason}`;
  return { op: 'setRealServer', subject: subjectOf(row, realServer), detail, reason, identity, realServer };
}

export function drainRealServer(
  row: VirtualServerRow,
  have: RealServerRow,
  { startedAtMs, timeoutSeconds }: LedgerDrain,
  reason: string,
): IpvsOp {
  const weightBefore = have.config.weight;
  const limit = timeoutSeconds === null ? '' : `, at most ${timeoutSeconds} s`;
  return {
    op: 'drainRealServer',
    subject: subjectOf(row, have.config),
    detail: `weight ${weightBefore} → 0, ${describeConnections(have)}${limit}`,
    reason,
    identity: row.identity,
    realServer: { ...have.config, weight: 0 },
    weightBefore,
    startedAtMs,
    timeoutSeconds,
  };
}

export function deleteRealServer(row: VirtualServerRow, have: RealServerRow, reason: string): IpvsOp {
  return {
    op: 'deleteRealServer',
    subject: subjectOf(row, have.config),
    detail: describeConnections(have),
    reason,
    identity: row.identity,
    realServer: have.config,
  };
}

/** Those that matter most, of one kind only; "" if there are none. */
function describeConnections({ activeConnections, inactiveConnections }: ConnectionCounts): string {
  if (activeConnections > 0) return plural(activeConnections, 'active connection');
  return inactiveConnections > 0 ? plural(inactiveConnections, 'inactive connection') : '';
}

export function deleteFlows(
  { protocol, address, port }: Frontend,
  keep: readonly FlowEndpoint[],
  reason: string,
): IpvsOp {
  const subject = virtualServerKey({ kind: 'address', protocol, address, port });
  const detail = keep.length === 0 ? 'all' : `all but those of ${plural(keep.length, 'real server')}`;
  return { op: 'deleteFlows', subject, detail, reason, protocol, address, port, keep };
}

/** `Service web/front port http`, or `Service web/front port http, inside clients of TCP 203.0.113.9:80` */
export function reasonOf({ service, servicePort, frontend }: LedgerOrigin): string {
  const port = servicePort === '' ? '' : ` port ${servicePort}`;
  return `Service ${service}${port}${frontend === null ? '' : `, inside clients of ${frontend}`}`;
}

function timeoutText(seconds: number | null): string {
  return seconds === null ? 'default' : `${seconds} s`;
}

function subjectOf(row: VirtualServerRow, realServer: RealServerConfig): string {
  return `${row.key} -> ${realServerKey(realServer)}`;
}

/** The virtual server an operation acts on; null for sysctls. */
export function virtualServerOf(op: IpvsOp): VirtualServerKey | null {
  return 'identity' in op ? virtualServerKey(op.identity) : null;
}
