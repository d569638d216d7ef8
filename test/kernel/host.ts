import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SYSCTL_NAMES } from '../../src/dataplane/ipvs/sysctls.ts';
import { createNamespace, type NetworkNamespace } from './probe.ts';

/**
 * For tests that start svcplane often: an emulated processor takes seconds for each, a busy one tens of them. They
 * must not run side by side: Linux 6.1 resumes a dump of IPVS by its position in a table that all network namespaces
 * share, so that changes in one make a dump in another, that of `ipvsadm` too, skip rows without a sign.
 */
export const UNHURRIED = { timeout: 600_000 } as const;

const SVCPLANE = join(import.meta.dirname, '../../scripts/svcplane');

/** How a process ended. */
export interface Ended {
  /** null if a signal ended it */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process of svcplane that was started and may still run. */
export interface Started {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
}

export interface RunOptions {
  /** Put before svcplane's own command line: strace, setpriv, … */
  readonly under?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** All that svcplane may change, as other programs show it. */
export interface KernelState {
  /** As `ipvsadm -Sn` prints it, sorted. */
  readonly table: readonly string[];
  /** `link address/length`, and each link by itself; sorted. */
  readonly addresses: readonly string[];
  /** `name=value` */
  readonly sysctls: readonly string[];
  /** nft list ruleset */
  readonly rules: string;
}

/** A host: a network namespace, and a directory for the files and the state of the svcplane that runs on it. */
export interface Host extends Disposable {
  readonly namespace: NetworkNamespace;
  readonly directory: string;
  readonly ledger: string;
  /** Runs another program on it, as `run` of probe.ts. */
  run(command: readonly string[], input?: string): string;
  /** Writes a file. @returns its path */
  file(name: string, content: string): string;
  start(args: readonly string[], options?: RunOptions): Started;
  /** Runs svcplane, as a process of its own, to its end. */
  svcplane(args: readonly string[], options?: RunOptions): Promise<Ended>;
  state(): KernelState;
  setSysctl(name: string, value: string): void;
}

/** How svcplane comes into the namespace of its host. `nsenter` leaves it the cgroups and the bpffs of the machine. */
type Entry = 'ip netns exec' | 'nsenter';

/** A host whose sysctls are all other than svcplane wants them. @param label the start of its namespace's name */
export function createHost(label: string, entry: Entry = 'ip netns exec'): Host {
  const namespace = createNamespace(label);
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-host-'));
  // For svcplane as another user.
  chmodSync(directory, 0o755);
  const stateDirectory = join(directory, 'state');
  const fixed = {
    SVCPLANE_STATE_DIRECTORY: stateDirectory,
    SVCPLANE_SOCKET: join(directory, 'svcplane.sock'),
    SVCPLANE_NODE: 'n0',
  };
  const start: Host['start'] = (args, { under = [], env } = {}) => {
    const enter =
      entry === 'nsenter'
        ? ['nsenter', `--net=/run/netns/${namespace.name}`]
        : ['ip', 'netns', 'exec', namespace.name];
    const [file = '', ...command] = [...enter, ...under, SVCPLANE, ...args];
    const process_ = spawn(file, command, { env: { ...process.env, ...fixed, ...env }, stdio: 'pipe' });
    return { process: process_, ended: endOf(process_) };
  };
  const host: Host = {
    namespace,
    directory,
    ledger: join(stateDirectory, 'ledger.json'),
    run: namespace.run,
    file: (name, content) => {
      const path = join(directory, name);
      writeFileSync(path, content);
      return path;
    },
    start,
    svcplane: (args, options) => start(args, options).ended,
    state: () => stateOf(namespace),
    setSysctl: (name, value) => void namespace.run(['sysctl', '-qw', `${name}=${value}`]),
    [Symbol.dispose]: () => {
      namespace[Symbol.dispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  for (const name of SYSCTL_NAMES) host.setSysctl(name, '0');
  return host;
}

function endOf(process: ChildProcess): Promise<Ended> {
  const read = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    process[name]?.setEncoding('utf8').on('data', (text: string) => {
      read[name] += text;
    });
  }
  return new Promise((resolve, reject) => {
    process.once('error', reject);
    process.once('close', (code, signal) => resolve({ code, signal, ...read }));
  });
}

interface ShownLink {
  readonly ifname: string;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

function stateOf(namespace: NetworkNamespace): KernelState {
  const links: ShownLink[] = JSON.parse(namespace.run(['ip', '-j', 'address']));
  const addresses = links.flatMap(({ ifname, addr_info }) => [
    ifname,
    // The kernel itself gives a link that is up one of fe80::/10, when it gets round to it.
    ...addr_info
      .filter(({ local }) => !local.startsWith('fe80:'))
      .map(({ local, prefixlen }) => `${ifname} ${local}/${prefixlen}`),
  ]);
  return {
    table: namespace.run(['ipvsadm', '-Sn']).split('\n').filter(Boolean).sort(),
    addresses: addresses.sort(),
    // Without handles, which a table made again has others of.
    rules: namespace.run(['nft', '-s', 'list', 'ruleset']),
    sysctls: namespace
      .run(['sysctl', ...SYSCTL_NAMES])
      .split('\n')
      .filter(Boolean)
      .map((line) => line.replaceAll(' ', '')),
  };
}
