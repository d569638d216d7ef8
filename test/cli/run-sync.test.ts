import { describe, expect, it } from 'vitest';
import type { CliContext, NodeAccess } from '../../src/cli/context.ts';
import { NodeSync } from '../../src/cli/run-sync.ts';
import { decodeObjects } from '../../src/cluster/decode.ts';
import { parseConfig } from '../../src/config.ts';
import type { HealthChecks } from '../../src/status/http.ts';
import type { SyncOutcome } from '../../src/sync/loop.ts';
import type { Stage, StageOps } from '../../src/sync/stage.ts';
import type { Reason } from '../../src/sync/trigger.ts';
import { service } from '../objects.ts';

const OP = { op: 'addLink', subject: 'link svcplane0', detail: '', reason: 'test' };

/** A kernel that needs one operation for ever, and refuses it while `refuses`. */
class Bench {
  refuses = true;
  /** What a cheap look finds. */
  isAsWanted = false;
  isPartAsWanted = true;
  closeLooks = 0;
  /** How often everything was looked at, and how often cheaply, stage by stage. */
  looks = 0;
  cheapLooks = 0;
  readonly said: string[] = [];
  readonly healthy: boolean[] = [];
  /** What is there of somebody else, and what the observer was told of it. */
  foreign: readonly string[] = [];
  readonly seen: (readonly string[])[] = [];
  readonly sync: NodeSync;

  constructor(config: object, stages = 1) {
    const context: Pick<CliContext, 'env' | 'hostname' | 'err' | 'nowMs'> = {
      nowMs: Date.now,
      env: {},
      hostname: 'n0',
      err: (text) => void this.said.push(text),
    };
    const node: Pick<NodeAccess, 'stages' | 'scopedStages' | 'hostAddresses' | 'drainCheckMs'> = {
      stages: Array.from({ length: stages }, () => this.#stage()),
      scopedStages: [],
      hostAddresses: async () => [],
      drainCheckMs: () => null,
    };
    const healthChecks = {
      update: ({ isHealthy }: HealthChecks) => void this.healthy.push(isHealthy),
      failures: () => [],
      [Symbol.asyncDispose]: async () => undefined,
    };
    const facts = decodeObjects([service()], 'n0');
    this.sync = new NodeSync(parseConfig(config, 'test'), {
      context: context as CliContext,
      node: node as NodeAccess,
      source: { facts, takeChanges: () => ({ services: new Set<string>(), isWhole: false, triggers: [] }) },
      healthChecks,
      observer: {
        begun: () => undefined,
        synced: ({ rounds, isComplete }) => {
          const done = rounds.flatMap(({ acknowledged }) => acknowledged).length;
          this.said.push(`${done} done, ${isComplete ? 'complete' : 'incomplete'}`);
        },
        audited: ({ ops }) => void this.said.push(`${ops.length} found`),
        foreign: (rows) => void this.seen.push(rows),
        rejected: () => undefined,
        guarded: () => undefined,
      },
    });
  }

  async run(...reasons: readonly Reason[]): Promise<boolean> {
    return (await this.outcome(...reasons)).isComplete;
  }

  outcome(...reasons: readonly Reason[]): Promise<SyncOutcome> {
    const { signal } = new AbortController();
    return this.sync.sync(new Set(reasons), signal, signal);
  }

  #stage(): Stage {
    const none: StageOps = {
      ops: [],
      isGate: false,
      apply: async () => ({ acknowledged: [], refused: [], notAttempted: [] }),
    };
    const one: StageOps = {
      ...none,
      ops: [OP],
      apply: async () =>
        this.refuses
          ? { acknowledged: [], refused: [{ op: OP, code: 'EPERM', message: 'no' }], notAttempted: [] }
          : { acknowledged: [OP], refused: [], notAttempted: [] },
    };
    const plan = { name: 'addresses', make: one, break: none, conflicts: [], refused: [] } as const;
    const state = {
      name: 'addresses',
      canonical: () => '',
      foreign: () => this.foreign,
      drainingAddresses: () => new Set<never>(),
      unwanted: () => undefined,
      served: () => undefined,
      plan: () => plan,
      teardown: () => plan,
      after: () => {
        throw new Error('not asked for');
      },
    } as const;
    return {
      name: 'addresses',
      observe: async () => {
        this.looks += 1;
        return state;
      },
      isAsWanted: async () => {
        this.cheapLooks += 1;
        return this.isAsWanted;
      },
      isPartAsWanted: async () => {
        this.closeLooks += 1;
        return this.isPartAsWanted;
      },
      parse: () => none,
    };
  }
}

describe('NodeSync.sync()', () => {
  it('answers for health by what the last sync has left undone', async () => {
    const bench = new Bench({});
    expect(await bench.run('start')).toBe(false);
    bench.refuses = false;
    expect(await bench.run('retry')).toBe(true);
    expect(bench.healthy).toEqual([false, true]);
    expect(bench.said).toEqual(['0 done, incomplete', '1 done, complete']);
  });

  it('does not take an audit that repairs nothing for a success', async () => {
    const bench = new Bench({ audit: { repair: false } });
    expect(await bench.run('start')).toBe(false);
    expect(await bench.run('audit')).toBe(false);
    expect(bench.healthy).toEqual([false, false]);
    bench.refuses = false;
    expect(await bench.run('audit', 'retry')).toBe(true);
    expect(await bench.run('audit')).toBe(true);
    expect(bench.healthy).toEqual([false, false, true, true]);
  });

  it.each([
    true,
    false,
  ])('tells of rows of others at each look at everything, repairing: %s', async (repair) => {
    const bench = new Bench({ audit: { repair } });
    bench.refuses = false;
    await bench.run('start');
    bench.foreign = ['TCP 192.0.2.80:80'];
    await bench.run('audit');
    expect(bench.seen).toEqual([[], ['TCP 192.0.2.80:80']]);
  });

  it('looks cheaply in an audit, and at everything where that finds something, closely at a part, and every hundredth time', async () => {
    const bench = new Bench({});
    bench.refuses = false;
    await bench.run('start');
    bench.said.length = 0;
    bench.isAsWanted = true;
    const audit = async () => {
      while ((await bench.outcome('audit')).auditStepMs !== null);
    };
    for (let i = 0; i < 99; i++) await audit();
    expect(bench.said).toEqual(Array.from({ length: 99 }, () => '0 found'));
    expect(bench).toMatchObject({ looks: 1, cheapLooks: 99, closeLooks: 99 });
    await audit();
    expect(bench.looks).toBe(2);
    await audit();
    expect(bench.looks).toBe(2);
    bench.isAsWanted = false;
    bench.said.length = 0;
    await audit();
    expect(bench.looks).toBe(3);
    expect(bench.said).toEqual(['1 found', '1 done, complete']);
    bench.isAsWanted = true;
    bench.isPartAsWanted = false;
    await audit();
    expect(bench.looks).toBe(4);
    expect(bench.said.slice(2)).toEqual(['1 found', '1 done, complete']);
    expect(new Set(bench.healthy)).toEqual(new Set([true]));
  });

  it('looks at one dataplane at a time in an audit, so that what changes meanwhile need not wait', async () => {
    const bench = new Bench({}, 2);
    bench.refuses = false;
    await bench.run('start');
    bench.said.length = 0;
    bench.isAsWanted = true;
    expect((await bench.outcome('audit')).auditStepMs).toBe(100);
    expect((await bench.outcome('cluster changed')).auditStepMs).toBeNull();
    expect(bench).toMatchObject({ cheapLooks: 1, said: ['0 done, complete'] });
    expect((await bench.outcome('audit')).auditStepMs).toBe(100);
    expect(bench).toMatchObject({ cheapLooks: 2, closeLooks: 0, said: ['0 done, complete'] });
    expect((await bench.outcome('audit')).auditStepMs).toBe(100);
    expect(bench).toMatchObject({ cheapLooks: 2, closeLooks: 1, said: ['0 done, complete'] });
    expect((await bench.outcome('audit')).auditStepMs).toBeNull();
    expect(bench).toMatchObject({ cheapLooks: 2, looks: 2, said: ['0 done, complete', '0 found'] });
    await bench.run('audit');
    bench.isAsWanted = false;
    expect((await bench.outcome('audit')).auditStepMs).toBeNull();
    expect(bench).toMatchObject({ cheapLooks: 4, looks: 4 });
    // The next one begins anew.
    bench.isAsWanted = true;
    expect((await bench.outcome('audit')).auditStepMs).toBe(100);
  });

  it('makes what has changed alone when an audit is due, and then looks cheaply', async () => {
    const bench = new Bench({});
    bench.refuses = false;
    await bench.run('start');
    bench.said.length = 0;
    bench.isAsWanted = true;
    await bench.run('audit', 'cluster changed');
    expect(bench.said).toEqual(['0 done, complete']);
    await bench.run('audit');
    expect(bench.said).toEqual(['0 done, complete', '0 found']);
    expect(bench.looks).toBe(1);
    bench.isAsWanted = false;
    await bench.run('audit', 'cluster changed');
    expect(bench.said.slice(2)).toEqual(['0 done, complete', '1 found', '1 done, complete']);
    await bench.run('audit', 'retry');
    expect(bench.looks).toBe(3);
  });

  it('looks at everything in an audit while something is undone', async () => {
    const bench = new Bench({});
    bench.isAsWanted = true;
    await bench.run('start');
    const started = bench.looks;
    await bench.run('audit');
    expect(bench.looks).toBe(2 * started);
  });

  it('tells what it repairs after a notice that its link was changed as drift, as an audit does', async () => {
    const bench = new Bench({});
    bench.refuses = false;
    await bench.run('start');
    bench.said.length = 0;
    await bench.run('link notice');
    expect(bench.said).toEqual(['1 found', '1 done, complete']);
    await bench.run('audit', 'link notice');
    expect(bench.said.slice(2)).toEqual(['1 found', '1 done, complete']);
    await bench.run('link notice', 'cluster changed');
    expect(bench.said.slice(4)).toEqual(['1 done, complete']);
  });
});
