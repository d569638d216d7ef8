import { realServerKey, type VirtualServerKey } from '../model/virtual-server.ts';
import { keyOf } from './canonical.ts';
import { countDiff, type FieldChange, type SnapshotDiff, type VirtualServerChange } from './diff.ts';
import { describeRealServer, describeVirtualServer } from './render-text.ts';
import type { SnapshotRealServer, SnapshotVirtualServer } from './snapshot.ts';

/** One line per row that differs, prefixed `+`, `~` or `-`, then a line that counts them. */
export function renderDiff(diff: SnapshotDiff): string {
  const { addresses, routes, virtualServers, nftables, sockets, announcements, connectionSync } = diff;
  const { added, changed, removed } = countDiff(diff);
  return [
    ...addresses.removed.map((address) => `- address ${address}\n`),
    ...addresses.added.map((address) => `+ address ${address}\n`),
    ...routes.removed.map((route) => `- route ${route}\n`),
    ...routes.added.map((route) => `+ route ${route}\n`),
    ...virtualServers.removed.map((row) => renderRows('-', row)),
    ...virtualServers.changed.map(renderChange),
    ...virtualServers.added.map((row) => renderRows('+', row)),
    ...nftables.removed.map((line) => `- nft ${line}\n`),
    ...nftables.added.map((line) => `+ nft ${line}\n`),
    ...sockets.removed.map((line) => `- ${line}\n`),
    ...sockets.added.map((line) => `+ ${line}\n`),
    ...announcements.removed.map((line) => `- ${line}\n`),
    ...announcements.added.map((line) => `+ ${line}\n`),
    ...connectionSync.removed.map((line) => `- ${line}\n`),
    ...connectionSync.added.map((line) => `+ ${line}\n`),
    `Diff: ${added} added, ${changed} changed, ${removed} removed.\n`,
  ].join('');
}

function renderRows(sign: '+' | '-', virtualServer: SnapshotVirtualServer): string {
  const key = keyOf(virtualServer);
  return [
    `${sign} ${key} ${describeVirtualServer(virtualServer)}\n`,
    ...virtualServer.realServers.map((realServer) => renderRealServer(sign, key, realServer)),
  ].join('');
}

function renderRealServer(sign: '+' | '-', key: VirtualServerKey, realServer: SnapshotRealServer): string {
  return `${sign} ${key} -> ${realServerKey(realServer)} ${describeRealServer(realServer)}\n`;
}

function renderChange({ key, fields, realServers }: VirtualServerChange): string {
  return [
    fields.length > 0 ? `~ ${key} ${renderFields(fields)}\n` : '',
    ...realServers.removed.map((realServer) => renderRealServer('-', key, realServer)),
    ...realServers.changed.map((change) => `~ ${key} -> ${change.key} ${renderFields(change.fields)}\n`),
    ...realServers.added.map((realServer) => renderRealServer('+', key, realServer)),
  ].join('');
}

function renderFields(fields: readonly FieldChange[]): string {
  return fields
    .map(({ field, old, new: value }) => `${field} ${old ?? 'none'} → ${value ?? 'none'}`)
    .join(', ');
}
