const NOBODY: readonly string[] = [];

/** Who claims what. Most things have one claimant, which costs no set of its own. */
export class Claimants<Thing> {
  readonly #claimants = new Map<Thing, string | Set<string>>();

  /** Nothing happens if `claimant` claims it already. */
  add(thing: Thing, claimant: string): void {
    const present = this.#claimants.get(thing);
    if (present === undefined) this.#claimants.set(thing, claimant);
    else if (typeof present !== 'string') present.add(claimant);
    else if (present !== claimant) this.#claimants.set(thing, new Set([present, claimant]));
  }

  delete(thing: Thing, claimant: string): void {
    const present = this.#claimants.get(thing);
    if (present === claimant) this.#claimants.delete(thing);
    else if (typeof present === 'object' && present.delete(claimant) && present.size === 0) {
      this.#claimants.delete(thing);
    }
  }

  /** Oldest first. */
  of(thing: Thing): Iterable<string> {
    const present = this.#claimants.get(thing);
    if (present === undefined) return NOBODY;
    return typeof present === 'string' ? [present] : present;
  }

  /** All that somebody claims. */
  things(): Iterable<Thing> {
    return this.#claimants.keys();
  }
}
