import type { Look } from '../dataplane/dataplane.ts';
import type { Seen } from './incremental.ts';
import { GivenWay, pacedLook } from './pace.ts';

/** So many cheap audits lie between two that derive and read everything anew: trust in what is remembered ends. */
const CHEAP_AUDITS = 99;

/** A step that has given way so often in a row does no more: no stream of changes holds an audit off. */
const MOST_GIVEN_WAY = 5;

/** What is looked at step by step; see IncrementalSync.look. */
export type StepLook = (step: number, look: Look) => Promise<Seen>;

/** Cheap audits, one after the other, each in steps between which changes are made. */
export class PacedAudit {
  #audits = 0;
  /** Of the audit that is under way. */
  #step = 0;
  #givenWay = 0;

  /** After a look at everything. */
  reset(): void {
    this.#audits = 0;
    this.#step = 0;
  }

  /**
   * The next step, or the same one again where it has given way.
   * @param asked aborted when there is something else to do
   * @returns what it has seen; `unknown` is for a look at everything to find out
   * @throws as `look`
   */
  async next(look: StepLook, signal: AbortSignal, asked: AbortSignal): Promise<Seen> {
    if (this.#audits >= CHEAP_AUDITS) return 'unknown';
    const givesWay = this.#givenWay < MOST_GIVEN_WAY;
    let seen: Seen;
    try {
      seen = await look(this.#step, pacedLook(signal, givesWay ? asked : null));
    } catch (error) {
      if (!(error instanceof GivenWay)) throw error;
      this.#givenWay += 1;
      return 'asLeft';
    }
    this.#givenWay = 0;
    this.#step = seen === 'asLeft' ? this.#step + 1 : 0;
    if (seen === 'allAsLeft') this.#audits += 1;
    return seen;
  }
}
