import { realServerKey } from '../../model/virtual-server.ts';
import { clearing, compareRemains, detailOf, leavesOf } from './clearance.ts';
import { operation, type PlannedBackend, type SocklbOp } from './ops.ts';
import {
  isDue,
  type LeftElement,
  ownedEndpoint,
  type Remain,
  remainingBackends,
  remainKey,
} from './remains.ts';
import { hasTable, type ServicePlace, type ServiceRow, type SocklbRows, sortedBackends } from './rows.ts';

/** The part of a plan that is about frontends: what it has given and kept so far. */
export class Draft {
  readonly #observed: SocklbRows;
  readonly #remaining: ReadonlyMap<string, Remain & { readonly kind: 'backend' }>;
  #lastServiceId: number;
  #lastBackendId: number;
  /** What is in use again, or still, by remainKey(). */
  readonly #kept = new Set<string>();

  constructor(observed: SocklbRows) {
    this.#observed = observed;
    this.#remaining = remainingBackends(observed.remains);
    this.#lastServiceId = observed.lastServiceId;
    this.#lastBackendId = observed.lastBackendId;
  }

  /** @returns undefined where the frontend is as it should be */
  service(want: ServiceRow): SocklbOp | undefined {
    const have = this.#observed.services.get(want.key);
    if (have === want) return undefined;
    if (!have?.place) return this.#addition(want);
    if (have.fault !== null) return this.#replacement(have, want, have.fault);
    return this.#isAsWanted(have, want) ? undefined : this.#change(have, want, have.place);
  }

  deletion(have: ServiceRow): SocklbOp {
    const leaves = have.fault === null ? leavesOf(have, new Map(), false) : this.#faulty(have);
    const change = { op: 'deleteSocketService', frontend: frontendOf(have), leaves } as const;
    return operation(change, 'no longer wanted');
  }

  /** What is left over and may go: slots before the backends they name, and those together whose sockets are ended. */
  clearance(endsSockets: boolean): readonly SocklbOp[] {
    const { remains, observedAtMs } = this.#observed;
    const ops = [...remains]
      .filter(([key, remain]) => isDue(remain, observedAtMs) && !this.#kept.has(key))
      .map(([, remain]) => remain)
      .sort(compareRemains)
      .map((remain) =>
        operation(clearing(remain, endsSockets), 'nothing leads to it any more', detailOf(remain)),
      );
    const isEnd = ({ op }: SocklbOp) => op === 'endSockets';
    return [...ops.filter((op) => !isEnd(op)), ...ops.filter(isEnd)];
  }

  #addition(want: ServiceRow): SocklbOp {
    const service = { id: this.#newServiceId(), generation: 1, ...this.#content(want, null) };
    return operation({ op: 'addSocketService', frontend: frontendOf(want), service }, want.reason);
  }

  /** Under new ids, for nobody knows what the old ones lead to. */
  #replacement(have: ServiceRow, want: ServiceRow, fault: string): SocklbOp {
    const service = { id: this.#newServiceId(), generation: 1, ...this.#content(want, null) };
    const frontend = frontendOf(want);
    return operation({ op: 'setSocketService', frontend, service, leaves: this.#faulty(have) }, fault);
  }

  #change(have: ServiceRow, want: ServiceRow, { id, generation }: ServicePlace): SocklbOp {
    const service = {
      id,
      generation: this.#newGeneration(id, generation),
      ...this.#content(want, have),
    };
    if (hasTable(want)) this.#kept.add(remainKey({ kind: 'table', serviceId: id }));
    const leaves = leavesOf(have, want.backends, hasTable(want));
    return operation({ op: 'setSocketService', frontend: frontendOf(want), service, leaves }, want.reason);
  }

  #content(want: ServiceRow, have: ServiceRow | null) {
    const { algorithm, affinitySeconds } = want;
    const backends = sortedBackends(want.backends).map(({ address, port, weight }): PlannedBackend => {
      const known = have?.place ? this.#known(have, have.place.id, { address, port }) : undefined;
      const isTerminating = weight === 0;
      return {
        id: known?.id ?? this.#newBackendId(),
        address,
        port,
        weight,
        isWritten: known?.isTerminating !== isTerminating,
      };
    });
    return { algorithm, affinitySeconds, backends };
  }

  /** The backend that an endpoint has, or had until a moment ago. */
  #known(have: ServiceRow, serviceId: number, endpoint: Pick<PlannedBackend, 'address' | 'port'>) {
    const id = have.backends.get(realServerKey(endpoint))?.id ?? null;
    if (id !== null) return { id, isTerminating: false };
    const remain = this.#remaining.get(ownedEndpoint(serviceId, endpoint));
    if (remain) this.#kept.add(remainKey(remain));
    return remain;
  }

  #isAsWanted(have: ServiceRow, want: ServiceRow): boolean {
    if (have.algorithm !== want.algorithm || have.affinitySeconds !== want.affinitySeconds) return false;
    let terminating = 0;
    const kept: string[] = [];
    for (const [key, { address, port, weight }] of want.backends) {
      if (weight > 0) {
        if (have.backends.get(key)?.weight !== weight) return false;
        continue;
      }
      const remain = have.place && this.#remaining.get(ownedEndpoint(have.place.id, { address, port }));
      if (!remain?.isTerminating) return false;
      kept.push(remainKey(remain));
      terminating += 1;
    }
    if (have.backends.size !== want.backends.size - terminating) return false;
    for (const key of kept) this.#kept.add(key);
    return true;
  }

  /** All that a damaged frontend may lead to. */
  #faulty({ place }: ServiceRow): readonly LeftElement[] {
    return [...this.#observed.remains.values()]
      .filter(
        (remain) => remain.sinceMs === null && remain.kind !== 'entry' && remain.serviceId === place?.id,
      )
      .sort(compareRemains)
      .map(({ sinceMs: _, ...left }) => left);
  }

  #newServiceId(): number {
    this.#lastServiceId = nextId(this.#lastServiceId);
    return this.#lastServiceId;
  }

  #newBackendId(): number {
    this.#lastBackendId = nextId(this.#lastBackendId);
    return this.#lastBackendId;
  }

  /** Above all whose slots are there. */
  #newGeneration(serviceId: number, generation: number): number {
    let last = generation;
    for (const remain of this.#observed.remains.values()) {
      if (remain.kind === 'slots' && remain.serviceId === serviceId) last = Math.max(last, remain.generation);
    }
    return nextId(last);
  }
}

const UINT32_MAX = 0xffff_ffff;

/** Ids are 32 bits, and never 0: at ten changes a second they last for thirteen years. */
function nextId(last: number): number {
  if (last >= UINT32_MAX) {
    throw new RangeError(
      'Cannot give a further id to the socket balancer: run svcplane cleanup, then start anew',
    );
  }
  return last + 1;
}

function frontendOf({ address, port, protocol }: ServiceRow) {
  return { address, port, protocol };
}
