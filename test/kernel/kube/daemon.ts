import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** Enough for the reason of a failure among the many lines that Kubernetes logs. */
const LOG_CHARACTERS = 65_536;
const STOP_MS = 10_000;
const POLL_MS = 100;

/** A program that runs until it is stopped. */
export interface Daemon extends AsyncDisposable {
  readonly pid: number;
  /** The end of what it has printed, on both streams. */
  log(): string;
  /**
   * Waits until `isReady` answers true.
   * @throws Error with the end of the log, if the program ends or `timeoutMs` pass before
   */
  ready(isReady: () => boolean | Promise<boolean>, timeoutMs: number): Promise<void>;
  /** Ends it, by SIGKILL if it has not ended 10 s after `signal`; does nothing the second time. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  readonly ended: Promise<void>;
}

/** Starts a program. */
export async function startDaemon(command: readonly string[]): Promise<Daemon> {
  const [file = '', ...args] = command;
  const name = file.slice(file.lastIndexOf('/') + 1);
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-LOG_CHARACTERS);
    });
  }
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await once(child, 'spawn');
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;

  const stop: Daemon['stop'] = async (signal = 'SIGTERM') => {
    if (hasEnded()) return;
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(timer);
  };
  return {
    pid: child.pid ?? 0,
    log: () => log,
    ready: async (isReady, timeoutMs) => {
      const deadline = Date.now() + timeoutMs;
      while (!(await isReady())) {
        if (hasEnded()) throw new Error(`${name} has ended: ${log}`);
        if (Date.now() > deadline) throw new Error(`${name} is not ready after ${timeoutMs} ms: ${log}`);
        await sleep(POLL_MS);
      }
    },
    stop,
    ended,
    [Symbol.asyncDispose]: () => stop(),
  };
}
