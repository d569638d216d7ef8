import { describe, expect, it } from 'vitest';
import type { ApplyReport, Operation } from '../../src/dataplane/dataplane.ts';
import type { VirtualServerKey } from '../../src/model/virtual-server.ts';
import type { Stage, StageOps } from '../../src/sync/stage.ts';
import { applySync, type SyncGuard, syncOnce } from '../../src/sync/sync-once.ts';
import { desiredOf } from '../derive.ts';

const SIGNAL = new AbortController().signal;
const op = (name: string, subject: string): Operation => ({ op: name, subject, detail: '', reason: 'test' });

/** Operations that note when they run, and are refused or left undone if their name is listed. */
function stage(
  ran: string[],
  ops: readonly Operation[],
  fate: { refused?: string; notAttempted?: string } = {},
  isGate = false,
): StageOps {
  return {
    ops,
    isGate,
    apply: async (permits): Promise<ApplyReport<Operation>> => {
      const permitted = ops.filter(permits);
      ran.push(...permitted.map(({ op: name }) => name));
      return {
        acknowledged: permitted.filter(({ op: name }) => name !== fate.refused && name !== fate.notAttempted),
        refused: permitted
          .filter(({ op: name }) => name === fate.refused)
          .map((refused) => ({ op: refused, code: 'ENOMEM', message: 'no' })),
        notAttempted: permitted.filter(({ op: name }) => name === fate.notAttempted),
      };
    },
  };
}

describe('applySync()', () => {
  it('makes in order, then breaks in the order it is given', async () => {
    const ran: string[] = [];
    const make = [stage(ran, [op('add1', 'a')]), stage(ran, [op('add2', 'b')])];
    const broken = [stage(ran, [op('delete2', 'c')]), stage(ran, [op('delete1', 'd')])];
    const report = await applySync({ make, break: broken }, SIGNAL);
    expect(ran).toEqual(['add1', 'add2', 'delete2', 'delete1']);
    expect(report.acknowledged).toHaveLength(4);
  });

  it('takes nothing from a virtual server that did not get its new part, and goes on with the others', async () => {
    const ran: string[] = [];
    const make = [stage(ran, [op('addA', 'TCP v:1 -> new')], { refused: 'addA' })];
    const broken = [
      stage(ran, [
        op('deleteA', 'TCP v:1 -> old'),
        op('deleteB', 'TCP w:1 -> old'),
        op('deleteV', 'TCP v:1'),
      ]),
    ];
    const report = await applySync({ make, break: broken }, SIGNAL);
    expect(ran).toEqual(['addA', 'deleteB']);
    expect(report.refused.map((refusal) => refusal.op.op)).toEqual(['addA']);
    expect(report.notAttempted.map(({ op: name }) => name)).toEqual(['deleteA', 'deleteV']);
  });

  it('changes nothing behind a gate that was refused', async () => {
    const ran: string[] = [];
    const gate = stage(ran, [op('addRule', 'table')], { refused: 'addRule' }, true);
    const make = [gate, stage(ran, [op('addVirtualServer', 'TCP v:1')])];
    const broken = [stage(ran, [op('deleteVirtualServer', 'TCP w:1')])];
    const report = await applySync({ make, break: broken }, SIGNAL);
    expect(ran).toEqual(['addRule']);
    expect(report.refused.map((refusal) => refusal.op.op)).toEqual(['addRule']);
    expect(report.notAttempted.map(({ op: name }) => name)).toEqual([
      'addVirtualServer',
      'deleteVirtualServer',
    ]);
  });

  it('goes on behind a gate that has nothing to do', async () => {
    const ran: string[] = [];
    const make = [stage(ran, [], {}, true), stage(ran, [op('add', 'TCP v:1')])];
    await applySync({ make, break: [] }, SIGNAL);
    expect(ran).toEqual(['add']);
  });

  it('breaks nothing after something was left unattempted', async () => {
    const ran: string[] = [];
    const make = [stage(ran, [op('add', 'a')], { notAttempted: 'add' })];
    await applySync({ make, break: [stage(ran, [op('delete', 'b')])] }, SIGNAL);
    expect(ran).toEqual(['add']);
  });
});

describe('syncOnce()', () => {
  const notAskedFor = () => {
    throw new Error('not asked for');
  };

  /** A stage with a virtual server that is not wanted any more, which a plan deletes unless it is held. */
  function stageOfOne(ran: string[]): Stage {
    let ours = 1;
    return {
      name: 'ipvs',
      parse: () => stage(ran, []),
      isAsWanted: notAskedFor,
      isPartAsWanted: notAskedFor,
      observe: async () => ({
        name: 'ipvs',
        canonical: () => '',
        foreign: () => [],
        drainingAddresses: () => new Set(),
        unwanted: () => ({
          ours,
          keys: new Set(['TCP v:1' as VirtualServerKey].slice(0, ours)),
          frontends: [],
        }),
        served: () => undefined,
        plan: (_, { held }) => {
          const ops = held || ours === 0 ? [] : [op('deleteVirtualServer', 'TCP v:1')];
          ours -= ops.length;
          const none = stage(ran, []);
          return { name: 'ipvs', make: none, break: stage(ran, ops), conflicts: [], refused: [] };
        },
        teardown: notAskedFor,
        after: notAskedFor,
      }),
    };
  }

  it('asks the guard before it plans, and tells it what was deleted', async () => {
    const ran: string[] = [];
    const stages = [stageOfOne(ran)];
    const told: unknown[] = [];
    const guard = (verdict: 'pass' | 'hold'): SyncGuard => ({
      review: (counts) => {
        told.push(counts);
        return verdict;
      },
      deleted: (count) => told.push(count),
      permits: notAskedFor,
      emptied: notAskedFor,
    });
    await syncOnce(stages, desiredOf([]), SIGNAL, guard('hold'));
    expect({ ran, told }).toEqual({ ran: [], told: [{ ours: 1, unwanted: 1 }, 0] });
    await syncOnce(stages, desiredOf([]), SIGNAL, guard('pass'));
    expect(ran).toEqual(['deleteVirtualServer']);
    expect(told.slice(2)).toEqual([{ ours: 1, unwanted: 1 }, 1]);
  });
});
