import type { DerivedService } from './derive.ts';
import type { ServiceResources, Transition } from './service-resources.ts';

export interface Neighbourhood {
  /** As they were. */
  readonly services: ReadonlyMap<string, DerivedService>;
  /** Which know of all transitions. */
  readonly resources: ServiceResources;
  /** So many are looked at together. */
  readonly most: number;
}

/**
 * Adds to Services that change all others without which it can't be told what becomes of them, as transitions without a
 * difference.
 * @returns false if there are too many
 */
export function addNeighbours(
  transitions: Map<string, Transition>,
  { services, resources, most }: Neighbourhood,
): boolean {
  const addUnchanged = (name: string) => {
    const unchanged = services.get(name);
    if (!transitions.has(name)) transitions.set(name, { before: unchanged, after: unchanged });
  };
  // Those that are as they were are met, too: alone they would seem to have what a rival has.
  const met = new Set(transitions.keys());
  const beside = new Set<string>();
  // What is added while a set is walked is walked, too.
  for (const name of met) {
    const transition = transitions.get(name);
    if (transitions.size > most) return false;
    if (!transition) continue;
    for (const neighbour of resources.neighbours(name, transition)) {
      addUnchanged(neighbour.name);
      (neighbour.isRival ? met : beside).add(neighbour.name);
    }
  }
  // Nothing becomes of these, but without their rivals they would seem to have more than they have.
  for (const name of beside) {
    const unchanged = services.get(name);
    if (transitions.size > most) return false;
    if (!unchanged || met.has(name)) continue;
    for (const rival of resources.rivals(unchanged)) {
      addUnchanged(rival);
      beside.add(rival);
    }
  }
  return transitions.size <= most;
}
