import type { NftablesKernel } from '../../../src/dataplane/nftables/kernel.ts';

/** Counts how often tables are listed, and leaves the rest to another kernel. */
export class CountingKernel implements NftablesKernel {
  listings = 0;
  readonly #kernel: NftablesKernel;

  constructor(kernel: NftablesKernel) {
    this.#kernel = kernel;
  }

  list(...asked: Parameters<NftablesKernel['list']>): ReturnType<NftablesKernel['list']> {
    this.listings += 1;
    return this.#kernel.list(...asked);
  }

  run(...asked: Parameters<NftablesKernel['run']>): ReturnType<NftablesKernel['run']> {
    return this.#kernel.run(...asked);
  }

  generation(): number | undefined {
    return this.#kernel.generation();
  }
}
