import { unreachable } from '../../model/brand.ts';
import type { ApplyReport } from '../dataplane.ts';
import type { SocklbOp } from './ops.ts';
import { type SocketCapacity, withRow } from './project.ts';
import { changeRemains, remainsAfter } from './reduce.ts';
import { type Remain, waitMs } from './remains.ts';
import { EMPTY_ROWS, type SocketMode, type SocklbRows } from './rows.ts';
import { type SocketStanding, StandingRecord } from './standing.ts';

/** What is known of the maps as a whole, but for their frontends. */
export type KnownRows = Omit<SocklbRows, 'services' | 'observedAtMs'>;

/**
 * What one process remembers between two looks at all maps: since when what remains does so, and how full the maps
 * are. A process that starts finds all of it in the maps, and begins to count anew.
 */
export class SocklbMemory {
  #known: KnownRows | undefined;
  #remains = new Map<string, Remain>();
  #used: SocketCapacity = NOTHING;
  #obstacle: string | null = null;
  readonly #record = new StandingRecord();
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  /** Why the last look could not be taken; null if it could. */
  get obstacle(): string | null {
    return this.#obstacle;
  }

  /** What is known; undefined before the first look at everything. */
  get known(): KnownRows | undefined {
    return this.#known && { ...this.#known, remains: new Map(this.#remains) };
  }

  /** How much of the maps is used, what remains included. */
  get used(): SocketCapacity {
    return this.#used;
  }

  /** Since when something remains, by remainKey(), on the caller's clock; undefined if that is new. */
  sinceMs(key: string): number | undefined {
    return this.#remains.get(key)?.sinceMs ?? undefined;
  }

  /** After a look that could not be taken: nothing is known then. */
  standAside(obstacle: string): void {
    this.#known = undefined;
    this.#remains.clear();
    this.#used = NOTHING;
    this.#obstacle = obstacle;
    this.#record.saw(EMPTY_ROWS);
  }

  /** After a look at everything. */
  learn(rows: SocklbRows): void {
    const { services, observedAtMs, ...known } = rows;
    this.#record.saw(rows);
    this.looked(observedAtMs);
    this.#known = known;
    this.#obstacle = null;
    this.#remains = new Map(known.remains);
    let used = NOTHING;
    for (const row of services.values()) used = withRow(used, row);
    for (const remain of known.remains.values()) used = changed(used, remain, 1);
    this.#used = used;
  }

  /** After a look by which a plan takes away what may go. */
  looked(atMs: number): void {
    this.#lookedAtMs = atMs;
  }

  /** After the kernel has acknowledged `op`. */
  acknowledge(op: SocklbOp, nowMs: number): void {
    this.#record.acknowledge(op);
    if (!this.#known) return;
    const change = remainsAfter(op);
    for (const key of change.gone) {
      const remain = this.#remains.get(key);
      if (remain) this.#used = changed(this.#used, remain, -1);
    }
    changeRemains(this.#remains, change, nowMs);
    if (op.op === 'addSocketService' || op.op === 'setSocketService') this.#written(op);
    else if (op.op === 'deleteSocketService') {
      this.#used = { ...this.#used, services: this.#used.services - 1 };
    } else if (op.op === 'setSocketMode') {
      const { flags, udpFlowSeconds } = op;
      this.#known = { ...this.#known, config: { flags, udpFlowSeconds } };
    } else if (op.op === 'addSocketPrograms') this.#known = { ...this.#known, programs: 'attached' };
    else if (op.op === 'deleteSocketPrograms') this.learn(EMPTY_ROWS);
  }

  /** After operations were applied, or could not be. */
  applied(report: ApplyReport<SocklbOp>): void {
    this.#record.applied(report);
  }

  /** What has become of sockets. @param mode that is wanted */
  standing(mode: SocketMode): SocketStanding {
    const aside = this.#obstacle === null ? undefined : { ...EMPTY_ROWS, obstacle: this.#obstacle };
    return this.#record.standing(mode, aside ?? this.#known);
  }

  /** When another sync may take away what remains, in milliseconds from now; null if none will. */
  waitMs(nowMs: number): number | null {
    return waitMs(this.#remains.values(), nowMs, this.#lookedAtMs);
  }

  #written({ op, service }: Extract<SocklbOp, { readonly service: unknown }>): void {
    if (!this.#known) return;
    const { services, slots, backends, tables } = this.#used;
    const written = service.backends.filter(({ isWritten }) => isWritten).length;
    this.#used = {
      services: services + (op === 'addSocketService' ? 1 : 0),
      slots: service.backends.reduce((sum, { weight }) => sum + weight, slots),
      backends: backends + written,
      // One that changes has its table already, mostly; the next look at everything counts anew.
      tables: tables + (op === 'addSocketService' && service.algorithm === 'maglev' ? 1 : 0),
    };
    this.#known = {
      ...this.#known,
      lastServiceId: Math.max(this.#known.lastServiceId, service.id),
      lastBackendId: service.backends.reduce((last, { id }) => Math.max(last, id), this.#known.lastBackendId),
    };
  }
}

const NOTHING: SocketCapacity = { services: 0, slots: 0, backends: 0, tables: 0 };

function changed(used: SocketCapacity, remain: Remain, by: 1 | -1): SocketCapacity {
  switch (remain.kind) {
    case 'backend':
      return { ...used, backends: used.backends + by };
    case 'slots':
      return { ...used, slots: used.slots + by * remain.slots.length };
    case 'table':
      return { ...used, tables: used.tables + by };
    case 'entry':
      return { ...used, services: used.services + by };
    default:
      return unreachable(remain);
  }
}
