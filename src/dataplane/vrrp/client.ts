import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InstanceState } from './announcements.ts';
import type { Keepalived } from './kernel.ts';
import { statesIn } from './log.ts';
import type { InstanceName } from './rows.ts';
import { MAIN_FILE } from './text.ts';

const PID_FILE = 'keepalived.pid';
const CHILD_PID_FILE = 'vrrp.pid';
const LOG_FILE = 'keepalived.log';
/** A configuration of 255 instances takes it well below a second; an emulated processor takes its time. */
const PATIENCE_MS = 30_000;
const POLL_MS = 20;
const MAX_LOG_BYTES = 2 ** 20;

/** A directory, and the keepalived that is started with it. It goes on when this process ends. */
export class KeepalivedClient implements Keepalived {
  readonly #directory: string;
  readonly #program: string;

  /** @param program a path, or a name to be looked for in PATH */
  constructor(directory: string, program: string) {
    this.#directory = directory;
    this.#program = program;
  }

  async files(): Promise<ReadonlyMap<string, string>> {
    const names = await readdir(this.#directory).catch(unlessAbsent<string[]>([]));
    const ours = names.filter((name) => /\.conf$|\.track$|^loaded$/.test(name));
    const texts = ours.map(async (name) => [name, await this.#read(name)] as const);
    return new Map(await Promise.all(texts));
  }

  async write(file: string, text: string): Promise<void> {
    // keepalived takes no configuration that others may write, and passwords may be in it.
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const path = join(this.#directory, file);
    // A file that is watched must stay the same file.
    if (file.endsWith('.track')) return writeFile(path, text, { mode: 0o600 });
    await writeFile(`${path}.new`, text, { mode: 0o600 });
    await rename(`${path}.new`, path);
  }

  remove(file: string): Promise<void> {
    return rm(join(this.#directory, file), { force: true });
  }

  async isRunning(): Promise<boolean> {
    return (await this.#pid()) !== undefined;
  }

  async complaint(): Promise<string | undefined> {
    const { code, text } = await this.#run(['--config-test', ...this.#config()]);
    return code === 0 ? undefined : text.trim().split('\n').slice(0, 3).join('; ');
  }

  /** As `2.2.7`. @throws Error if it can't be run; with `killed` if it did not answer */
  async version(): Promise<string> {
    const { code, text } = await this.#run(['--version']);
    const [first = ''] = text.split('\n');
    const version = /^Keepalived v(\S+)/.exec(first)?.[1];
    if (code === 0 && version !== undefined) return version;
    throw new Error(`${this.#program} --version ends with ${code}: ${first}`);
  }

  async load(): Promise<void> {
    const pid = await this.#pid();
    await this.#shortenLog();
    if (pid !== undefined) {
      process.kill(pid, 'SIGHUP');
      return;
    }
    await this.#start();
    if (await this.#until(true)) return;
    const said = (await this.#read(LOG_FILE)).trim().split('\n').slice(-3).join('; ');
    throw new Error(`keepalived does not start: ${said}`);
  }

  states(): ReadonlyMap<InstanceName, InstanceState> {
    try {
      return statesIn(readFileSync(join(this.#directory, LOG_FILE), 'utf8'));
    } catch {
      // Whoever asks for the status is to get it: then nothing is known.
      return new Map();
    }
  }

  async stop(): Promise<void> {
    const pid = await this.#pid();
    if (pid === undefined) return;
    process.kill(pid, 'SIGTERM');
    if (!(await this.#until(false))) throw new Error(`keepalived, process ${pid}, does not end`);
  }

  /** It grows with every load, and nobody else would. */
  async #shortenLog(): Promise<void> {
    const path = join(this.#directory, LOG_FILE);
    const { size } = await stat(path).catch(unlessAbsent({ size: 0 }));
    if (size > MAX_LOG_BYTES) await truncate(path);
  }

  /** A session of its own: what ends this process does not end it. */
  async #start(): Promise<void> {
    await using log = await open(join(this.#directory, LOG_FILE), 'a', 0o600);
    const args = ['--vrrp', '--dont-fork', '--log-console', ...this.#config(), ...this.#pidFiles()];
    const child = spawn(this.#program, args, { detached: true, stdio: ['ignore', log.fd, log.fd] });
    await once(child, 'spawn').catch((error: NodeJS.ErrnoException) => {
      throw this.#absent(error);
    });
    child.unref();
  }

  #pidFiles(): readonly string[] {
    return ['--pid', join(this.#directory, PID_FILE), '--vrrp_pid', join(this.#directory, CHILD_PID_FILE)];
  }

  #absent(error: Error & { readonly code?: unknown }): Error {
    if (error.code !== 'ENOENT') return error;
    const text = `there is no ${this.#program}: apt-get install keepalived, or set vrrp.program`;
    return Object.assign(new Error(text, { cause: error }), { code: 'ENOENT' });
  }

  #config(): readonly string[] {
    return ['--use-file', join(this.#directory, MAIN_FILE)];
  }

  #read(file: string): Promise<string> {
    return readFile(join(this.#directory, file), 'utf8').catch(unlessAbsent(''));
  }

  /** Of the keepalived that was started with our directory, even if somebody has removed what is in it. */
  async #pid(): Promise<number | undefined> {
    const pid = Number(await this.#read(PID_FILE));
    if (pid > 0 && (await this.#isOurs(pid))) return pid;
    for (const name of await readdir('/proc')) {
      if (/^\d+$/.test(name) && (await this.#isOurs(Number(name))) && (await isLeader(name)))
        return Number(name);
    }
    return undefined;
  }

  async #isOurs(pid: number): Promise<boolean> {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return commandLine.includes(`\0${join(this.#directory, MAIN_FILE)}\0`);
  }

  async #until(isRunning: boolean): Promise<boolean> {
    for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += POLL_MS) {
      if ((await this.isRunning()) === isRunning) return true;
      await sleep(POLL_MS);
    }
    return false;
  }

  #run(args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
    return new Promise((resolve, reject) => {
      execFile(this.#program, args, { timeout: PATIENCE_MS }, (error, _, stderr) => {
        // A text where it could not be started; none where it was ended.
        const code = error ? error.code : 0;
        if (typeof code === 'number') resolve({ code, text: stderr });
        else if (error) reject(this.#absent(error));
      });
    });
  }
}

/** It was started in a session of its own, which its children share. */
async function isLeader(pid: string): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name before may have blanks and brackets.
  const [, , , session] = status.slice(status.lastIndexOf(')') + 2).split(' ');
  return session === pid;
}

function unlessAbsent<T>(instead: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === 'ENOENT') return instead;
    throw error;
  };
}
