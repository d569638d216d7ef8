import { assembleDataplanes, type Dataplanes } from '../../src/assembly.ts';
import type { WatchedKind } from '../../src/cluster/decode-watched.ts';
import { FactStore } from '../../src/cluster/fact-store.ts';
import type { RawObject } from '../../src/cluster/object-fields.ts';
import { type Config, parseConfig } from '../../src/config.ts';
import type { IpvsKernel } from '../../src/dataplane/ipvs/kernel.ts';
import { SYSCTL_NAMES } from '../../src/dataplane/ipvs/sysctls.ts';
import { serviceText, sortedServices } from '../../src/dataplane/socklb/rows.ts';
import { derive, nodeContext } from '../../src/desired/derive.ts';
import type { NodeContext } from '../../src/desired/frontends.ts';
import { type DerivationInput, ServiceIndex } from '../../src/desired/service-index.ts';
import { type IpAddress, parseIpAddress } from '../../src/model/address.ts';
import { type IncrementalResult, IncrementalSync } from '../../src/sync/incremental.ts';
import { needsOf } from '../../src/sync/scoped-stage.ts';
import { observeStages, operationsOf, planSync, type SyncGuard, syncOnce } from '../../src/sync/sync-once.ts';
import { faulty, seededRandom } from '../fakes/faulty.ts';
import { FakeFlowKernel } from '../fakes/flow-kernel.ts';
import { FakeIpvsKernel, FakeSysctls } from '../fakes/ipvs-kernel.ts';
import { MemoryLedger } from '../fakes/ledger.ts';
import { FakeLinkKernel } from '../fakes/link-kernel.ts';
import { FakeNftablesKernel } from '../fakes/nftables-kernel.ts';
import { FakeSocklbKernel } from '../fakes/socklb-kernel.ts';

export const NEVER = new AbortController().signal;
const NODE = 'n0';

/** One event of an API server. */
export interface ClusterEvent {
  readonly kind: WatchedKind;
  readonly object: RawObject;
  readonly isGone: boolean;
}

export interface NodeOptions {
  readonly config?: object;
  /** Of one in ten requests to fail; null for a kernel that never fails. */
  readonly faultSeed?: number | null;
  readonly maxUnjudgedDeletes?: number;
  readonly guard?: SyncGuard;
}

/** A node whose kernel is in memory: facts, dataplanes, and both ways to sync. */
export class IncrementalNode {
  readonly ipvs = new FakeIpvsKernel();
  readonly nftables = new FakeNftablesKernel();
  readonly links = new FakeLinkKernel();
  readonly flows = new FakeFlowKernel();
  readonly sockets = new FakeSocklbKernel();
  readonly ledger = new MemoryLedger();
  readonly store = new FactStore(NODE);
  readonly index: ServiceIndex;
  readonly incremental: IncrementalSync<DerivationInput>;
  /** Lists of our table read so far. */
  lists = 0;
  nowMs = Date.UTC(2026, 0, 1);
  readonly #sysctls = new FakeSysctls(Object.fromEntries(SYSCTL_NAMES.map((name) => [name, '0'])));
  readonly #config: Config;
  readonly #dataplanes: Dataplanes;
  #execute: IpvsKernel['execute'] = (requests, signal) => this.ipvs.execute(requests, signal);
  #context: NodeContext | undefined;

  constructor({ config = {}, faultSeed = null, maxUnjudgedDeletes = 1000, guard }: NodeOptions = {}) {
    this.#config = parseConfig(config, 'test');
    this.links.foreignLink('eth0', null);
    this.links.foreignAddress(2, address('172.16.0.5'), 24);
    if (faultSeed !== null) this.#fail(faultSeed);
    this.#dataplanes = this.#assemble();
    const { stages, scopedStages } = this.#dataplanes;
    this.index = new ServiceIndex({ needsOf: needsOf(scopedStages) });
    this.incremental = new IncrementalSync({
      stages,
      scopedStages,
      source: this.index,
      maxUnjudgedDeletes,
      ...(guard && { guard }),
    });
  }

  /** Tells the node of events. */
  put(events: readonly ClusterEvent[]): void {
    for (const { kind, object, isGone } of events) {
      if (isGone) this.store.remove(kind, object);
      else this.store.put(kind, object);
    }
  }

  /** As the daemon syncs. */
  async sync({ isWhole = false, isDrainCheck = true } = {}): Promise<IncrementalResult> {
    const changes = this.store.takeChanges();
    if (changes.isWhole) this.#context = undefined;
    return this.incremental.sync(
      { input: this.#input(), changed: changes.services, isWhole: isWhole || changes.isWhole, isDrainCheck },
      NEVER,
    );
  }

  /** A whole sync by a process that knows nothing of earlier ones. @returns its operations */
  async syncWhole(guard?: SyncGuard): Promise<readonly string[]> {
    const { rounds } = await syncOnce(this.#assemble().stages, this.#derived(), NEVER, guard);
    return rounds.flatMap(({ acknowledged }) => acknowledged).map(textOf);
  }

  /** What a whole sync would do now. */
  async wholePlan(): Promise<readonly string[]> {
    const states = await observeStages(this.#assemble().stages, NEVER);
    return operationsOf(planSync(states, this.#derived())).map(textOf);
  }

  desired() {
    return this.#derived();
  }

  /** Everything in the kernel, and what we know to be ours, as text. */
  async state(): Promise<string> {
    const { virtualServers, drains, staleFlows, addresses, links, routes, sysctls } = this.ledger.read();
    const table = this.ipvs.table().map(({ identity, config, realServers }) => ({
      identity,
      config,
      realServers: realServers.map((each) => JSON.stringify(each)).sort(),
    }));
    const { nftables, addresses: bound, socklb } = this.#assemble();
    const sockets = socklb && (await socklb.observe(NEVER));
    return [
      ...table.map((each) => JSON.stringify(each)).sort(),
      nftables.canonical(await nftables.observe(NEVER)),
      bound.canonical(await bound.observe(NEVER)),
      // Without what remains, which goes at other times, and ids, which whole syncs give in another order.
      ...(sockets ? sortedServices(sockets).map(serviceText) : []),
      JSON.stringify([...this.#sysctls.values]),
      JSON.stringify([virtualServers, drains, sysctls].map((map) => [...map].sort())),
      JSON.stringify([staleFlows, addresses, links, routes].map((set) => [...set].sort())),
    ].join('\n');
  }

  #assemble(): Dataplanes {
    return assembleDataplanes(this.#config, {
      kernel: {
        dump: (signal) => this.ipvs.dump(signal),
        read: (identities, signal) => this.ipvs.read(identities, signal),
        has: (identity) => this.ipvs.has(identity),
        execute: (requests, signal) => this.#execute(requests, signal),
      },
      nftables: {
        list: (table, signal) => {
          this.lists += 1;
          return this.nftables.list(table, signal);
        },
        run: (commands, signal) => this.nftables.run(commands, signal),
        generation: () => this.nftables.generation(),
      },
      links: this.links,
      sockets: this.sockets,
      flows: this.flows,
      ledger: this.ledger,
      nowMs: () => this.nowMs,
      readSysctl: this.#sysctls.read,
      writeSysctl: this.#sysctls.write,
    });
  }

  #fail(seed: number): void {
    const refused = { outcome: 'refused', code: 'ENOMEM' } as const;
    this.#execute = faulty(this.#execute, { seed, refused, lost: { outcome: 'unknown' } });
    const random = seededRandom(seed);
    this.nftables.faults = () =>
      random() < 0.1 ? { outcome: 'refused', code: 'ENOMEM', message: 'no memory' } : undefined;
    this.links.faults = { before: () => (random() < 0.1 ? 'ENOBUFS' : undefined) };
  }

  #input(): DerivationInput {
    this.#context ??= this.#newContext();
    return { facts: this.store.facts, context: this.#context };
  }

  #newContext(): NodeContext {
    const options = { node: NODE, nodeAddresses: null, hostAddresses: [address('172.16.0.5')] };
    return nodeContext(this.store.facts, { ...this.#config, ...options });
  }

  #derived() {
    return derive(this.store.facts, this.#newContext()).desired;
  }
}

function textOf({ op, subject, detail }: { op: string; subject: string; detail: string }): string {
  return `${op} ${subject} ${detail}`;
}

function address(text: string): IpAddress {
  const parsed = parseIpAddress(text);
  if (!parsed) throw new Error(text);
  return parsed;
}
