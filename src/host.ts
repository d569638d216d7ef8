import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { dirname } from 'node:path';
import type { Ability } from './cli/doctor.ts';

/**
 * Whether a kernel module is there to be loaded or built in, by the lists that depmod writes.
 * `unknown` where /lib/modules of this kernel is not visible, as in a container.
 */
export function moduleAbility(name: string): Ability {
  const directory = `/lib/modules/${release()}`;
  if (existsSync(`/sys/module/${name}`)) return { outcome: 'supported' };
  try {
    const lists = ['modules.dep', 'modules.builtin'].map((file) =>
      readFileSync(`${directory}/${file}`, 'utf8'),
    );
    const listed = new RegExp(`/${name}\\.ko(\\.[a-z]+)?\\b`, 'm');
    if (lists.some((list) => listed.test(list))) return { outcome: 'supported' };
    return { outcome: 'unsupported', reason: `no module ${name} in ${directory}` };
  } catch {
    // Not there or not readable: either way these lists can't tell.
    return { outcome: 'unknown', reason: `${directory} is not readable here, so only apply will tell` };
  }
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
