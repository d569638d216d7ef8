import { beforeEach, describe, expect, it } from 'vitest';
import { assembleDataplanes, type Dataplanes, socketStanding } from '../src/assembly.ts';
import { parseConfig } from '../src/config.ts';
import { desiredOf } from './derive.ts';
import { FakeIpvsKernel } from './fakes/ipvs-kernel.ts';
import { MemoryLedger } from './fakes/ledger.ts';
import { FakeLinkKernel } from './fakes/link-kernel.ts';
import { FakeNftablesKernel } from './fakes/nftables-kernel.ts';
import { refusal } from './fakes/socket-programs.ts';
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
  dataplanes = assemble();
});

function assemble(socketLoadBalancer: object = {}): Dataplanes {
  return assembleDataplanes(parseConfig({ socketLoadBalancer }, 'test'), {
    kernel: new FakeIpvsKernel(),
    nftables: new FakeNftablesKernel(),
    links: new FakeLinkKernel(),
    ledger: new MemoryLedger(),
    sockets,
    nowMs: () => clocks.nowMs,
    monotonicMs: () => clocks.monotonicMs,
  });
}

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

describe('socketStanding()', () => {
  const TWO = desiredOf([
    service(),
    service({ name: 'back', spec: { clusterIP: '10.96.0.51' } }),
    slice({ endpoints: A ? [A] : [] }),
    slice({ name: 'back-1', service: 'back', endpoints: A && B ? [A, B] : [] }),
    node(),
  ]);
  const standing = () => socketStanding(dataplanes, TWO);

  it('counts what was acknowledged, and reads nothing for it', async () => {
    expect(standing()).toEqual({ failure: null, served: 0, left: 2 });
    await syncSockets(TWO);
    sockets.reads = 0;
    sockets.unreadable = refusal('EACCES');
    expect(standing()).toEqual({ failure: null, served: 2, left: 0 });
    expect(socketStanding(dataplanes, undefined)).toEqual({ failure: null, served: 0, left: 0 });
    expect(sockets.reads).toBe(0);
  });

  it('counts nothing where the programs are refused, and says why', async () => {
    sockets.attach = async () => ({ outcome: 'refused', code: 'EPERM' });
    await syncSockets(TWO);
    const failure = expect.stringMatching(/^Cannot add socket programs: EPERM: /);
    expect(standing()).toEqual({ failure, served: 0, left: 2 });
  });

  it('knows programs that somebody has detached, once it has looked', async () => {
    await syncSockets(TWO);
    sockets.state = 'partly';
    await dataplanes.socklb?.observe(NEVER);
    expect(standing()).toEqual({ failure: 'some of the programs are not attached', served: 0, left: 2 });
    await syncSockets(TWO);
    expect(standing()).toEqual({ failure: null, served: 2, left: 0 });
  });

  it('does not count a frontend that is refused', async () => {
    sockets = new FakeSocklbKernel({ lb_slot: 2 });
    dataplanes = assemble();
    await syncSockets(TWO);
    expect(standing()).toEqual({ failure: null, served: 1, left: 1 });
  });

  it('says where the maps can not be opened', async () => {
    await syncSockets(TWO);
    sockets.unreadable = refusal('EACCES');
    await syncSockets(TWO);
    expect(standing()).toEqual({ failure: expect.stringContaining('EACCES'), served: 0, left: 2 });
    sockets.unreadable = undefined;
    await syncSockets(TWO);
    expect(standing()).toEqual({ failure: null, served: 2, left: 0 });
  });

  it("takes host only for set, whichever network namespace is the node's", async () => {
    Object.assign(sockets, { hostNamespace: 17 });
    dataplanes = assemble({ mode: 'hostOnly' });
    await syncSockets(TWO);
    expect(standing()).toEqual({ failure: null, served: 2, left: 0 });
  });

  it('says where the mode can not be set', async () => {
    await syncSockets(TWO);
    dataplanes = assemble({ mode: 'off' });
    sockets.faults = () => 'ENOMEM';
    await syncSockets(TWO);
    expect(standing().failure).toMatch(/^Cannot set socket balancer: ENOMEM/);
    sockets.faults = undefined;
    await syncSockets(TWO);
    expect(standing()).toEqual({ failure: null, served: 0, left: 2 });
  });

  it('is nothing where there are none', () => {
    expect(socketStanding({ socklb: undefined }, TWO)).toEqual({ failure: null, served: 0, left: 2 });
  });
});
