import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { DaemonLog } from '../../src/status/log.ts';
import { ADD, at, DELETE, operation, SET, syncRecord } from './status-build.ts';

let lines: Record<string, unknown>[];
let log: DaemonLog;
beforeEach(() => {
  lines = [];
  log = logAt('info');
});

function logAt(level: 'debug' | 'info'): DaemonLog {
  return new DaemonLog(level, { write: (line) => void lines.push(JSON.parse(line)) });
}

/** What was said since the last time. */
function said(): readonly string[] {
  return lines.splice(0).map(({ level, msg }) => `${level} ${msg}`);
}

describe('DaemonLog.synced()', () => {
  test('says one line of a sync that has changed something, and none of others', () => {
    log.synced(syncRecord([ADD, ADD, SET, DELETE]));
    log.synced(syncRecord([]));
    expect(lines).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        kind: 'scoped',
        durationMs: 250,
        operations: { addRealServer: 2, setRealServer: 1, deleteAddress: 1 },
        msg: 'synced: 2 added, 1 changed, 1 deleted (API server)',
      },
    ]);
  });

  test('says each operation at debug', () => {
    log = logAt('debug');
    log.synced(syncRecord([SET]));
    expect(lines[0]).toMatchObject({ level: 'debug', ...SET, msg: 'operation' });
    log.level = 'info';
    lines.length = 0;
    log.synced(syncRecord([SET]));
    expect(lines).toHaveLength(1);
  });

  test('says what failed once, while it fails', () => {
    log.synced(syncRecord([ADD], { refused: [SET] }));
    expect(said()).toEqual([
      'info synced: 1 added, 0 changed, 0 deleted, 1 failed (API server)',
      'error failed: Cannot do setRealServer: EPERM',
    ]);
    log.synced(syncRecord([], { refused: [SET, DELETE] }));
    expect(said()).toEqual(['error failed: Cannot do deleteAddress: EPERM']);
    log.synced(syncRecord([]));
    log.synced(syncRecord([], { refused: [SET] }));
    expect(said()).toEqual(['error failed: Cannot do setRealServer: EPERM']);
  });
});

describe('DaemonLog', () => {
  test('rejected() says those that are new, fifty at most', () => {
    const rejected = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ subject: `Service web/s${i}`, reason: 'no' }));
    log.rejected(rejected(2));
    log.rejected(rejected(3));
    expect(said()).toEqual([
      'warn rejected: Service web/s0: no',
      'warn rejected: Service web/s1: no',
      'warn rejected: Service web/s2: no',
    ]);
    log.rejected(rejected(60));
    expect(said()).toHaveLength(51);
    expect(lines).toEqual([]);
  });

  test('audited() names class, old and new value, once while it stays', () => {
    const audit = { atMs: at(30), ops: [SET, ADD], isRepaired: false, foreign: [] };
    log.audited(audit);
    expect(lines[1]).toMatchObject({
      op: 'setRealServer',
      detail: 'weight 5 → 1',
      reason: 'Service web/front',
    });
    expect(said()).toEqual([
      'warn drift: 1 missing, 1 altered, 0 stale, left as it is (audit.repair is false)',
      'warn drift: altered TCP 10.96.0.50:80 -> 10.244.1.20:8080: weight 5 → 1',
      'warn drift: missing TCP 10.96.0.50:80 -> 10.244.1.20:8080: weight 1',
    ]);
    log.audited(audit);
    log.audited({ ...audit, ops: [] });
    expect(said()).toEqual([]);
    log.audited({ ...audit, ops: [operation('deleteLink', 'link svcplane0')], isRepaired: true });
    expect(said()).toEqual([
      'warn drift: 0 missing, 0 altered, 1 stale, repaired',
      'warn drift: stale link svcplane0',
    ]);
  });

  test('foreign() counts rows of others that were not there before, and names the first', () => {
    const rows = (...numbers: readonly number[]) => numbers.map((i) => `TCP 192.0.2.${i}:80`);
    log.foreign([]);
    for (const _ of [1, 2]) log.foreign(rows(1, 2));
    expect(said()).toEqual([
      'info foreign: 2 made by somebody else, left as found: TCP 192.0.2.1:80, TCP 192.0.2.2:80',
    ]);
    for (const _ of [1, 2]) log.foreign(rows(1, 2, 3, 4, 5, 6, 7, 8));
    const named = rows(3, 4, 5, 6, 7).join(', ');
    expect(said()).toEqual([`info foreign: 6 more made by somebody else, left as found: ${named}, …`]);
    for (const seen of [rows(1), [], rows(1)]) log.foreign(seen);
    expect(said()).toEqual(['info foreign: 1 made by somebody else, left as found: TCP 192.0.2.1:80']);
  });

  test('guarded() says when the guard holds, and when it no longer does', () => {
    const guard = { reason: 'guard: held: 40 of 50', sinceMs: at(1), untilMs: null };
    for (const each of [null, guard, guard, null, null]) log.guarded(each);
    expect(said()).toEqual(['error guard: held: 40 of 50', 'info guard: holds nothing back any more']);
  });

  test('watching() says each trouble of a watch once, until it goes on, though two servers are asked in turn', () => {
    for (const reason of ['a: ECONNREFUSED', 'b: ECONNREFUSED', 'a: ECONNREFUSED', 'b: ECONNREFUSED']) {
      log.watching('Service', reason);
    }
    log.watching('Node', 'a: ECONNREFUSED');
    expect(said()).toEqual([
      'warn api: Service: a: ECONNREFUSED',
      'warn api: Service: b: ECONNREFUSED',
      'warn api: Node: a: ECONNREFUSED',
    ]);
    log.watching('Service', '');
    log.watching('Service', '');
    log.watching('Service', 'a: ECONNREFUSED');
    expect(said()).toEqual(['info api: Service: watched again', 'warn api: Service: a: ECONNREFUSED']);
  });

  test('told() says of a topic what it did not say the last time, and report() tells failures apart', () => {
    log.told('reading', ['skipped: 1 Pod\n']);
    log.told('reading', ['skipped: 1 Pod\n', 'note: b\n']);
    log.report('failed: Cannot listen');
    log.report('listening: metrics');
    expect(said()).toEqual([
      'warn skipped: 1 Pod',
      'warn note: b',
      'error failed: Cannot listen',
      'info listening: metrics',
    ]);
  });

  test('goes on when nobody reads standard output any more', async () => {
    const file = join(import.meta.dirname, '../../src/status/log.ts');
    const script = `
      import { DaemonLog } from ${JSON.stringify(file)};
      const log = new DaemonLog('info');
      process.stdin.once('data', () => {
        for (let i = 0; i < 3; i++) log.info('nobody hears this');
        setImmediate(() => process.stderr.write('alive', () => process.exit(7)));
      });
      log.info('first');`;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', script]);
    const [first] = await once(child.stdout, 'data');
    expect(JSON.parse(String(first))).toMatchObject({ level: 'info', msg: 'first' });
    child.stdout.destroy();
    await once(child.stdout, 'close');
    child.stdin.write('go');
    const [heard] = await once(child.stderr, 'data');
    expect(String(heard)).toBe('alive');
    expect((await once(child, 'close'))[0]).toBe(7);
  });
});
