import { describe, expect, test } from 'vitest';
import { assembleDataplanes } from '../../src/assembly.ts';
import { parseConfig } from '../../src/config.ts';
import { dataplaneFinder } from '../../src/status/node-metrics.ts';
import { planSync } from '../../src/sync/sync-once.ts';
import { desiredOf } from '../derive.ts';
import { FakeIpvsKernel } from '../fakes/ipvs-kernel.ts';
import { MemoryLedger } from '../fakes/ledger.ts';
import { FakeLinkKernel } from '../fakes/link-kernel.ts';
import { FakeNftablesKernel } from '../fakes/nftables-kernel.ts';
import { service, slice } from '../objects.ts';
import { operation } from './status-build.ts';

describe('dataplaneFinder()', () => {
  test('knows the dataplane of every operation of a plan', async () => {
    const { stages } = assembleDataplanes(parseConfig({}, 'test'), {
      kernel: new FakeIpvsKernel(),
      links: new FakeLinkKernel(),
      nftables: new FakeNftablesKernel(),
      ledger: new MemoryLedger(),
      nowMs: () => 0,
      readSysctl: () => '0',
      writeSysctl: () => undefined,
    });
    const signal = new AbortController().signal;
    const states = await Promise.all(stages.map((stage) => stage.observe(signal)));
    const plan = planSync(states, desiredOf([service(), slice({ endpoints: [{ address: '10.244.1.20' }] })]));
    const find = dataplaneFinder(stages);
    const found = plan.make.map(({ ops }) => [...new Set(ops.map(find))]);
    expect(found).toEqual([['nftables'], ['ipvs'], ['addresses']]);
    // A second time from memory.
    expect(plan.make.flatMap(({ ops }) => ops).map(find)).toContain('addresses');
    expect(() => find(operation('flyToTheMoon'))).toThrow(
      'Cannot tell the dataplane of operation flyToTheMoon',
    );
  });
});
