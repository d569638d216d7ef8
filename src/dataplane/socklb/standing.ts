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

type Seen = Pick<SocklbRows, 'services' | 'programs' | 'config' | 'obstacle'>;

/** Remembers as much of syncs as is told of them, so that nobody has to look at the maps for it. */
export class StandingRecord {
  #seen: Omit<Seen, 'services'> | undefined;
  readonly #frontends = new Set<VirtualServerKey>();
  /** What was refused last, by the name of the operation. */
  readonly #refusals = new Map<SocklbOp['op'], string>();
  #hasApplied = false;

  /** After a look at everything, or at an obstacle. */
  saw({ services, programs, config, obstacle }: Seen): void {
    this.#seen = { programs, config, obstacle };
    this.#frontends.clear();
    for (const { key, fault } of services.values()) if (fault === null) this.#frontends.add(key);
  }

  /** After the kernel has acknowledged `op`. */
  acknowledge(op: SocklbOp): void {
    if (!this.#seen) return;
    this.#refusals.delete(op.op);
    if (op.op === 'addSocketService' || op.op === 'setSocketService') this.#frontends.add(keyOf(op.frontend));
    else if (op.op === 'deleteSocketService') this.#frontends.delete(keyOf(op.frontend));
    else if (op.op === 'addSocketPrograms') this.#seen = { ...this.#seen, programs: 'attached' };
    else if (op.op === 'deleteSocketPrograms') this.#seen = { ...this.#seen, programs: 'absent' };
    else if (op.op === 'setSocketMode') {
      const { flags, udpFlowSeconds } = op;
      this.#seen = { ...this.#seen, config: { flags, udpFlowSeconds } };
    }
  }

  /** After operations were applied, or could not be. */
  applied({ refused }: ApplyReport<SocklbOp>): void {
    this.#hasApplied = true;
    for (const { op, message } of refused) this.#refusals.set(op.op, message);
  }

  standing(mode: SocketMode): SocketStanding {
    const seen = this.#seen;
    const isOn = seen?.programs === 'attached' && modeOf(seen.config.flags) !== 'off';
    return { failure: this.#failure(mode), serves: (frontend) => isOn && this.#frontends.has(frontend) };
  }

  #failure(mode: SocketMode): string | null {
    if (!this.#seen) return null;
    const { programs, config, obstacle } = this.#seen;
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
