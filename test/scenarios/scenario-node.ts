import { Readable } from 'node:stream';
import { load } from 'js-yaml';
import { assembleDataplanes, type Dataplanes, observeSnapshot } from '../../src/assembly.ts';
import { decodeObjects } from '../../src/cluster/decode.ts';
import { readManifests } from '../../src/cluster/manifests.ts';
import { namespacedName, type RawObject } from '../../src/cluster/object-fields.ts';
import { type Config, parseConfig } from '../../src/config.ts';
import { nodeAddressesOf } from '../../src/dataplane/addresses/rows.ts';
import type { IpvsKernel } from '../../src/dataplane/ipvs/kernel.ts';
import { SYSCTL_NAMES } from '../../src/dataplane/ipvs/sysctls.ts';
import { derive, nodeContext } from '../../src/desired/derive.ts';
import type { IpAddress } from '../../src/model/address.ts';
import type { DesiredState } from '../../src/model/desired-state.ts';
import { compareRejected } from '../../src/model/rejected.ts';
import { renderIpvsadmSave } from '../../src/snapshot/render-ipvsadm-save.ts';
import { applySync, observeStages, operationsOf, planSync, type SyncPlan } from '../../src/sync/sync-once.ts';
import { faulty, seededRandom } from '../fakes/faulty.ts';
import { FakeIpvsKernel, FakeSysctls } from '../fakes/ipvs-kernel.ts';
import { MemoryLedger } from '../fakes/ledger.ts';
import { FakeLinkKernel } from '../fakes/link-kernel.ts';
import { FakeNftablesKernel } from '../fakes/nftables-kernel.ts';
import { parseIpvsadmLine } from './ipvsadm-lines.ts';
import type { Action } from './scenario-file.ts';

const NODE = 'n0';
const SIGNAL = new AbortController().signal;

/** How a run goes about the same steps; none of it may change where they lead. */
export interface Circumstances {
  /** The objects that arrive, and are synced, before the others of a step. */
  readonly first: 'Services' | 'slices';
  /** Fails one request in ten, the same ones for the same seed; null for a kernel that never fails. */
  readonly faultSeed: number | null;
  /** Whether every sync is made by a process that knows nothing of the last one. */
  readonly restarts: boolean;
}

/** With one request in ten failing, 100 operations take 4 rounds; more means that something is never made. */
const MAX_ROUNDS = 15;
const FAULT_PROBABILITY = 0.1;

type Objects = ReadonlyMap<string, RawObject>;

/** A node of the field in memory: the whole pipeline, from manifests to a kernel that obeys the kernel's rules. */
export class ScenarioNode {
  readonly #circumstances: Circumstances;
  readonly #ipvs = new FakeIpvsKernel();
  readonly #nftables = new FakeNftablesKernel();
  readonly #links = new FakeLinkKernel();
  readonly #sysctls = new FakeSysctls(Object.fromEntries(SYSCTL_NAMES.map((name) => [name, '0'])));
  readonly #ledger = new MemoryLedger();
  readonly #execute: IpvsKernel['execute'];
  readonly #foreign: string[] = [];
  #nowMs = Date.UTC(2026, 0, 1);
  #config: Config = parseConfig({}, 'scenario');
  #objects: Objects = new Map();
  #synced: Objects = new Map();
  #dataplanes: Dataplanes;

  constructor(circumstances: Circumstances) {
    this.#circumstances = circumstances;
    const { faultSeed: seed } = circumstances;
    const execute: IpvsKernel['execute'] = (requests, signal) => this.#ipvs.execute(requests, signal);
    if (seed === null) this.#execute = execute;
    else {
      const refused = { outcome: 'refused', code: 'ENOMEM' } as const;
      this.#execute = faulty(execute, {
        seed,
        probability: FAULT_PROBABILITY,
        refused,
        lost: { outcome: 'unknown' },
      });
      const random = seededRandom(seed);
      this.#nftables.faults = () =>
        random() < FAULT_PROBABILITY
          ? { outcome: 'refused', code: 'ENOMEM', message: 'no memory' }
          : undefined;
      this.#links.faults = { before: () => (random() < FAULT_PROBABILITY ? 'ENOBUFS' : undefined) };
    }
    this.#links.foreignAddress(this.#links.foreignLink('eth0', null), '172.30.0.30' as IpAddress, 24);
    this.#links.foreignAddress(this.#links.foreignLink('cni0', 'bridge'), '10.244.1.1' as IpAddress, 24);
    this.#dataplanes = this.#assemble();
  }

  /** One thing that happens, by its verb. @throws SyntaxError if there is no such verb */
  async act({ verb, argument, body }: Action): Promise<void> {
    switch (verb) {
      case 'apply': // manifests, of a file or directory or below, as kubectl would
        return this.#apply(argument, body);
      case 'delete': // `everything`, or an object by kind and name
        return this.#delete(argument);
      case 'config': // a configuration file, in place of the one before
        this.#config = parseConfig(load(body) ?? {}, 'scenario');
        this.#dataplanes = this.#assemble();
        return;
      case 'foreign': // what somebody else makes: ipvsadm-save lines
        return this.#addForeign(body.split('\n'));
      case 'connections': // how many are open: `TCP 10.96.0.10:80 -> 10.244.1.20:8080 2`
        return this.#connect(argument);
      case 'wait': // seconds
        this.#nowMs += Number(argument) * 1000;
        return;
      default:
        throw new SyntaxError(`No scenario verb is named ${verb}`);
    }
  }

  /**
   * Brings the node to its state: first with one half of what has changed, then with all of it.
   * @returns the state, one row a line: addresses, routes, ipvsadm-save, what is rejected
   * @throws Error if it does not get there, or does not stay there
   */
  async sync(): Promise<readonly string[]> {
    const first = mergeFirst(this.#synced, this.#objects, this.#circumstances.first);
    await this.#converge(first);
    const { desired, plan } = await this.#converge(this.#objects);
    this.#synced = this.#objects;
    await this.#checkQuiet();
    const lines = [...(await this.#rows()), ...rejectedLines(desired, plan)];
    const lost = this.#foreign.filter((line) => !lines.includes(line));
    if (lost.length > 0) throw new Error(`Foreign rows are gone: ${lost.join(', ')}`);
    return lines;
  }

  async #apply(path: string, body: string): Promise<void> {
    const stdin = Readable.from([Buffer.from(body)]);
    const { objects } = await readManifests([path === '' ? '-' : path], SIGNAL, stdin);
    const merged = new Map(this.#objects);
    for (const { kind, object } of objects) merged.set(`${kind} ${namespacedName(object)?.key}`, object);
    this.#objects = merged;
  }

  #delete(name: string): void {
    if (name === 'everything') {
      this.#objects = new Map([...this.#objects].filter(([, { kind }]) => kind === 'Node'));
      return;
    }
    const rest = new Map(this.#objects);
    if (!rest.delete(name))
      throw new Error(`Cannot delete ${name}: there are ${[...rest.keys()].join(', ')}`);
    this.#objects = rest;
  }

  #addForeign(lines: readonly string[]): void {
    for (const line of lines) {
      const answer = this.#ipvs.request(parseIpvsadmLine(line));
      if (answer.outcome !== 'ok') throw new Error(`Cannot make ${line}: ${answer.outcome}`);
      this.#foreign.push(line);
    }
  }

  #connect(argument: string): void {
    const [, virtualServer = '', realServer = '', count] = /^(.+) -> (\S+) (\d+)$/.exec(argument) ?? [];
    this.#ipvs.connect(virtualServer, realServer, Number(count));
  }

  #assemble(): Dataplanes {
    return assembleDataplanes(this.#config, {
      kernel: {
        dump: (signal) => this.#ipvs.dump(signal),
        read: (identities, signal) => this.#ipvs.read(identities, signal),
        has: (identity) => this.#ipvs.has(identity),
        execute: this.#execute,
      },
      nftables: this.#nftables,
      links: this.#links,
      ledger: this.#ledger,
      nowMs: () => this.#nowMs,
      readSysctl: this.#sysctls.read,
      writeSysctl: this.#sysctls.write,
    });
  }

  async #converge(objects: Objects): Promise<{ readonly desired: DesiredState; readonly plan: SyncPlan }> {
    let left: readonly string[] = [];
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (this.#circumstances.restarts) this.#dataplanes = this.#assemble();
      const planned = await this.#plan(objects);
      left = operationsOf(planned.plan).map(({ op, subject }) => `${op} ${subject}`);
      // An empty plan, too: what the kernel no longer has is struck from the ledger then.
      await applySync(planned.plan, SIGNAL);
      if (left.length === 0) return planned;
    }
    throw new Error(`Not there after ${MAX_ROUNDS} rounds, still to do: ${left.join(', ')}`);
  }

  async #plan(objects: Objects) {
    const facts = decodeObjects(arrivalOrder(objects, this.#circumstances.first), NODE);
    const hostAddresses = nodeAddressesOf(await this.#dataplanes.addresses.observe(SIGNAL));
    const options = { ...this.#config, node: NODE, nodeAddresses: null, hostAddresses };
    const { desired } = derive(facts, nodeContext(facts, options));
    return { desired, plan: planSync(await observeStages(this.#dataplanes.stages, SIGNAL), desired) };
  }

  /** A sync of what is there already must not write a thing, not even what it would be refused. */
  async #checkQuiet(): Promise<void> {
    const writes = () => [
      this.#ipvs.writes,
      this.#nftables.writes,
      this.#links.changes.length,
      this.#ledger.writes,
      ...this.#sysctls.values.values(),
    ];
    const before = writes().join();
    const { plan } = await this.#plan(this.#objects);
    await applySync(plan, SIGNAL);
    if (writes().join() !== before)
      throw new Error('A further round has written to the kernel or the ledger');
  }

  async #rows(): Promise<readonly string[]> {
    const snapshot = await observeSnapshot(this.#dataplanes, NODE, SIGNAL);
    return [
      ...snapshot.addresses.map((address) => `address ${address}`),
      ...(snapshot.routes ?? []).map((route) => `route ${route}`),
      ...renderIpvsadmSave(snapshot).split('\n').filter(Boolean),
      ...(snapshot.nftables?.sets ?? []).flatMap(({ name, elements }) =>
        elements.map((element) => `nft ${name} ${element}`),
      ),
    ];
  }
}

function rejectedLines(desired: DesiredState, plan: SyncPlan): readonly string[] {
  return [...desired.rejected, ...plan.rejected]
    .sort(compareRejected)
    .map(({ subject, reason }) => `rejected ${subject}: ${reason}`);
}

function isSlice(object: RawObject): boolean {
  return object.kind === 'EndpointSlice' || object.kind === 'Endpoints';
}

function arrivesFirst(object: RawObject, first: Circumstances['first']): boolean {
  // The Node and the ranges come with either half: nothing is programmed before they are known.
  return isSlice(object) === (first === 'slices') || object.kind === 'Node' || object.kind === 'ServiceCIDR';
}

/** What is known when only the first half of the news has come. */
function mergeFirst(before: Objects, after: Objects, first: Circumstances['first']): Objects {
  const news = [...after].filter(([, object]) => arrivesFirst(object, first));
  const old = [...before].filter(([, object]) => !arrivesFirst(object, first));
  return new Map([...old, ...news]);
}

function arrivalOrder(objects: Objects, first: Circumstances['first']): readonly RawObject[] {
  const all = [...objects.values()];
  return [
    ...all.filter((object) => arrivesFirst(object, first)),
    ...all.filter((object) => !arrivesFirst(object, first)),
  ];
}
