/** A test that did not run, and why. */
export interface SkippedTest {
  readonly test: string;
  readonly reason: string;
}

/** What one run of the tests came to. */
export interface RunResult {
  /** Which run: `unit`, or the kernel and the part of its tests. */
  readonly run: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly SkippedTest[];
  /** Names of what failed; a check is its own. */
  readonly failures?: readonly string[];
  /** How long each file took. */
  readonly files?: readonly { readonly file: string; readonly seconds: number }[];
  /** Whether this is all there was to run: not where the run was stopped. */
  readonly isWhole?: boolean;
}
