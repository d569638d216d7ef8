/** A test that did not run, and why. */
export interface SkippedTest {
  readonly test: string;
  readonly reason: string;
}

/** What one run of the tests came to. */
export interface RunResult {
  /** Which run: `unit`, or the kernel's name. */
  readonly run: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly SkippedTest[];
}
