import type { VirtualServerKey } from '../../model/virtual-server.ts';
import type { ApplyReport } from '../dataplane.ts';
import type { SocklbOp } from './ops.ts';
import { keyOf, modeOf, type SocketMode, type SocklbRows } from './rows.ts';

/** What has become of sockets, by what was seen last and acknowledged since. */
export interface SocketStanding {
  /** Why they are not balanced as they are to be, in one line; null if they are, or nothing was done about it yet. */
  readonly failure: string | null;
  /** Whether sockets that connect to a frontend are connected to its endpoints. */
  serves(frontend: VirtualServerKey): boolean;
}

/** What is known of the maps as a whole. */
type Known = Pick<SocklbRows, 'programs' | 'config' | 'obstacle'>;

/** Remembers as much of syncs as is told of them, so that nobody has to look at the maps for it. */
export class StandingRecord {
  readonly #frontends = new Set<VirtualServerKey>();
  /** What was refused last, by the name of the operation. */
  readonly #refusals = new Map<SocklbOp['op'], string>();
  #hasApplied = false;

  /** After a look at everything, or at an obstacle. */
  saw({ services }: Pick<SocklbRows, 'services'>): void {
    this.#frontends.clear();
    for (const { key, fault } of services.values()) if (fault === null) this.#frontends.add(key);
  }

  /** After the kernel has acknowledged `op`. */
  acknowledge(op: SocklbOp): void {
    this.#refusals.delete(op.op);
    if (op.op === 'addSocketService' || op.op === 'setSocketService') this.#frontends.add(keyOf(op.frontend));
    else if (op.op === 'deleteSocketService') this.#frontends.delete(keyOf(op.frontend));
  }

  /** After operations were applied, or could not be. */
  applied({ refused }: ApplyReport<SocklbOp>): void {
    this.#hasApplied = true;
    for (const { op, message } of refused) this.#refusals.set(op.op, message);
  }

  /** @param known as of the last look and what was acknowledged since; undefined before the first look */
  standing(mode: SocketMode, known: Known | undefined): SocketStanding {
    const isOn = known?.programs === 'attached' && modeOf(known.config.flags) !== 'off';
    return {
      failure: known ? this.#failure(mode, known) : null,
      serves: (frontend) => isOn && this.#frontends.has(frontend),
    };
  }

  #failure(mode: SocketMode, { programs, config, obstacle }: Known): string | null {
    // Before anything was done it is no failure that nothing is there.
    if (obstacle !== null || !this.#hasApplied) return obstacle;
    if (mode !== 'off' && programs !== 'attached') {
      const which = programs === 'partly' ? 'some of the programs are' : 'the programs are';
      return this.#refusals.get('addSocketPrograms') ?? `${which} not attached`;
    }
    // Without programs nobody reads the switch.
    if (programs === 'absent' || modeOf(config.flags) === mode) return null;
    return this.#refusals.get('setSocketMode') ?? `the mode is not ${mode} yet`;
  }
}
