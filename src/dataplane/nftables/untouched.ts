import type { NftablesKernel, NftOutcome } from './kernel.ts';

/**
 * Whether nobody else has written to nftables since a listing of our table was as wanted, or we made it. It saves the
 * next one, which is the dearest look of all at the kernel: the kernel prints every element, and the library parses them.
 */
export class Untouched {
  readonly #kernel: Pick<NftablesKernel, 'generation'>;
  /** At which our table was, or has been made, as wanted. */
  #generation: number | undefined;

  constructor(kernel: Pick<NftablesKernel, 'generation'>) {
    this.#kernel = kernel;
  }

  /** @throws as the kernel */
  isSo(): boolean {
    return this.#generation !== undefined && this.#generation === this.#kernel.generation();
  }

  /** By a listing. What is written while it goes on counts as written after it. @throws as it and the kernel */
  async look(isAsWanted: () => Promise<boolean>): Promise<boolean> {
    const generation = this.#kernel.generation();
    this.#generation = undefined;
    const is = await isAsWanted();
    if (is) this.#generation = generation;
    return is;
  }

  /**
   * Around one transaction of ours.
   * @param isWhole whether it makes the table anew, so that what there was does not matter
   * @throws as it and the kernel
   */
  async write(isWhole: boolean, run: () => Promise<NftOutcome>): Promise<NftOutcome> {
    const settled = this.#generation;
    this.#generation = undefined;
    // Asked once: who writes between two questions would be passed over.
    const before = isWhole || settled !== undefined ? this.#kernel.generation() : undefined;
    const outcome = await run();
    const isKnown = before !== undefined && (isWhole || before === settled);
    if (!isKnown || outcome.outcome !== 'ok') return outcome;
    const after = this.#kernel.generation();
    // One that says what is so already counts for none.
    if (after === before || after === next(before)) this.#generation = after;
    return outcome;
  }
}

/** 0 is left out. */
function next(generation: number): number {
  return (generation + 1) >>> 0 || 1;
}
