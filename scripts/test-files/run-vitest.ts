/**
 * Runs vitest with one configuration, prints as vitest does, and leaves what happened in a file for summarize.ts.
 *
 * usage: node scripts/test-files/run-vitest.ts NAME CONFIG RESULT.json REPORTER
 */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { type Reporter, startVitest, type TestCase, type TestModule } from 'vitest/node';
import type { RunResult, SkippedTest } from './result.ts';

function reasonOf(test: TestCase): string {
  const result = test.result();
  const { skipReason } = test.meta();
  if (result.state === 'skipped' && result.note) return result.note;
  return skipReason ?? 'no reason given';
}

function summarize(run: string, modules: readonly TestModule[], unhandledErrors: number): RunResult {
  const tests = modules.flatMap((module) => [...module.children.allTests()]);
  const inState = (state: string) => tests.filter((test) => test.result().state === state);
  const skipped = inState('skipped').map(
    (test): SkippedTest => ({
      test: `${relative(process.cwd(), test.module.moduleId)} > ${test.fullName}`,
      reason: reasonOf(test),
    }),
  );
  // A file that cannot be loaded, a hook that throws, a test that never ended: each is a failure, though no test's.
  const unloaded = modules.filter((module) => module.state() === 'failed' && !hasFailedTest(module)).length;
  const failed = inState('failed').length + inState('pending').length + unloaded + unhandledErrors;
  return { run, passed: inState('passed').length, failed, skipped };
}

function hasFailedTest(module: TestModule): boolean {
  return !module.children.allTests('failed').next().done;
}

const [run, config, file, reporter] = process.argv.slice(2);
if (run === undefined || config === undefined || file === undefined || reporter === undefined) {
  throw new Error('usage: run-vitest.ts NAME CONFIG RESULT.json REPORTER');
}
let result: RunResult | undefined;
const observer: Reporter = {
  onTestRunEnd: (modules, errors) => {
    result = summarize(run, modules, errors.length);
  },
};
const vitest = await startVitest([], { config, watch: false, reporters: [reporter, observer] });
await vitest.close();
// Only now: a run that breaks down while it ends must not look like one that went well.
if (result) writeFileSync(file, JSON.stringify(result));
