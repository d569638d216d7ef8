/** What became of a transaction. */
export type NftOutcome =
  | { readonly outcome: 'ok' }
  | {
      /** Nothing was changed, but see `unknown`. */
      readonly outcome: 'refused';
      /**
       * The errno's name: `ENOENT` no such set or element, `EEXIST` created before, `EPERM` no privilege or another
       * process owns the table, `EBUSY`, `EOPNOTSUPP`, …; `EINVAL` also for commands that are wrong in themselves.
       * `unknown` if no errno was told: then only a listing can tell whether something was changed.
       */
      readonly code: string;
      /** One line for people. */
      readonly message: string;
    };

/** The nftables of one network namespace. */
export interface NftablesKernel {
  /**
   * Reads a table of the family inet with all that is in it. It costs a second at 50,000 elements.
   * @returns the parsed JSON, for the caller to check; undefined if there is no such table
   * @throws NftablesError if the kernel has no nf_tables, or the caller may not read it, or the library can't print it
   * @see libnftables-json(5)
   */
  list(table: string, signal: AbortSignal): Promise<unknown | undefined>;
  /**
   * Executes commands of nft(8) as one transaction: all of them or none. The signal counts until they are sent.
   * @throws if the channel to the kernel is broken
   */
  run(commands: string, signal: AbortSignal): Promise<NftOutcome>;
  /**
   * Tells whether somebody has written meanwhile: a number of 32 bits, never 0, that each transaction that changes
   * something makes one more, in whatever table. undefined where the kernel does not tell.
   * @throws if the channel to the kernel is broken
   */
  generation(): number | undefined;
}
