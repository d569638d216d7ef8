import type { DesiredState } from '../model/desired-state.ts';
import type { VirtualServer, VirtualServerKey } from '../model/virtual-server.ts';

/**
 * The virtual servers that differ between two states of the same Services.
 * @returns null where more differs than what is behind frontends: then they may have another place, or other marks
 */
export function patchOf(
  before: DesiredState,
  after: DesiredState,
): ReadonlyMap<VirtualServerKey, VirtualServer> | null {
  if (!hasSameKeys(before.virtualServers, after.virtualServers)) return null;
  if (!hasSameKeys(before.insideMarks, after.insideMarks)) return null;
  for (const [key, mark] of before.insideMarks) if (after.insideMarks.get(key) !== mark) return null;
  const changed = [...after.virtualServers].filter(
    ([key, server]) => before.virtualServers.get(key) !== server,
  );
  return new Map(changed);
}

/** A whole state with the virtual servers of a patch, each in the place of its predecessor. */
export function patchedBy(
  desired: DesiredState,
  patch: ReadonlyMap<VirtualServerKey, VirtualServer>,
): DesiredState {
  const virtualServers = new Map(desired.virtualServers);
  for (const [key, virtualServer] of patch) virtualServers.set(key, virtualServer);
  return { ...desired, virtualServers };
}

function hasSameKeys(a: ReadonlyMap<unknown, unknown>, b: ReadonlyMap<unknown, unknown>): boolean {
  return a.size === b.size && [...a.keys()].every((key) => b.has(key));
}
