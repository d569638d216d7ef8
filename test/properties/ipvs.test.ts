import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KernelRequest } from '../../src/dataplane/ipvs/kernel.ts';
import type { IpvsOp } from '../../src/dataplane/ipvs/ops.ts';
import { planIpvs, withAvailableScheduler } from '../../src/dataplane/ipvs/plan.ts';
import { projectIpvs } from '../../src/dataplane/ipvs/project.ts';
import { reduceIpvs } from '../../src/dataplane/ipvs/reduce.ts';
import {
  EMPTY_ROWS,
  equalRows,
  type IpvsRows,
  NO_CONNECTIONS,
  type VirtualServerRow,
} from '../../src/dataplane/ipvs/rows.ts';
import { canonicalText } from '../../src/dataplane/ipvs/text.ts';
import { holdUnwantedServers, unwantedServers } from '../../src/dataplane/ipvs/unwanted.ts';
import { EMPTY_LEDGER } from '../../src/dataplane/ledger.ts';
import type { DesiredState } from '../../src/model/desired-state.ts';
import { realServerKey } from '../../src/model/virtual-server.ts';
import { lawCases } from '../dataplane/ipvs/arbitraries.ts';
import { ALL_OPTIONS, OPTIONS, real, row } from '../dataplane/ipvs/build.ts';
import { executeOf, worldOf } from '../dataplane/ipvs/world.ts';
import { LOOK } from '../dataplane/look.ts';
import { desiredStates } from '../dataplane/nftables/arbitraries.ts';
import { faulty } from '../fakes/faulty.ts';
import type { Flow } from '../fakes/flow-kernel.ts';
import type { FakeIpvsKernel } from '../fakes/ipvs-kernel.ts';
import {
  expectConvergent,
  expectDeterministic,
  expectIdempotent,
  expectRestartable,
  type LawCase,
  type LawSubject,
} from './laws.ts';

const subject: LawSubject<IpvsRows, IpvsOp> = {
  dataplane: {
    plan: (observed, wanted) => planIpvs(observed, wanted, OPTIONS),
    reduce: reduceIpvs,
  },
  cases: lawCases,
  withoutConnections: (rows) => mapServers(rows, withoutConnections),
  reversed: (rows) => ({
    ...mapServers(rows, (row) => ({ ...row, realServers: new Map([...row.realServers].reverse()) })),
    virtualServers: new Map([...rows.virtualServers].reverse()),
    sysctls: rows.sysctls && new Map([...rows.sysctls].reverse()),
    staleFlows: new Set([...rows.staleFlows].reverse()),
  }),
  expectConverged,
};

describe('laws of ipvs', () => {
  it('plan() is idempotent', () => expectIdempotent(subject));
  it('plan() is convergent', () => expectConvergent(subject));
  it('plan() is restartable', () => expectRestartable(subject));
  it('plan() is deterministic', () => expectDeterministic(subject));
});

describe('laws of ipvs that holds what is unwanted', () => {
  const held: LawSubject<IpvsRows, IpvsOp> = {
    ...subject,
    dataplane: {
      plan: (observed, wanted) =>
        planIpvs(
          observed,
          holdUnwantedServers(observed, wanted, unwantedServers(observed, wanted, null)),
          OPTIONS,
        ),
      reduce: reduceIpvs,
    },
    expectConverged: (before, after, wanted) => {
      const isUnwanted = ({ key, owner }: VirtualServerRow) =>
        owner === 'svcplane' && !wanted.virtualServers.has(key);
      expectConverged(
        before,
        mapServers(
          after,
          (row) => row,
          (row) => !isUnwanted(row),
        ),
        wanted,
      );
      for (const row of before.virtualServers.values()) {
        if (!isUnwanted(row)) continue;
        const have = after.virtualServers.get(row.key);
        expect(have && withoutConnections(have)).toEqual(withoutConnections(row));
      }
    },
  };

  it('plan() is idempotent', () => expectIdempotent(held));
  it('plan() is convergent', () => expectConvergent(held));
  it('plan() is restartable', () => expectRestartable(held));
  it('plan() is deterministic', () => expectDeterministic(held));
});

describe('ipvs on a kernel with state', () => {
  it('reaches the wanted rows through refusals and lost answers, foreign rows untouched', async () => {
    await fc.assert(
      fc.asyncProperty(lawCases, fc.integer(), async ({ observed, wanted }, seed) => {
        const world = worldOf(observed);
        const before = await world.observe();
        const refused = { outcome: 'refused', code: 'ENOMEM' } as const;
        const flaky = faulty(executeOf(world.kernel), { seed, refused, lost: { outcome: 'unknown' } });
        for (let round = 0; round < 6; round++) await world.sync(wanted, flaky);
        world.kernel.disconnectAll();
        for (let round = 0; round < 3; round++) await world.sync(wanted);
        expect(await world.sync(wanted)).toEqual([]);
        const after = await world.observe();
        expectConverged(before, after, wanted);
        expectNoStaleFlows(world.flows.flows, after, wanted);
      }),
    );
  });

  it('finishes after a crash at any operation, and teardown leaves nothing of ours and all that is foreign', async () => {
    await fc.assert(
      fc.asyncProperty(lawCases, fc.nat(40), async ({ observed, wanted }, done) => {
        const world = worldOf(observed);
        const before = await world.observe();
        world.kernel.disconnectAll();
        await world.crash(wanted, done);
        for (let round = 0; round < 3; round++) await world.sync(wanted);
        expect(await world.sync(wanted)).toEqual([]);
        const after = await world.observe();
        expectConverged(before, after, wanted);
        expectNoStaleFlows(world.flows.flows, after, wanted);
        await world.teardown();
        expect(await world.teardown()).toEqual([]);
        expectNoStaleFlows(world.flows.flows, await world.observe(), wanted);
        expect(canonicalText({ ...(await world.observe()), sysctls: null })).toBe(
          canonicalText({ ...mapServers(after, (row) => row, isForeign), sysctls: null }),
        );
        expect(world.ledger.read()).toEqual(EMPTY_LEDGER);
      }),
    );
  });
});

function expectConverged(before: IpvsRows, after: IpvsRows, wanted: IpvsRows): void {
  for (const [key, given] of wanted.virtualServers) {
    const want = withAvailableScheduler(given, after.unavailableSchedulers, OPTIONS.defaultScheduler);
    const have = after.virtualServers.get(key);
    if (have?.owner === 'foreign') continue;
    expect(have && [key, configText(have), have.origin]).toEqual([key, configText(want), want.origin]);
  }
  for (const [key, { owner }] of after.virtualServers) {
    if (owner === 'svcplane') expect([...wanted.virtualServers.keys()]).toContain(key);
  }
  for (const [key, had] of before.virtualServers) {
    const adopted = after.virtualServers.get(key)?.owner === 'svcplane';
    const want = wanted.virtualServers.get(key);
    // Equal to what was wanted, or to what the kernel's schedulers leave of it.
    const adoptable = want && (equalRows(had, want) || equalRows(had, after.virtualServers.get(key) ?? want));
    if (had.owner === 'foreign' && !(adopted && adoptable)) {
      const have = after.virtualServers.get(key);
      expect(have && [have.owner, configText(have)]).toEqual(['foreign', configText(had)]);
    }
  }
  for (const [name, { value }] of wanted.sysctls ?? []) expect(after.sysctls?.get(name)?.value).toBe(value);
}

/** Every client is answered by an endpoint of its frontend, or of the frontend's inside clients. */
function expectNoStaleFlows(flows: readonly Flow[], after: IpvsRows, wanted: IpvsRows): void {
  expect(after.staleFlows).toEqual(new Set());
  for (const { frontend, endpoint } of flows) {
    // Where the mark is somebody else's, so are the real servers of inside clients.
    const serving = [...after.virtualServers.values()].filter(
      ({ key }) => key === frontend || wanted.virtualServers.get(key)?.origin?.frontend === frontend,
    );
    expect(serving.flatMap(({ realServers }) => [...realServers.keys()])).toContain(realServerKey(endpoint));
  }
}

function configText(row: VirtualServerRow): string {
  return canonicalText({
    ...EMPTY_ROWS,
    virtualServers: new Map([[row.key, { ...row, owner: 'svcplane' }]]),
  });
}

function isForeign(row: VirtualServerRow): boolean {
  return row.owner === 'foreign';
}

function mapServers(
  rows: IpvsRows,
  change: (row: VirtualServerRow) => VirtualServerRow,
  keep: (row: VirtualServerRow) => boolean = () => true,
): IpvsRows {
  const virtualServers = [...rows.virtualServers.values()].filter(keep).map(change);
  return { ...rows, virtualServers: new Map(virtualServers.map((row) => [row.key, row])) };
}

function withoutConnections(row: VirtualServerRow): VirtualServerRow {
  const realServers = Array.from(
    row.realServers,
    ([key, realServer]) => [key, { ...realServer, ...NO_CONNECTIONS }] as const,
  );
  return { ...row, realServers: new Map(realServers) };
}

const never = new AbortController().signal;

/** A kernel in which nothing is left to do, and no conflict; other cases are passed over. */
async function settled({ observed }: LawCase<IpvsRows>, desired: DesiredState) {
  const wanted = projectIpvs(desired, ALL_OPTIONS).rows;
  const sysctls = new Map([...(wanted.sysctls ?? [])].map(([name]) => [name, { value: '7', changed: null }]));
  const world = worldOf({ ...observed, sysctls, unavailableSchedulers: new Set() });
  await world.sync(wanted);
  world.kernel.disconnectAll();
  await world.sync(wanted);
  const dataplane = world.dataplane();
  const { conflicts, make, break: breaking } = dataplane.plan(await dataplane.observe(never), wanted);
  fc.pre(conflicts.length === 0 && make.length + breaking.length === 0);
  return { dataplane, kernel: world.kernel, servers: [...wanted.virtualServers.values()] };
}

describe('isAsWanted()', () => {
  it('is so once nothing is left to do, and no longer when somebody changes something', () =>
    fc.assert(
      fc.asyncProperty(lawCases, desiredStates, fc.nat(), async (each, desired, choice) => {
        const { dataplane, kernel, servers } = await settled(each, desired);
        expect(await dataplane.isAsWanted?.(desired, LOOK)).toBe(true);
        meddle(kernel, servers, choice);
        expect(await dataplane.isAsWanted?.(desired, LOOK)).toBe(false);
      }),
    ));
});

describe('isPartAsWanted()', () => {
  const OF = 3;

  it('sees a threshold that somebody has set, in the one part that has the virtual server', () =>
    fc.assert(
      fc.asyncProperty(lawCases, desiredStates, fc.nat(), async (each, desired, choice) => {
        const { dataplane, kernel, servers } = await settled(each, desired);
        const parts = async () => {
          const seen: (boolean | undefined)[] = [];
          for (let index = 0; index < OF; index++) {
            seen.push(await dataplane.isPartAsWanted?.(desired, { index, of: OF }, LOOK));
          }
          return seen;
        };
        expect(await parts()).toEqual([true, true, true]);
        const serving = servers.filter(({ realServers }) => realServers.size > 0);
        const server = serving[choice % serving.length];
        const [first] = server?.realServers.values() ?? [];
        fc.pre(server !== undefined && first !== undefined);
        const realServer = { ...first.config, upperThreshold: first.config.upperThreshold + 1 };
        const answer = kernel.request({ command: 'setDest', identity: server.identity, realServer });
        expect(answer).toEqual({ outcome: 'ok' });
        expect((await parts()).filter((is) => is === false)).toHaveLength(1);
      }),
    ));
});

/** What an administrator may do by hand, to one of `servers` or beside them. */
function meddle(kernel: FakeIpvsKernel, servers: readonly VirtualServerRow[], choice: number): void {
  const server = servers[choice % (servers.length + 1)];
  if (!server) {
    const { identity, config } = row('TCP 192.0.2.99:9');
    kernel.request({ command: 'newService', identity, config });
    return;
  }
  const { identity } = server;
  const [first] = server.realServers.values();
  const isIPv6 = identity.kind === 'address' ? identity.address.includes(':') : identity.family === 'IPv6';
  const requests: readonly KernelRequest[] = [
    { command: 'delService', identity },
    { command: 'newDest', identity, realServer: real(isIPv6 ? '[fd01::77]:7' : '10.77.0.1:7').config },
    ...(first
      ? ([
          { command: 'delDest', identity, realServer: first.config },
          { command: 'setDest', identity, realServer: { ...first.config, weight: first.config.weight + 1 } },
        ] as const)
      : []),
  ];
  const request = requests[choice % requests.length];
  if (request) expect(kernel.request(request)).toEqual({ outcome: 'ok' });
}
