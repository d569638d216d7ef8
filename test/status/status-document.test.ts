import { describe, expect, test } from 'vitest';
import type { DaemonStatusOptions } from '../../src/status/daemon-status.ts';
import { NO_CHANGES } from '../../src/status/records.ts';
import { durationText, renderStatus } from '../../src/status/render-status.ts';
import { desiredOf } from '../derive.ts';
import { service, slice } from '../objects.ts';
import {
  ADD,
  at,
  BALANCED,
  DELETE,
  daemonStatus,
  EMPTY_VIEW,
  operation,
  SET,
  syncRecord,
} from './status-build.ts';

const rejected = Array.from({ length: 7 }, (_, i) => ({ subject: `Service web/s${i}`, reason: 'no' }));

/** A daemon with something to say on every line, at second 3661. */
function busy(options: Partial<DaemonStatusOptions> = {}) {
  const clock = { seconds: 0 };
  const desired = desiredOf([service(), slice({ endpoints: [{ address: '10.244.2.30' }] })]);
  const ledger = { virtualServers: 1, drains: 0, addresses: 1 };
  const status = daemonStatus(clock, {
    view: () => ({
      ...EMPTY_VIEW,
      desired,
      rejected,
      foreign: ['TCP 192.0.2.1:80'],
      ledger,
      draining: 2,
      sockets: BALANCED,
    }),
    retryAtMs: () => at(3663),
    listenFailures: () => ['Cannot listen: metrics at 127.0.0.1:10249: EADDRINUSE'],
    ...options,
  });
  status.synced(syncRecord([ADD]));
  status.watching({ kind: 'Service', state: 'watching', sinceMs: at(1), reason: '' });
  status.watching({ kind: 'EndpointSlice', state: 'retrying', sinceMs: at(3659), reason: 'ECONNREFUSED' });
  status.audited({ atMs: at(3641), ops: [SET], isRepaired: false, foreign: ['TCP 192.0.2.1:80'] });
  clock.seconds = 3660.9;
  status.changed(NO_CHANGES);
  status.syncBegun();
  status.synced(
    syncRecord([DELETE], {
      refused: [SET, operation('addLink')],
      begunAtMs: at(3660.95),
      endedAtMs: at(3661),
    }),
  );
  status.guarded({ reason: 'would delete 40 of 50 virtual servers', sinceMs: at(3651), untilMs: at(3951) });
  clock.seconds = 3661;
  return status;
}

describe('DaemonStatus.document()', () => {
  test('has the facts, with times that everybody can read', () => {
    expect(busy().document()).toMatchObject({
      version: 1,
      node: 'n0',
      program: { version: '1.2.3', startedAt: '2026-11-21T20:00:00.000Z' },
      now: '2026-11-21T21:01:01.000Z',
      ready: false,
      lastSync: {
        kind: 'scoped',
        reasons: ['API server'],
        durationMs: 50,
        complete: false,
        added: 0,
        changed: 0,
        deleted: 1,
      },
      lastCompleteSyncAt: '2026-11-21T20:00:10.250Z',
      queuedSince: '2026-11-21T21:01:00.900Z',
      virtualServers: 1,
      realServers: 1,
      draining: 2,
      sockets: BALANCED,
      rejected: { count: 7, first: rejected.slice(0, 5) },
      guard: { until: '2026-11-21T21:05:51.000Z' },
      lastAudit: { repaired: false, missing: 0, altered: 1, stale: 0, foreign: 1 },
      failures: { count: 2, first: ['Cannot do setRealServer: EPERM', 'Cannot do addLink: EPERM'] },
      retryAt: '2026-11-21T21:01:03.000Z',
    });
  });

  test('of a daemon that has just begun has nothing, and says so', () => {
    expect(daemonStatus({ seconds: 0 }).document()).toMatchObject({
      ready: false,
      lastSync: null,
      lastCompleteSyncAt: null,
      queuedSince: null,
      lastAudit: null,
      guard: null,
      failures: { count: 0, first: [] },
    });
  });
});

describe('renderStatus()', () => {
  test('is a screen of facts', () => {
    expect(renderStatus(busy().document())).toBe(`\
node       n0
version    1.2.3, up for 1 h 1 min
ready      no; failures: Cannot do setRealServer: EPERM, and 1 more; guard: would delete 40 of 50 virtual servers
last sync  50 ms ago: scoped, 50 ms: 0 added, 0 changed, 1 deleted, not complete (API server)
complete   1 h ago
queue      oldest change came 100 ms ago
audit      20 s ago: 0 missing, 1 altered, 0 stale, 1 foreign, not repaired
API        Service        watching for 1 h 1 min
           EndpointSlice  retrying for 2 s: ECONNREFUSED
serving    1 virtual servers, 1 real servers, 2 draining
sockets    auto, at /sys/fs/cgroup: 3 frontends served, 1 left to IPVS
ours       1 virtualServers, 1 addresses
foreign    1
           TCP 192.0.2.1:80
rejected   7
           Service web/s0: no
           Service web/s1: no
           Service web/s2: no
           Service web/s3: no
           Service web/s4: no
           … and 2 more
guard      HELD for 10 s, lets go in 4 min 50 s: would delete 40 of 50 virtual servers
failing    2, tried again in 2 s
           Cannot do setRealServer: EPERM
           Cannot do addLink: EPERM
listening  Cannot listen: metrics at 127.0.0.1:10249: EADDRINUSE
`);
  });

  test('of a daemon that has just begun', () => {
    expect(renderStatus(daemonStatus({ seconds: 1 }, { view: () => EMPTY_VIEW }).document())).toBe(`\
node       n0
version    1.2.3, up for 1 s
ready      no; synced: no sync has been complete yet
last sync  none yet
complete   never yet
queue      empty
audit      none yet
API        not asked: files are followed
serving    0 virtual servers, 0 real servers, 0 draining
sockets    not known yet
ours       nothing
foreign    none
rejected   none
guard      holds nothing back
failing    nothing
listening  everywhere it should
`);
  });
});

describe('the row of sockets', () => {
  test.each([
    { outcome: 'unasked', mode: 'off', row: 'off, left to IPVS: why' },
    { outcome: 'lacking', mode: 'auto', row: 'auto, left to IPVS: why' },
    { outcome: 'refused', mode: 'on', row: 'on, FAILED: why' },
  ] as const)('says that they are $outcome', ({ outcome, mode, row }) => {
    const sockets = { ...BALANCED, outcome, mode, cgroup: null, reason: 'why', events: null };
    const status = daemonStatus({ seconds: 1 }, { view: () => ({ ...EMPTY_VIEW, sockets }) });
    expect(renderStatus(status.document())).toContain(`\nsockets    ${row}\n`);
  });

  test('says that they fail at a cgroup that was found', () => {
    const sockets = { ...BALANCED, outcome: 'refused', reason: 'why', served: 0, left: 4 } as const;
    const status = daemonStatus({ seconds: 1 }, { view: () => ({ ...EMPTY_VIEW, sockets }) });
    expect(renderStatus(status.document())).toContain('\nsockets    auto, FAILED: why\n');
  });
});

describe('durationText()', () => {
  test.each([
    { ms: 0, text: '0 ms' },
    { ms: 999, text: '999 ms' },
    { ms: 1500, text: '1 s' },
    { ms: 61_000, text: '1 min 1 s' },
    { ms: 3_601_000, text: '1 h' },
    { ms: 90_000_000, text: '1 d 1 h' },
    { ms: -5, text: '0 ms' },
  ])('$text', ({ ms, text }) => {
    expect(durationText(ms)).toBe(text);
  });
});
