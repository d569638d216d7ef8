import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { describe } from 'vitest';

declare module 'vitest' {
  interface TaskMeta {
    /** Why a test was skipped, where `context.skip(reason)` could not say so; read by scripts/test. */
    skipReason?: string;
  }
}

/**
 * Whether the processor is taken to be emulated, as in QEMU where there is no KVM: ten times slower and more. Tests wait
 * longer then and take smaller numbers, but leave nothing out silently.
 */
export const isEmulated = process.env.SVCPLANE_LAB_KERNEL === 'qemu';

/**
 * Why scripts/test leaves out here what starts many processes, or great ones: the processor is emulated, and another
 * kernel has run it.
 */
export const leftOutBecause = process.env.SVCPLANE_LEFT_OUT;

/** Options of tests that are left out for `leftOutBecause`: where it is set they are skipped, with it as the reason. */
export const UNLESS_LEFT_OUT =
  leftOutBecause === undefined ? {} : { skip: true, meta: { skipReason: leftOutBecause } };

/**
 * Asks the kernel, through `ipvsadm`, whether IPVS can be used over generic netlink in this network namespace.
 * @returns why not, in one line, or undefined if it can
 */
export function whyNoIpvs(): string | undefined {
  const { error, status, stderr } = spawnSync('ipvsadm', ['-Ln'], { encoding: 'utf8' });
  if (error) return `cannot run ipvsadm: ${error.message}`;
  if (status === 0) return undefined;
  return `no IPVS in this kernel or network namespace: ${stderr.trim().replaceAll('\n', '; ')}`;
}

/**
 * A vitest `describe` for tests that need a kernel with IPVS: the outermost one of every file in test/kernel.
 * Without IPVS its tests, hooks included, are skipped with the probe's reason.
 */
export function describeWithIpvs(name: string, body: () => void): void {
  const skipReason = whyNoIpvs();
  if (skipReason === undefined) describe(name, body);
  else describe(name, { skip: true, meta: { skipReason } }, body);
}

function whyNoNftables(): string | undefined {
  const { error, status, stderr } = spawnSync('nft', ['list', 'tables'], { encoding: 'utf8' });
  if (error) return `cannot run nft: ${error.message}`;
  return status === 0 ? undefined : `no nf_tables in this kernel or network namespace: ${stderr.trim()}`;
}

interface SkipOptions {
  readonly skip?: true;
  readonly meta?: { readonly skipReason: string };
}

/** Options of tests that need nf_tables but no IPVS: without it they are skipped, with the probe's reason. */
export function needsNftables(): SkipOptions {
  const skipReason = whyNoNftables();
  return skipReason === undefined ? {} : { skip: true, meta: { skipReason } };
}

/** Options of tests that need keepalived: without it they are skipped, with the reason. */
export function needsKeepalived(): SkipOptions {
  const { error } = spawnSync('keepalived', ['--version']);
  return error ? { skip: true, meta: { skipReason: `cannot run keepalived: ${error.message}` } } : {};
}

/** A command that a test needs has failed. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly status: number | null;
  readonly stderr: string;

  constructor(command: readonly string[], status: number | null, stderr: string) {
    super(`Cannot run ${command.join(' ')}: exit code ${status}: ${stderr.trim()}`);
    this.status = status;
    this.stderr = stderr;
  }
}

/**
 * Runs a command to its end, with `input` on its standard input.
 * @returns its standard output
 * @throws CommandError if it ends with another code than 0
 */
export function run(command: readonly string[], input = ''): string {
  const [file = '', ...args] = command;
  const { error, status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8', input });
  if (error || status !== 0) throw new CommandError(command, status, error?.message ?? stderr);
  return stdout;
}

/** A network namespace with its loopback up; disposing of it ends the processes in it and removes it. */
export interface NetworkNamespace extends Disposable {
  /** Its name for `ip -n NAME` and `ip netns exec NAME`. */
  readonly name: string;
  /** Runs a command in it to its end, as `run`. */
  run(command: readonly string[], input?: string): string;
  /** Starts a command in it, with pipes for its standard streams; it ends with the namespace at the latest. */
  start(command: readonly string[]): ChildProcess;
}

/**
 * Makes a network namespace: a node, a pod, a client.
 * @param label the start of its name; the rest is random, so that tests can run side by side
 */
export function createNamespace(label: string): NetworkNamespace {
  const name = `${label}-${randomBytes(3).toString('hex')}`;
  const inside = (command: readonly string[]) => ['ip', 'netns', 'exec', name, ...command];
  let disposed = false;
  run(['ip', 'netns', 'add', name]);
  run(['ip', '-n', name, 'link', 'set', 'lo', 'up']);
  return {
    name,
    run: (command, input) => run(inside(command), input),
    start: (command) => {
      const [file = '', ...args] = inside(command);
      return spawn(file, args, { stdio: 'pipe' });
    },
    [Symbol.dispose]: () => {
      if (disposed) return;
      disposed = true;
      killAllIn(name);
      run(['ip', 'netns', 'del', name]);
    },
  };
}

/** One end of a veth pair: its interface in a namespace, with addresses as `10.1.0.1/24` or `fd00:1::1/64`. */
export interface LinkEnd {
  readonly namespace: NetworkNamespace;
  /** At most 15 characters. */
  readonly interface: string;
  readonly addresses: readonly string[];
}

/** Connects two namespaces by a veth pair, both ends up, usable at once. It goes when one of them goes. */
export function connect(a: LinkEnd, b: LinkEnd): void {
  const peer = ['peer', 'name', b.interface, 'netns', b.namespace.name];
  run(['ip', '-n', a.namespace.name, 'link', 'add', a.interface, 'type', 'veth', ...peer]);
  for (const end of [a, b]) {
    const ip = ['ip', '-n', end.namespace.name];
    for (const address of end.addresses) {
      // An IPv6 address cannot be used until duplicate address detection is over, a second later.
      const flags = address.includes(':') ? ['nodad'] : [];
      run([...ip, 'address', 'add', address, 'dev', end.interface, ...flags]);
    }
    run([...ip, 'link', 'set', end.interface, 'up']);
  }
}

/** Ends all processes of a network namespace by SIGKILL. @param name as `ip netns` knows it */
export function killAllIn(name: string): void {
  for (const pid of run(['ip', 'netns', 'pids', name]).split('\n').filter(Boolean)) kill(Number(pid));
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It may have ended by itself meanwhile: that is what was wanted.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
