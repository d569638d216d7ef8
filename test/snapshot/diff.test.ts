import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { realServerKey } from '../../src/model/virtual-server.ts';
import { canonicalSnapshot, keyOf } from '../../src/snapshot/canonical.ts';
import {
  countDiff,
  diffSnapshots,
  type FieldChange,
  isEmptyDiff,
  type SetDiff,
  type SnapshotDiff,
} from '../../src/snapshot/diff.ts';
import { parseSnapshot } from '../../src/snapshot/parse.ts';
import { renderDiff } from '../../src/snapshot/render-diff.ts';
import { socketLines, syncDaemonLines } from '../../src/snapshot/render-text.ts';
import type { Snapshot, SnapshotSockets, SnapshotSyncDaemon } from '../../src/snapshot/snapshot.ts';
import { parseSocketLine } from '../dataplane/socklb/lines.ts';
import { shuffled, snapshot } from './arbitraries.ts';
import { ip, realServer, snapshotOf, virtualServer } from './build.ts';

describe('diffSnapshots()', () => {
  it('is empty between a snapshot and itself in another order', () => {
    const pair = snapshot.chain((a) => fc.tuple(fc.constant(a), shuffled(a)));
    fc.assert(fc.property(pair, ([a, b]) => isEmptyDiff(diffSnapshots(a, b))));
  });

  it('says all that is needed to make the second snapshot of the first', () => {
    fc.assert(
      fc.property(snapshot, snapshot, (a, b) => {
        const made = applyDiff(a, diffSnapshots(a, b));
        expect(renderDiff(diffSnapshots(made, b))).toBe('Diff: 0 added, 0 changed, 0 removed.\n');
      }),
    );
  });

  it('does not depend on the order of rows', () => {
    const inputs = fc
      .tuple(snapshot, snapshot)
      .chain(([a, b]) => fc.tuple(fc.constant(a), fc.constant(b), shuffled(a), shuffled(b)));
    fc.assert(
      fc.property(inputs, ([a, b, a2, b2]) => {
        expect(diffSnapshots(a2, b2)).toEqual(diffSnapshots(a, b));
      }),
    );
  });

  it('swaps added and removed when its arguments are swapped', () => {
    fc.assert(
      fc.property(snapshot, snapshot, (a, b) => {
        const { added, changed, removed } = countDiff(diffSnapshots(a, b));
        expect(countDiff(diffSnapshots(b, a))).toEqual({ added: removed, changed, removed: added });
      }),
    );
  });

  it('passes over connection counts, and over what one side does not know', () => {
    const before = virtualServer('10.0.0.1:80', { realServers: [realServer('10.1.0.1:80')] });
    const after = virtualServer('10.0.0.1:80', {
      owner: 'svcplane',
      exposure: 'ClusterIP',
      service: 'web/front',
      servicePort: 'http',
      realServers: [realServer('10.1.0.1:80', { activeConnections: 7, inactiveConnections: 2 })],
    });
    expect(isEmptyDiff(diffSnapshots(snapshotOf([before]), snapshotOf([after])))).toBe(true);
  });
});

describe('renderDiff()', () => {
  it('prints one line per row that differs, with old and new values', () => {
    const before = {
      ...snapshotOf([
        virtualServer('10.0.0.1:80', {
          service: 'web/front',
          realServers: [realServer('10.1.0.1:80'), realServer('10.1.0.2:80')],
        }),
        virtualServer('10.0.0.2:80', { realServers: [realServer('10.1.0.9:80')] }),
      ]),
      addresses: [ip('10.0.0.1'), ip('10.0.0.2')],
    };
    const after = {
      ...snapshotOf([
        virtualServer('10.0.0.1:80', {
          service: 'web/back',
          persistenceTimeoutSeconds: 10800,
          realServers: [realServer('10.1.0.1:80', { weight: 0 }), realServer('10.1.0.3:80')],
        }),
        virtualServer('[fd00::1]:53', { protocol: 'UDP' }),
      ]),
      addresses: [ip('10.0.0.1'), ip('fd00::1')],
      routes: ['10.96.0.0/16'],
    };
    expect(renderDiff(diffSnapshots(before, after))).toBe(
      [
        '- address 10.0.0.2',
        '+ address fd00::1',
        '+ route 10.96.0.0/16',
        '- TCP 10.0.0.2:80 rr',
        '- TCP 10.0.0.2:80 -> 10.1.0.9:80 masquerade weight 1',
        '~ TCP 10.0.0.1:80 persistenceTimeoutSeconds none → 10800, service web/front → web/back',
        '- TCP 10.0.0.1:80 -> 10.1.0.2:80 masquerade weight 1',
        '~ TCP 10.0.0.1:80 -> 10.1.0.1:80 weight 1 → 0',
        '+ TCP 10.0.0.1:80 -> 10.1.0.3:80 masquerade weight 1',
        '+ UDP [fd00::1]:53 rr',
        'Diff: 4 added, 2 changed, 4 removed.\n',
      ].join('\n'),
    );
  });
});

/** Makes the second snapshot of a diff from the first, by nothing but the diff's keys and values. */
function applyDiff(before: Snapshot, diff: SnapshotDiff): Snapshot {
  const { addresses, routes, virtualServers } = diff;
  // A line of sockets has all of a frontend in canonical order.
  const { sockets } = canonicalSnapshot(before);
  const changes = new Map(virtualServers.changed.map((change) => [change.key, change]));
  const after = {
    ...before,
    addresses: applySet(before.addresses, addresses),
    routes: applySet(before.routes ?? [], routes),
    virtualServers: [
      ...without(before.virtualServers, virtualServers.removed, keyOf).map((row) => {
        const change = changes.get(keyOf(row));
        if (!change) return row;
        const { added, removed, changed } = change.realServers;
        const fields = new Map(changed.map((realServer) => [realServer.key, realServer.fields]));
        const realServers = without(row.realServers, removed, realServerKey).map((realServer) =>
          withFields(realServer, fields.get(realServerKey(realServer)) ?? []),
        );
        return { ...withFields(row, change.fields), realServers: [...realServers, ...added] };
      }),
      ...virtualServers.added,
    ],
    ...(sockets && { sockets: applySockets(sockets, diff.sockets) }),
    connectionSync: applySyncDaemons(before.connectionSync ?? [], diff.connectionSync),
  };
  return parseSnapshot(JSON.stringify(after), 'test');
}

function applySockets(before: SnapshotSockets, diff: SetDiff<string>): SnapshotSockets {
  const lines = applySet(socketLines(before), diff);
  const [, mode, programs] = lines.join('\n').match(/^sockets (\w+), programs (\w+)$/m) ?? [];
  const rows = lines.flatMap((line) => (line.startsWith('socket ') ? parseSocketLine(line.slice(7)) : []));
  const services = rows.map(({ address, port, protocol, algorithm, affinitySeconds, backends }) => ({
    address,
    port,
    protocol,
    algorithm,
    affinitySeconds,
    realServers: [...backends.values()],
  }));
  const sockets = { mode, programs, services };
  return parseSnapshot(JSON.stringify({ ...snapshotOf([]), sockets }), 'test').sockets ?? before;
}

function applySyncDaemons(before: readonly SnapshotSyncDaemon[], diff: SetDiff<string>): unknown {
  return applySet(syncDaemonLines(before), diff).map((line) => {
    const [, role, link, id, cutOff] = /^connsync (\w+) (\S+) id (\d+)(, cut off)?$/.exec(line) ?? [];
    return { role, interface: link, id: Number(id), ...(cutOff && { isCutOff: true }) };
  });
}

function applySet<T>(before: readonly T[], { added, removed }: SetDiff<T>): readonly T[] {
  return [...before.filter((value) => !removed.includes(value)), ...added];
}

function without<Row>(
  rows: readonly Row[],
  removed: readonly Row[],
  key: (row: Row) => string,
): readonly Row[] {
  const gone = new Set(removed.map(key));
  return rows.filter((row) => !gone.has(key(row)));
}

function withFields(row: object, fields: readonly FieldChange[]): object {
  const after = new Map<string, unknown>(Object.entries(row));
  for (const { field, new: value } of fields) {
    const tunnelField = /^tunnel(.+)$/.exec(field)?.[1]?.toLowerCase();
    if (tunnelField) after.set('tunnel', { ...Object(after.get('tunnel')), [tunnelField]: value });
    else if (value === null && field !== 'persistenceTimeoutSeconds') after.delete(field);
    else after.set(field, field === 'schedulerFlags' ? String(value).split(',') : value);
  }
  const { type } = Object(after.get('tunnel'));
  if (type === null) after.delete('tunnel');
  return Object.fromEntries(after);
}
