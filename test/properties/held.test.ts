import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressesDataplane } from '../../src/dataplane/addresses/index.ts';
import type { Dataplane, Operation } from '../../src/dataplane/dataplane.ts';
import { createIpvsDataplane } from '../../src/dataplane/ipvs/index.ts';
import type { IpvsRows, VirtualServerRow } from '../../src/dataplane/ipvs/rows.ts';
import { EMPTY_LEDGER } from '../../src/dataplane/ledger.ts';
import { createNftablesDataplane } from '../../src/dataplane/nftables/index.ts';
import { frontendText } from '../../src/dataplane/nftables/project.ts';
import { cidrContains, parseCidr } from '../../src/model/cidr.ts';
import type { DesiredState } from '../../src/model/desired-state.ts';
import { type StageState, stageState } from '../../src/sync/stage.ts';
import { countDeletions, operationsOf, planSync } from '../../src/sync/sync-once.ts';
import { ALL_OPTIONS, NOW_MS } from '../dataplane/ipvs/build.ts';
import { desiredStates } from '../dataplane/nftables/arbitraries.ts';
import { OPTIONS } from '../dataplane/nftables/build.ts';
import { FakeIpvsKernel } from '../fakes/ipvs-kernel.ts';
import { MemoryLedger } from '../fakes/ledger.ts';
import { FakeLinkKernel } from '../fakes/link-kernel.ts';
import { FakeNftablesKernel } from '../fakes/nftables-kernel.ts';

const ipvs = createIpvsDataplane(
  { kernel: new FakeIpvsKernel(), ledger: new MemoryLedger(EMPTY_LEDGER), nowMs: () => NOW_MS },
  ALL_OPTIONS,
);
const nftables = createNftablesDataplane({ kernel: new FakeNftablesKernel() }, OPTIONS);

function addressesBy(clusterIPs: 'bind' | 'route') {
  const options = { interface: 'svcplane0', clusterIPs };
  return addressesDataplane(new FakeLinkKernel(), new MemoryLedger(EMPTY_LEDGER), options);
}

/** One dataplane's part of a node that is as planned, and changes as acknowledged. */
interface Part {
  state(): StageState;
  acknowledge(op: Operation): void;
}

function partOf<Rows, Op extends Operation>(dataplane: Dataplane<Rows, Op>, observed: Rows): Part {
  let rows = observed;
  return {
    state: () => stageState(dataplane, rows),
    acknowledge: (op) => {
      const own = dataplane.parseOp(JSON.parse(JSON.stringify(op)));
      if (own) rows = dataplane.reduce(rows, [own]);
    },
  };
}

/** A node on which all is as `desired` says, each of its real servers with so many connections. */
function nodeOf(desired: DesiredState, clusterIPs: 'bind' | 'route', connections: readonly number[]) {
  const addresses = addressesBy(clusterIPs);
  const bound = { ...addresses.project(desired).rows, foreignLocal: new Map() };
  const rules = { ...nftables.project(desired).rows, ruleset: null };
  const rows = withConnections(ipvs.project(desired).rows, connections);
  const parts = [partOf(nftables, rules), partOf(ipvs, rows), partOf(addresses, bound)];
  return {
    rows,
    states: () => parts.map((part) => part.state()),
    acknowledge: (ops: readonly Operation[]) => {
      for (const op of ops) for (const part of parts) part.acknowledge(op);
    },
  };
}

function withConnections(rows: IpvsRows, connections: readonly number[]): IpvsRows {
  let i = 0;
  const busy = ({ realServers, ...row }: VirtualServerRow): VirtualServerRow => ({
    ...row,
    realServers: new Map(
      [...realServers].map(([key, real]) => {
        i += 1;
        const activeConnections = connections[i % connections.length] ?? 0;
        return [key, { ...real, activeConnections, inactiveConnections: i % 2 }];
      }),
    ),
  });
  const sysctls = new Map(
    [...(rows.sysctls ?? [])].map(([name, { value }]) => [
      name,
      { value, changed: { before: '0', set: value } },
    ]),
  );
  const virtualServers = new Map([...rows.virtualServers].map(([key, row]) => [key, busy(row)]));
  return { ...rows, virtualServers, sysctls, observedAtMs: NOW_MS };
}

const HELD = { holdsUnwanted: true };

const cases = fc.record({
  before: desiredStates,
  after: desiredStates,
  clusterIPs: fc.constantFrom('bind' as const, 'route' as const),
  connections: fc.array(fc.constantFrom(0, 0, 2), { minLength: 1, maxLength: 5 }),
});

const subjectOf = ({ op, subject }: Operation): string => `${op} ${subject}`;

/** What an operation may be about, if it is kept from happening because `unwanted` are held. */
function concerns(unwanted: readonly VirtualServerRow[], { op, subject }: Operation): boolean {
  return unwanted.some((row) => {
    if (subject === row.key || subject.startsWith(`${row.key} -> `)) return true;
    const { identity, origin } = row;
    const frontends = identity.kind === 'address' ? [identity] : [];
    const endpoints = [...row.realServers.values()].map(({ config }) => config.address);
    return (
      // What is kept for inside clients keeps their flows.
      (op === 'deleteFlows' && subject === origin?.frontend) ||
      (subject.startsWith('sysctl net.ipv4.conf.all.arp_') && origin?.exposure !== 'ClusterIP') ||
      (origin?.frontend !== null && origin?.frontend !== undefined && subject.includes('inside-marks')) ||
      endpoints.some((address) => subject.startsWith('nft hairpin') && subject.includes(` ${address} `)) ||
      frontends.some(
        (frontend) =>
          subject.includes(frontendText(frontend)) ||
          subject.split(' ').some((word) => word.replace(/\/(32|128)$/, '') === frontend.address) ||
          subject.split(' ').some((word) => {
            const range = word.includes('/') ? parseCidr(word) : undefined;
            return range !== undefined && cidrContains(range, frontend.address);
          }) ||
          // The anchor of a route that stays.
          subject.startsWith('address '),
      )
    );
  });
}

describe('planSync() that holds what is unwanted', () => {
  it('takes nothing of an unwanted virtual server away, and is the whole plan otherwise', () => {
    fc.assert(
      fc.property(cases, ({ before, after, clusterIPs, connections }) => {
        const node = nodeOf(before, clusterIPs, connections);
        const wanted = ipvs.project(after).rows.virtualServers;
        const unwanted = [...node.rows.virtualServers.values()].filter(({ key }) => !wanted.has(key));
        expect(countDeletions(node.states(), after)).toEqual({
          ours: node.rows.virtualServers.size,
          unwanted: unwanted.length,
        });

        const held = operationsOf(planSync(node.states(), after, HELD));
        const whole = operationsOf(planSync(node.states(), after));
        for (const { key, identity } of unwanted) {
          const own = held.filter(({ subject }) => subject === key || subject.startsWith(`${key} -> `));
          expect(own.map(subjectOf)).toEqual([]);
          if (identity.kind !== 'address') continue;
          const isBoundOtherwise = [...after.virtualServers.values()].some(
            ({ address }) => address === identity.address,
          );
          const text = frontendText(identity);
          const taken = held.filter(
            ({ op, subject }) =>
              (op === 'deleteElement' && subject.split(' ').slice(2).join(' ').startsWith(text)) ||
              (op === 'deleteAddress' && subject.includes(` ${identity.address}`) && !isBoundOtherwise),
          );
          expect(taken.map(subjectOf)).toEqual([]);
        }
        if (unwanted.length > 0) expect(held.map(({ op }) => op)).not.toContain('deleteTable');

        // Where nothing is wanted the table goes as a whole, and its rows can't be compared.
        const isComparable = ({ subject }: Operation) =>
          after.virtualServers.size > 0 || !subject.startsWith('nft');
        const [heldSubjects, wholeSubjects] = [held, whole].map(
          (ops) => new Set(ops.filter(isComparable).map(subjectOf)),
        );
        const kept = whole.filter(isComparable).filter((op) => !heldSubjects?.has(subjectOf(op)));
        expect(kept.filter((op) => !concerns(unwanted, op)).map(subjectOf)).toEqual([]);
        const beyond = held.filter(isComparable).filter((op) => !wholeSubjects?.has(subjectOf(op)));
        expect(beyond.filter(({ op }) => op !== 'addElement').map(subjectOf)).toEqual([]);
        expect(beyond.filter((op) => !concerns(unwanted, op)).map(subjectOf)).toEqual([]);
      }),
    );
  });

  it('is idempotent and restartable, and what is released then goes', () => {
    fc.assert(
      fc.property(cases, fc.nat(), ({ before, after, clusterIPs, connections }, number) => {
        const node = nodeOf(before, clusterIPs, connections);
        const ops = operationsOf(planSync(node.states(), after, HELD));
        const done = number % (ops.length + 1);
        node.acknowledge(ops.slice(0, done));
        const rest = operationsOf(planSync(node.states(), after, HELD));
        expect(rest.length).toBeLessThanOrEqual(ops.length - done);
        node.acknowledge(rest);
        expect(operationsOf(planSync(node.states(), after, HELD)).map(subjectOf)).toEqual([]);

        node.acknowledge(operationsOf(planSync(node.states(), after)));
        expect(operationsOf(planSync(node.states(), after)).map(subjectOf)).toEqual([]);
      }),
    );
  });
});
