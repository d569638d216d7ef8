import { rootSubject } from '../../../src/dataplane/dataplane.ts';
import { createSocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import type { SocklbOp } from '../../../src/dataplane/socklb/ops.ts';
import type { ProjectOptions } from '../../../src/dataplane/socklb/project.ts';
import {
  EMPTY_ROWS,
  flagsOf,
  type ServiceRow,
  type SocketMode,
  type SocklbRows,
} from '../../../src/dataplane/socklb/rows.ts';
import { FakeSocklbKernel } from '../../fakes/socklb-kernel.ts';
import { parseSocketLine } from './lines.ts';

export const NEVER = new AbortController().signal;

/** As the configuration is by default. */
export const OPTIONS: ProjectOptions = { mode: 'on', excludeCIDRs: [], nodePortAddresses: [] };

/** Wanted rows of frontends in text: `TCP 10.96.0.50:80 random affinity 10800 10.244.1.20:8080 weight 2`. */
export function wantedOf(lines: readonly string[], mode: SocketMode = 'on'): SocklbRows {
  const rows = lines.map(parseSocketLine);
  return {
    ...EMPTY_ROWS,
    services: new Map(rows.map((row): [ServiceRow['key'], ServiceRow] => [row.key, row])),
    config: { flags: flagsOf(mode), udpFlowSeconds: 300 },
    programs: 'attached',
  };
}

/** A kernel and the dataplane over it, whose clock stands until it is moved. */
export class SocklbWorld {
  readonly kernel: FakeSocklbKernel;
  nowMs = Date.UTC(2026, 0, 1);
  #dataplane: ReturnType<typeof createSocklbDataplane>;

  constructor(kernel = new FakeSocklbKernel()) {
    this.kernel = kernel;
    this.#dataplane = this.#newDataplane();
  }

  get dataplane(): ReturnType<typeof createSocklbDataplane> {
    return this.#dataplane;
  }

  /** As if by a process that knows nothing of earlier ones. */
  restart(): void {
    this.#dataplane = this.#newDataplane();
  }

  async observe(): Promise<SocklbRows> {
    return this.#dataplane.observe(NEVER);
  }

  /** Plans and applies once. @returns the operations planned */
  async sync(wanted: SocklbRows): Promise<readonly SocklbOp[]> {
    const { make, break: unmake } = this.#dataplane.plan(await this.observe(), wanted);
    const made = await this.#dataplane.apply(make, NEVER);
    const failed = new Set(made.refused.map(({ op }) => rootSubject(op)));
    await this.#dataplane.apply(
      unmake.filter((op) => !failed.has(rootSubject(op))),
      NEVER,
    );
    return [...make, ...unmake];
  }

  /** Syncs, waits for what remains, and clears it away. */
  async settle(wanted: SocklbRows): Promise<void> {
    await this.sync(wanted);
    this.nowMs += 50;
    await this.sync(wanted);
  }

  #newDataplane() {
    return createSocklbDataplane({ kernel: this.kernel, nowMs: () => this.nowMs }, OPTIONS);
  }
}

/** One operation a line: `addSocketService socket TCP 10.96.0.50:80: random 10.244.1.20:8080`. */
export function linesOf(ops: readonly SocklbOp[]): readonly string[] {
  return ops.map(({ op, subject, detail }) => `${op} ${subject}${detail && `: ${detail}`}`);
}
