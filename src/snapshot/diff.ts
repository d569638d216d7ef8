import { compareAddresses, type IpAddress } from '../model/address.ts';
import { compareText } from '../model/rejected.ts';
import { type RealServerKey, realServerKey, type VirtualServerKey } from '../model/virtual-server.ts';
import { canonicalSnapshot, keyOf } from './canonical.ts';
import { announcementLines, elementLines, socketLines, syncDaemonLines } from './render-text.ts';
import type {
  Snapshot,
  SnapshotNftables,
  SnapshotRealServer,
  SnapshotSockets,
  SnapshotVirtualServer,
} from './snapshot.ts';

/** What differs between two snapshots in configuration, by key and in canonical order. Connection counts do not. */
export interface SnapshotDiff {
  readonly addresses: SetDiff<IpAddress>;
  readonly routes: SetDiff<string>;
  readonly virtualServers: {
    readonly added: readonly SnapshotVirtualServer[];
    readonly removed: readonly SnapshotVirtualServer[];
    readonly changed: readonly VirtualServerChange[];
  };
  /** Elements, rules and what else there is, a line each; nothing if one snapshot does not tell. */
  readonly nftables: SetDiff<string>;
  /** The switch and the frontends of the socket balancer, a line each; nothing if one snapshot does not tell. */
  readonly sockets: SetDiff<string>;
  /** Groups of addresses, a line each. */
  readonly announcements: SetDiff<string>;
  /** Daemons of connection synchronisation, a line each. */
  readonly connectionSync: SetDiff<string>;
}

export interface SetDiff<T> {
  readonly added: readonly T[];
  readonly removed: readonly T[];
}

/** A virtual server in both snapshots that differs in itself, in its real servers, or in both. */
export interface VirtualServerChange {
  readonly key: VirtualServerKey;
  readonly fields: readonly FieldChange[];
  readonly realServers: {
    readonly added: readonly SnapshotRealServer[];
    readonly removed: readonly SnapshotRealServer[];
    readonly changed: readonly RealServerChange[];
  };
}

export interface RealServerChange {
  readonly key: RealServerKey;
  readonly fields: readonly FieldChange[];
}

/** One field with its values; null where the snapshot does not have it. */
export interface FieldChange {
  readonly field: string;
  readonly old: FieldValue;
  readonly new: FieldValue;
}

export type FieldValue = string | number | boolean | null;

/** Pure and deterministic; `diffSnapshots(a, a)` is empty whatever the order of rows in `a`. */
export function diffSnapshots(before: Snapshot, after: Snapshot): SnapshotDiff {
  const a = canonicalSnapshot(before);
  const b = canonicalSnapshot(after);
  const virtualServers = diffKeyed(a.virtualServers, b.virtualServers, keyOf, changeOfVirtualServer);
  return {
    addresses: diffSets(a.addresses, b.addresses, compareAddresses),
    routes: diffSets(a.routes ?? [], b.routes ?? [], compareText),
    virtualServers,
    nftables: diffNftables(a.nftables, b.nftables),
    sockets: diffSockets(a.sockets, b.sockets),
    announcements: diffSets(
      announcementLines(a.announcements ?? []),
      announcementLines(b.announcements ?? []),
      compareText,
    ),
    connectionSync: diffSets(
      syncDaemonLines(a.connectionSync ?? []),
      syncDaemonLines(b.connectionSync ?? []),
      compareText,
    ),
  };
}

function diffNftables(
  before: SnapshotNftables | undefined,
  after: SnapshotNftables | undefined,
): SetDiff<string> {
  if (!before || !after) return { added: [], removed: [] };
  return diffSets(linesOf(before), linesOf(after), compareText);
}

function diffSockets(
  before: SnapshotSockets | undefined,
  after: SnapshotSockets | undefined,
): SetDiff<string> {
  if (!before || !after) return { added: [], removed: [] };
  return diffSets(socketLines(before), socketLines(after), compareText);
}

function linesOf(nftables: SnapshotNftables): readonly string[] {
  const { table, chains, sets, others = [] } = nftables;
  return [
    ...(chains.length + sets.length + others.length > 0 ? [`table inet ${table}`] : []),
    ...chains.flatMap(({ name, declaration, rules }) => [
      `chain ${name} ${declaration}`.trimEnd(),
      ...rules.map((rule, i) => `chain ${name} rule ${i + 1} ${rule}`),
    ]),
    ...sets.flatMap(({ name, declaration }) =>
      declaration === undefined ? [] : [`set ${name} ${declaration}`],
    ),
    ...elementLines(nftables),
    ...others,
  ];
}

/** Rows added, changed and removed; a virtual server counts once, and each of its real servers once. */
export interface DiffCounts {
  readonly added: number;
  readonly changed: number;
  readonly removed: number;
}

export function countDiff(diff: SnapshotDiff): DiffCounts {
  const { addresses, routes, virtualServers, nftables, sockets, announcements, connectionSync } = diff;
  const sets = [addresses, routes, nftables, sockets, announcements, connectionSync];
  const rows = (servers: readonly SnapshotVirtualServer[]) =>
    servers.reduce((sum, { realServers }) => sum + 1 + realServers.length, 0);
  let added = sets.reduce((sum, set) => sum + set.added.length, rows(virtualServers.added));
  let removed = sets.reduce((sum, set) => sum + set.removed.length, rows(virtualServers.removed));
  let changed = 0;
  for (const { fields, realServers } of virtualServers.changed) {
    added += realServers.added.length;
    removed += realServers.removed.length;
    changed += realServers.changed.length + (fields.length > 0 ? 1 : 0);
  }
  return { added, changed, removed };
}

/** Whether two snapshots have the same configuration. */
export function isEmptyDiff(diff: SnapshotDiff): boolean {
  const { added, changed, removed } = countDiff(diff);
  return added + changed + removed === 0;
}

function changeOfVirtualServer(
  before: SnapshotVirtualServer,
  after: SnapshotVirtualServer,
): VirtualServerChange | undefined {
  const fields = changedFields(virtualServerFields(before), virtualServerFields(after));
  const realServers = diffKeyed(before.realServers, after.realServers, realServerKey, changeOfRealServer);
  const { added, removed, changed } = realServers;
  if (fields.length + added.length + removed.length + changed.length === 0) return undefined;
  return { key: keyOf(after), fields, realServers };
}

function changeOfRealServer(
  before: SnapshotRealServer,
  after: SnapshotRealServer,
): RealServerChange | undefined {
  const fields = changedFields(realServerFields(before), realServerFields(after));
  return fields.length > 0 ? { key: realServerKey(after), fields } : undefined;
}

interface Field {
  readonly name: string;
  readonly value: FieldValue;
  /** Null says that the snapshot does not know, which differs from nothing. */
  readonly nullIsUnknown?: true;
}

function virtualServerFields(row: SnapshotVirtualServer): readonly Field[] {
  return [
    { name: 'scheduler', value: row.scheduler },
    { name: 'schedulerFlags', value: row.schedulerFlags?.join(',') ?? null },
    { name: 'persistenceTimeoutSeconds', value: row.persistenceTimeoutSeconds },
    { name: 'persistenceNetmask', value: row.persistenceNetmask ?? null },
    { name: 'persistenceEngine', value: row.persistenceEngine ?? null },
    { name: 'onePacket', value: row.onePacket ?? false },
    { name: 'exposure', value: row.exposure, nullIsUnknown: true },
    { name: 'service', value: row.service, nullIsUnknown: true },
    { name: 'servicePort', value: row.servicePort, nullIsUnknown: true },
    { name: 'owner', value: row.owner ?? null, nullIsUnknown: true },
  ];
}

function realServerFields(row: SnapshotRealServer): readonly Field[] {
  return [
    { name: 'weight', value: row.weight },
    { name: 'forwarding', value: row.forwarding },
    { name: 'upperThreshold', value: row.upperThreshold ?? 0 },
    { name: 'lowerThreshold', value: row.lowerThreshold ?? 0 },
    { name: 'tunnelType', value: row.tunnel?.type ?? null },
    { name: 'tunnelPort', value: row.tunnel?.port ?? null },
    { name: 'tunnelChecksum', value: row.tunnel?.checksum ?? null },
  ];
}

function changedFields(before: readonly Field[], after: readonly Field[]): readonly FieldChange[] {
  return after.flatMap(({ name, value, nullIsUnknown }, i) => {
    const old = before[i]?.value ?? null;
    if (old === value || (nullIsUnknown && (old === null || value === null))) return [];
    return { field: name, old, new: value };
  });
}

function diffKeyed<Row, Key, Change>(
  before: readonly Row[],
  after: readonly Row[],
  key: (row: Row) => Key,
  change: (before: Row, after: Row) => Change | undefined,
): { readonly added: readonly Row[]; readonly removed: readonly Row[]; readonly changed: readonly Change[] } {
  const old = new Map(before.map((row) => [key(row), row]));
  const added: Row[] = [];
  const changed: Change[] = [];
  for (const row of after) {
    const rowKey = key(row);
    const oldRow = old.get(rowKey);
    old.delete(rowKey);
    if (oldRow === undefined) added.push(row);
    else changed.push(...definedOf(change(oldRow, row)));
  }
  return { added, removed: [...old.values()], changed };
}

function definedOf<T>(value: T | undefined): readonly T[] {
  return value === undefined ? [] : [value];
}

function diffSets<T>(before: readonly T[], after: readonly T[], compare: (a: T, b: T) => number): SetDiff<T> {
  const a = new Set(before);
  const b = new Set(after);
  return { added: [...b.difference(a)].sort(compare), removed: [...a.difference(b)].sort(compare) };
}
