import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import type { Ability } from './cli/finding.ts';

/**
 * Whether a kernel module is there to be loaded or built in, by the lists that depmod writes.
 * `unknown` where /lib/modules of this kernel is not visible, as in a container.
 */
export function moduleAbility(name: string): Ability {
  if (existsSync(`/sys/module/${name}`)) return { outcome: 'supported' };
  const directory = `/lib/modules/${release()}`;
  const listed = listedModules(directory);
  if (!listed)
    return { outcome: 'unknown', reason: `${directory} is not readable here, so only apply will tell` };
  return listed.has(name)
    ? { outcome: 'supported' }
    : { outcome: 'unsupported', reason: `no module ${name} in ${directory}` };
}

/** Those of `names` that this kernel can't have; none where that can't be told. */
export function missingModules(names: readonly string[]): readonly string[] {
  const listed = listedModules(`/lib/modules/${release()}`);
  return listed ? names.filter((name) => !listed.has(name) && !existsSync(`/sys/module/${name}`)) : [];
}

/**
 * Names of all modules that can be loaded or are built in; undefined if the lists can't be read.
 * @param directory where depmod has written modules.dep and modules.builtin
 */
export function listedModules(directory: string): ReadonlySet<string> | undefined {
  try {
    const lists = ['modules.dep', 'modules.builtin'].map((file) =>
      readFileSync(`${directory}/${file}`, 'utf8'),
    );
    return new Set(
      lists.flatMap((list) => [...list.matchAll(/^\S*\/([^/\s]+?)\.ko\b/gm)].map(([, name]) => name ?? '')),
    );
  } catch {
    // Not there or not readable: either way nothing is known.
    return undefined;
  }
}

/**
 * Bridge ports, but those of real devices, to which nothing is sent back that came from them, where iptables sees what
 * a bridge passes on: a pod behind one can't reach itself through a Service.
 * @param links /sys/class/net
 * @param sysctls /proc/sys/net/bridge
 */
export function portsWithoutHairpin(
  links = '/sys/class/net',
  sysctls = '/proc/sys/net/bridge',
): readonly string[] {
  if (readIfThere(`${sysctls}/bridge-nf-call-iptables`) !== '1' || !existsSync(links)) return [];
  return readdirSync(links)
    .filter((name) => readIfThere(`${links}/${name}/brport/hairpin_mode`) === '0')
    .filter((name) => !existsSync(`${links}/${name}/device`))
    .sort();
}

function readIfThere(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

/** Whether files can be made in a directory that may have to be made itself. */
export function directoryAbility(path: string): Ability {
  let existing = path;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    accessSync(existing, constants.W_OK | constants.X_OK);
    return { outcome: 'supported' };
  } catch (error) {
    return { outcome: 'unsupported', reason: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * Whether what a process has started ends with it, as all else in a container does with the container's first process. In a
 * Pod that one may be seen under any id, if the Pod shares those of the host.
 */
export function endsWith({ pid, env }: Pick<NodeJS.Process, 'pid' | 'env'>): boolean {
  return pid === 1 || env.KUBERNETES_SERVICE_HOST !== undefined;
}

/** @throws Error of one line that names the file */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new Error(`Cannot read ${path}: ${code}`, { cause: error });
  }
}

/** Waits for a slow reader, and ends quietly when the reader has gone, as of `| head`. */
export function writeOut(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (error && 'code' in error && error.code === 'EPIPE') process.exit(0);
      else if (error) reject(error);
      else resolve();
    });
  });
}

/** Of this package. */
export function version(): string {
  // Sources and what is built of them both lie one level below.
  const place = join(import.meta.dirname, '../package.json');
  const manifest: unknown = existsSync(place) && JSON.parse(readFileSync(place, 'utf8'));
  return typeof manifest === 'object' && manifest && 'version' in manifest
    ? String(manifest.version)
    : 'unknown';
}
