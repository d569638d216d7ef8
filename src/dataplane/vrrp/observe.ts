import type { Keepalived } from './kernel.ts';
import { type InstanceName, type InstanceRow, parseInstanceName, type VrrpRows } from './rows.ts';
import { LOADED_FILE, MAIN_FILE, trackFile } from './text.ts';

const CONFIG = /^(.+)\.conf$/;

/** Reads what keepalived is told, and whether it does it. */
export async function observe(keepalived: Keepalived, signal: AbortSignal): Promise<VrrpRows> {
  const files = await keepalived.files();
  signal.throwIfAborted();
  const instances = new Map<InstanceName, InstanceRow>();
  for (const [file, config] of files) {
    const name = parseInstanceName(CONFIG.exec(file)?.[1] ?? '');
    if (name === undefined) continue;
    const isAble = files.get(trackFile(name))?.trim() === '0';
    instances.set(name, { name, config, isAble, reason: '' });
  }
  // A file may have been written, and its writer have died before keepalived was told.
  const isRunning = files.has(LOADED_FILE) && (await keepalived.isRunning());
  return { main: files.get(MAIN_FILE) ?? null, instances, isRunning };
}
