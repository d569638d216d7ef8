import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { CommandError, type NetworkNamespace } from '../probe.ts';
import { type ApiAccess, kubeconfigOf } from './api-server.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { lastSyncsOf, type ProcessMemory, processMemory, processorSeconds } from './measure.ts';

const SVCPLANE = join(import.meta.dirname, '../../../scripts/svcplane');
const METRICS = 'http://127.0.0.1:10249/metrics';
const HEALTH = 'http://127.0.0.1:10256';
/** It takes a second on a good processor, and tens of them on an emulated one. */
const SYNC_MS = 300_000;

export interface SvcplaneOptions {
  readonly apiServer: ApiAccess;
  readonly nodeName: string;
  /** Further keys of the configuration file, or instead of the ones given here. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/**
 * Writes a kubeconfig and a configuration file into a directory, in which the daemon's state is kept, too.
 * @returns the command line of `svcplane run` with them
 */
export function svcplaneCommand(
  directory: string,
  { apiServer, nodeName, config }: SvcplaneOptions,
): readonly string[] {
  const kubeconfig = join(directory, 'kubeconfig');
  const file = join(directory, 'config.yaml');
  const stateDirectory = join(directory, 'state');
  mkdirSync(stateDirectory, { recursive: true });
  writeFileSync(kubeconfig, kubeconfigOf(apiServer));
  writeFileSync(
    file,
    JSON.stringify({
      kubeconfig,
      nodeName,
      stateDirectory,
      socket: join(directory, 'svcplane.sock'),
      ...config,
    }),
  );
  return [SVCPLANE, 'run', '--config', file];
}

/** An answer of the daemon's HTTP endpoints. */
export interface HttpAnswer {
  /** 0 if nobody answered. */
  readonly status: number;
  readonly body: string;
}

/** `svcplane run` against an API server, on a node; it can be killed and started again with what it had on disk. */
export interface SvcplaneDaemon extends AsyncDisposable {
  /** Of the process that runs now, or ran last. */
  readonly pid: number;
  /** Holds the kubeconfig, config.yaml and the state. */
  readonly directory: string;
  /** The end of what all its processes have printed. */
  log(): string;
  /**
   * Waits until its process that runs now has been in sync once.
   * @returns when that was, in milliseconds since the epoch
   * @throws Error with the end of the log, if it ends before or takes longer than `timeoutMs`
   */
  synced(timeoutMs?: number): Promise<number>;
  metrics(): Promise<string>;
  /** @param path `/healthz`, `/livez`, `/readyz` */
  health(path: string): Promise<HttpAnswer>;
  /** The IPVS table of its network namespace, as /proc/net/ip_vs has it: numbers in hexadecimal. */
  table(): string;
  /** Runs another verb with its configuration to its end. @returns what it has printed @throws CommandError */
  svcplane(verb: readonly string[]): Promise<string>;
  /** Puts these keys into its configuration file, beside those that are there, or in their place. */
  configure(keys: Readonly<Record<string, unknown>>): void;
  memory(): ProcessMemory;
  /** Processor time so far, in seconds, of the process that runs now. */
  processorSeconds(): number;
  /** Ends its process with a signal, SIGTERM if none is named, and waits for that. The kernel stays as it is. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts a process where the one before has ended. @throws Error if it still runs */
  start(): Promise<void>;
}

/**
 * Starts `svcplane run` in a network namespace from which the API server can be reached; does not wait for a sync.
 * Disposing of it ends it and removes its directory, and leaves the kernel as it is.
 */
export async function startSvcplane(
  namespace: NetworkNamespace,
  options: SvcplaneOptions,
): Promise<SvcplaneDaemon> {
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-live-'));
  const inside = ['ip', 'netns', 'exec', namespace.name];
  const command = [...inside, ...svcplaneCommand(directory, options)];
  let earlier = '';
  let current = await startDaemon(command);
  let isRunning = true;

  // curl, because only a process within the namespace can reach its loopback.
  const get = async (url: string): Promise<HttpAnswer> => {
    const curl = namespace.start([
      'curl',
      '--silent',
      '--max-time',
      '10',
      '--write-out',
      '\n%{http_code}',
      url,
    ]);
    const answer = curl.stdout ? await text(curl.stdout) : '';
    const end = answer.lastIndexOf('\n');
    return { status: Number(answer.slice(end + 1)), body: answer.slice(0, end) };
  };
  const stop: SvcplaneDaemon['stop'] = async (signal) => {
    await current.stop(signal);
    isRunning = false;
  };
  return {
    directory,
    get pid() {
      return current.pid;
    },
    log: () => earlier + current.log(),
    synced: (timeoutMs = SYNC_MS) => syncedOnce(current, async () => (await get(METRICS)).body, timeoutMs),
    metrics: async () => (await get(METRICS)).body,
    health: (path) => get(`${HEALTH}${path}`),
    table: () => readFileSync(`/proc/${current.pid}/net/ip_vs`, 'utf8'),
    svcplane: (verb) => runIn(namespace, [SVCPLANE, ...verb, '--config', join(directory, 'config.yaml')]),
    configure: (keys) => {
      const file = join(directory, 'config.yaml');
      const before: object = JSON.parse(readFileSync(file, 'utf8'));
      writeFileSync(`${file}.new`, JSON.stringify({ ...before, ...keys }));
      renameSync(`${file}.new`, file);
    },
    memory: () => processMemory(current.pid),
    processorSeconds: () => processorSeconds(current.pid),
    stop,
    start: async () => {
      if (isRunning) throw new Error('svcplane still runs');
      earlier += current.log();
      current = await startDaemon(command);
      isRunning = true;
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** While this process goes on with what it does. */
async function runIn(namespace: NetworkNamespace, command: readonly string[]): Promise<string> {
  const child = namespace.start(command);
  const ended = once(child, 'close');
  const [stdout, stderr] = await Promise.all(
    [child.stdout, child.stderr].map((stream) => (stream ? text(stream) : '')),
  );
  await ended;
  if (child.exitCode !== 0) throw new CommandError(command, child.exitCode, `${stderr}${stdout}`);
  return stdout ?? '';
}

async function syncedOnce(
  daemon: Daemon,
  metrics: () => Promise<string>,
  timeoutMs: number,
): Promise<number> {
  let atMs: number | undefined;
  await daemon.ready(async () => {
    atMs = [...lastSyncsOf(await metrics()).values()].sort((a, b) => b - a)[0];
    return atMs !== undefined;
  }, timeoutMs);
  return atMs ?? Number.NaN;
}
