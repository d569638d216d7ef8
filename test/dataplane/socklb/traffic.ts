import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Slice, SliceReport, Traffic } from './traffic-process.ts';

const PROCESS = join(import.meta.dirname, 'traffic-process.ts');
const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'];

/** Servers and clients of traffic-process.ts, which end with this. */
export class TrafficProcesses implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];
  readonly #processor: number | null;

  /** @param processor which all of them use, so that each slice has the same way; null: whichever is free */
  constructor(processor: number | null) {
    this.#processor = processor;
  }

  /**
   * A server on all addresses of a network namespace, once it listens.
   * @param namespace as `ip netns` knows it
   * @returns its process
   */
  async serve(namespace: string, kind: Traffic, port: number): Promise<number> {
    const enter = ['nsenter', `--net=/run/netns/${namespace}`];
    const child = this.#start([...enter, ...NODE, PROCESS, 'server', kind, String(port)], ['ignore', 'pipe']);
    if (child.stdout) await once(child.stdout, 'data');
    return child.pid ?? 0;
  }

  /** A client, once it is there. */
  async client(): Promise<TrafficClient> {
    const child = this.#start([...NODE, PROCESS, 'client'], ['ignore', 'inherit', 'inherit', 'ipc']);
    await once(child, 'message');
    return new TrafficClient(child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.filter(
      ({ exitCode, signalCode }) => exitCode === null && !signalCode,
    )) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }

  #start(command: readonly string[], stdio: ('ignore' | 'pipe' | 'inherit' | 'ipc')[]): ChildProcess {
    const pin = this.#processor === null ? [] : ['taskset', '--cpu-list', String(this.#processor)];
    const [file = '', ...args] = [...pin, ...command];
    const child = spawn(file, args, {
      stdio: [...stdio, ...(stdio.length === 2 ? ['inherit' as const] : [])],
    });
    this.#children.push(child);
    return child;
  }
}

/** A client process that does one thing at a time. */
export class TrafficClient {
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** @throws Error if the process has ended */
  async measure(slice: Slice): Promise<SliceReport> {
    const report = this.#report();
    this.#child.send(slice);
    return report;
  }

  /** Connects until `end` is called. @returns what then came of it */
  hammer(slice: Omit<Slice, 'kind' | 'ms'>): { end(): Promise<SliceReport> } {
    this.#child.send({ ...slice, kind: 'connect', ms: null } satisfies Slice);
    return {
      end: async () => {
        const report = this.#report();
        this.#child.send('end');
        return report;
      },
    };
  }

  async #report(): Promise<SliceReport> {
    const ended = new AbortController();
    const exit = once(this.#child, 'exit', { signal: ended.signal }).then(() => {
      throw new Error('The client has ended without a report');
    });
    exit.catch(() => undefined);
    const [report] = await Promise.race([once(this.#child, 'message'), exit]);
    ended.abort();
    return report;
  }
}
