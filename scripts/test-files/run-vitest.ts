/**
 * Runs vitest with one configuration, prints as vitest does, and leaves what happened in a file for summarize.ts.
 *
 * usage: node scripts/test-files/run-vitest.ts NAME CONFIG RESULT.json REPORTER [FILTER | !GLOB...]
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

const nameOf = ({ moduleId }: TestModule) => relative(process.cwd(), moduleId);

function summarize(
  run: string,
  modules: readonly TestModule[],
  unhandledErrors: number,
  isWhole: boolean,
): RunResult {
  const tests = modules.flatMap((module) => [...module.children.allTests()]);
  const inState = (state: string) => tests.filter((test) => test.result().state === state);
  const skipped = inState('skipped').map(
    (test): SkippedTest => ({ test: fullNameOf(test), reason: reasonOf(test) }),
  );
  // A file that cannot be loaded, a hook that throws, a test that never ended: each is a failure, though no test's.
  const unloaded = modules.filter((module) => module.state() === 'failed' && !hasFailedTest(module));
  const broken = [...inState('failed'), ...inState('pending')];
  const failures = [
    ...broken.map(fullNameOf),
    ...unloaded.map((module) => `${nameOf(module)}: not loaded, or a hook threw`),
    ...(unhandledErrors > 0 ? [`${unhandledErrors} unhandled errors`] : []),
  ];
  const failed = broken.length + unloaded.length + unhandledErrors;
  const files = modules.map((module) => ({
    file: nameOf(module),
    seconds: Math.round(module.diagnostic().duration / 1000),
  }));
  return { run, passed: inState('passed').length, failed, skipped, failures, files, isWhole };
}

function fullNameOf(test: TestCase): string {
  return `${nameOf(test.module)} > ${test.fullName}`;
}

function hasFailedTest(module: TestModule): boolean {
  return !module.children.allTests('failed').next().done;
}

const [run, config, file, reporter, ...selection] = process.argv.slice(2);
if (run === undefined || config === undefined || file === undefined || reporter === undefined) {
  throw new Error('usage: run-vitest.ts NAME CONFIG RESULT.json REPORTER [FILTER | !GLOB...]');
}
let result: RunResult | undefined;
const ended: TestModule[] = [];
const observer: Reporter = {
  // For a run that is stopped: what is known by then.
  onTestModuleEnd: (module) => {
    ended.push(module);
    writeFileSync(file, JSON.stringify(summarize(run, ended, 0, false)));
  },
  onTestRunEnd: (modules, errors) => {
    result = summarize(run, modules, errors.length, true);
  },
};
const isExclusion = (text: string) => text.startsWith('!');
const exclude = selection.filter(isExclusion).map((text) => text.slice(1));
const vitest = await startVitest(
  selection.filter((text) => !isExclusion(text)),
  { config, watch: false, reporters: [reporter, observer], ...(exclude.length > 0 ? { exclude } : {}) },
);
await vitest.close();
// Only now: a run that breaks down while it ends must not look like one that went well.
if (result) writeFileSync(file, JSON.stringify(result));
