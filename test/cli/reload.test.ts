import { describe, expect, it } from 'vitest';
import { reloadPlan } from '../../src/cli/reload.ts';
import { parseConfig } from '../../src/config.ts';

const config = (input: object) => parseConfig(input, 'test');

describe('reloadPlan()', () => {
  it('of the same configuration is empty', () => {
    const input = { serviceCIDRs: ['10.96.0.0/16'], guard: { minDeletes: 3 } };
    expect(reloadPlan(config(input), config(input))).toEqual({
      immediate: [],
      restart: [],
      config: config(input),
    });
  });

  it('tells keys that count at once from those that need a restart, with the reason', () => {
    const before = config({ interface: 'a', log: { level: 'info' } });
    const after = config({
      interface: 'b',
      stateDirectory: '/b',
      scheduler: 'lc',
      serviceCIDRs: ['10.96.0.0/16'],
      guard: { minDeletes: 3 },
      log: { level: 'debug' },
    });
    const plan = reloadPlan(before, after);
    expect(plan.immediate).toEqual(['scheduler', 'serviceCIDRs', 'guard.minDeletes', 'log.level']);
    expect(plan.restart).toEqual([
      { key: 'interface', reason: 'addresses are bound to the old one, which would be left behind' },
      { key: 'stateDirectory', reason: 'the ledger in the old one says what is ours' },
    ]);
    expect(plan.config).toEqual({ ...after, interface: 'a', stateDirectory: '/var/lib/svcplane' });
  });

  it('takes some keys of a group at once, and keeps others as they were', () => {
    const before = config({ socketLoadBalancer: { mode: 'off', cgroup: '/a' } });
    const plan = reloadPlan(before, config({ socketLoadBalancer: { mode: 'on', cgroup: '/b' } }));
    expect(plan.immediate).toEqual(['socketLoadBalancer.mode']);
    expect(plan.restart).toMatchObject([{ key: 'socketLoadBalancer.cgroup' }]);
    expect(plan.config.socketLoadBalancer).toEqual({ mode: 'on', cgroup: '/a' });
  });

  it('until the restart, the same keys go on to need it', () => {
    const [before, after] = [config({}), config({ nodeName: 'n1', scheduler: 'lc' })];
    const again = reloadPlan(reloadPlan(before, after).config, after);
    expect(again).toMatchObject({ immediate: [], restart: [{ key: 'nodeName' }] });
  });
});
