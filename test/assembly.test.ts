import { beforeEach, describe, expect, it } from 'vitest';
import { assembleDataplanes, type Dataplanes } from '../src/assembly.ts';
import { parseConfig } from '../src/config.ts';
import { desiredOf } from './derive.ts';
import { FakeIpvsKernel } from './fakes/ipvs-kernel.ts';
import { MemoryLedger } from './fakes/ledger.ts';
import { FakeLinkKernel } from './fakes/link-kernel.ts';
import { FakeNftablesKernel } from './fakes/nftables-kernel.ts';
import { FakeSocklbKernel } from './fakes/socklb-kernel.ts';
import { node, service, slice } from './objects.ts';

const NEVER = new AbortController().signal;
const [A, B] = ['10.244.1.20', '10.244.2.30'].map((address) => ({ address, node: 'n0' }));

let sockets: FakeSocklbKernel;
let clocks: { nowMs: number; monotonicMs: number };
let dataplanes: Dataplanes;

beforeEach(() => {
  sockets = new FakeSocklbKernel();
  clocks = { nowMs: Date.UTC(2026, 0, 1), monotonicMs: 1000 };
  dataplanes = assembleDataplanes(parseConfig({}, 'test'), {
    kernel: new FakeIpvsKernel(),
    nftables: new FakeNftablesKernel(),
    links: new FakeLinkKernel(),
    ledger: new MemoryLedger(),
    sockets,
    nowMs: () => clocks.nowMs,
    monotonicMs: () => clocks.monotonicMs,
  });
});

const desired = (...endpoints: (typeof A)[]) =>
  desiredOf([service(), slice({ endpoints: endpoints.flatMap((each) => each ?? []) }), node()]);

async function syncSockets(wanted: ReturnType<typeof desired>): Promise<readonly string[]> {
  const { socklb } = dataplanes;
  if (!socklb) throw new Error('no sockets');
  const { make, break: unmake } = socklb.plan(await socklb.observe(NEVER), socklb.project(wanted).rows);
  for (const ops of [make, unmake]) await socklb.apply(ops, NEVER);
  return [...make, ...unmake].map(({ op }) => op);
}

describe('assembleDataplanes()', () => {
  it.each([
    -3_600_000, 3_600_000,
  ])('has what is left of sockets go by a clock that nobody sets: by %i ms', async (setMs) => {
    await syncSockets(desired(A, B));
    await syncSockets(desired(B));
    clocks.nowMs += setMs;
    clocks.monotonicMs += 10;
    expect(await syncSockets(desired(B))).toEqual([]);
    clocks.monotonicMs += 40;
    expect(await syncSockets(desired(B))).toEqual(['deleteSocketSlots', 'deleteSocketBackend']);
  });
});
