import { type Executors, execute } from '../dataplane.ts';
import type { VrrpOp, VrrpOps } from './ops.ts';
import type { InstanceName, InstanceRow, VrrpRows } from './rows.ts';

/** The rows after `ops` are done, in order. */
export function reduce(rows: VrrpRows, ops: readonly VrrpOp[]): VrrpRows {
  const draft = { ...rows, instances: new Map(rows.instances) };
  const effects = effectsOn(draft);
  for (const op of ops) execute<VrrpOps, keyof VrrpOps, void>(effects, op);
  return draft;
}

function effectsOn(draft: {
  main: string | null;
  isRunning: boolean;
  readonly instances: Map<InstanceName, InstanceRow>;
}): Executors<VrrpOps, void> {
  const { instances } = draft;
  const change = (name: InstanceName, part: Partial<InstanceRow>) => {
    const before = instances.get(name);
    if (before) instances.set(name, { ...before, ...part });
  };
  return {
    setMain: ({ config }) => {
      draft.main = config;
    },
    addInstance: ({ instance: name, config, isAble, reason }) => {
      instances.set(name, { name, config, isAble, reason });
    },
    setInstance: ({ instance, config }) => change(instance, { config }),
    setAbility: ({ instance, isAble }) => change(instance, { isAble }),
    deleteInstance: ({ instance }) => void instances.delete(instance),
    deleteMain: () => {
      draft.main = null;
    },
    addProcess: () => {
      draft.isRunning = true;
    },
    deleteProcess: () => {
      draft.isRunning = false;
    },
  };
}
