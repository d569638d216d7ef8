import type { Plan } from '../dataplane.ts';
import { operation, type VrrpOp } from './ops.ts';
import { NO_ROWS, sortedInstances, type VrrpRows } from './rows.ts';

const ALL = 'it has the instances';
const UNWANTED = 'no Service has its addresses';

/** Instances that come or go, or whose text or ability changes; keepalived itself last to come and first to go. */
export function plan(observed: VrrpRows, wanted: VrrpRows): Plan<VrrpOp> {
  const make: VrrpOp[] = [];
  const breaking: VrrpOp[] = [];
  if (wanted.main !== null && observed.main !== wanted.main) {
    make.push(operation({ op: 'setMain', config: wanted.main }, ALL));
  }
  for (const want of sortedInstances(wanted.instances)) {
    const { name, config, isAble, reason } = want;
    const have = observed.instances.get(name);
    if (!have) {
      make.push(operation({ op: 'addInstance', instance: name, config, isAble }, reason));
      continue;
    }
    if (have.config !== config) {
      make.push(operation({ op: 'setInstance', instance: name, config, before: have.config }, reason));
    }
    // To let go is to break: what takes its place is made before.
    if (have.isAble !== isAble) {
      (isAble ? make : breaking).push(operation({ op: 'setAbility', instance: name, isAble }, reason));
    }
  }
  if (wanted.isRunning && !observed.isRunning) make.push(operation({ op: 'addProcess' }, ALL));
  if (!wanted.isRunning && observed.isRunning) breaking.push(operation({ op: 'deleteProcess' }, UNWANTED));
  for (const { name } of sortedInstances(observed.instances)) {
    if (!wanted.instances.has(name))
      breaking.push(operation({ op: 'deleteInstance', instance: name }, UNWANTED));
  }
  if (wanted.main === null && observed.main !== null) {
    breaking.push(operation({ op: 'deleteMain' }, UNWANTED));
  }
  return { make, break: breaking, conflicts: [] };
}

/** All that is ours: the directory and the keepalived that is started with it. */
export function teardown(observed: VrrpRows): Plan<VrrpOp> {
  return plan(observed, NO_ROWS);
}
