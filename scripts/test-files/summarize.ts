/**
 * Sums up the runs of scripts/test: the files that took longest, the skipped tests with their reasons, what failed, then
 * one line `N passed, N failed, N skipped`. Exits with 1 if a test failed, a run did not come to its end, or nothing ran.
 *
 * usage: node scripts/test-files/summarize.ts DIRECTORY RUN...     (DIRECTORY/RUN.json is a RunResult)
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunResult } from './result.ts';

function read(directory: string, run: string): RunResult {
  const file = join(directory, `${run}.json`);
  if (!existsSync(file)) return stopped({ run, passed: 0, failed: 0, skipped: [] });
  const result: RunResult = JSON.parse(readFileSync(file, 'utf8'));
  return result.isWhole === false ? stopped(result) : result;
}

/** What did not run is a failure, too. */
function stopped(result: RunResult): RunResult {
  const { run, failed, failures = [], files = [] } = result;
  const why = `${run}: stopped before its end, after ${files.at(-1)?.file ?? 'nothing'}; counted as one failure`;
  return { ...result, failed: failed + 1, failures: [...failures, why] };
}

const LONGEST = 20;

const [directory = '', ...runs] = process.argv.slice(2);
const results = runs.map((run) => read(directory, run));

console.log('\nRuns:');
for (const { run, passed, failed, skipped } of results) {
  console.log(`  ${run}: ${passed} passed, ${failed} failed, ${skipped.length} skipped`);
}
const files = results.flatMap(({ run, files = [] }) => files.map((file) => ({ run, ...file })));
const longest = files.toSorted((a, b) => b.seconds - a.seconds).slice(0, LONGEST);
if (longest.length > 0) console.log('Took longest:');
for (const { run, file, seconds } of longest) console.log(`  ${run}: ${file}: ${seconds} s`);

const skipped = results.flatMap(({ run, skipped }) => skipped.map((test) => ({ run, ...test })));
if (skipped.length > 0) console.log('Skipped:');
for (const { run, test, reason } of skipped) console.log(`  ${run}: ${test}: ${reason}`);
const failures = results.flatMap(({ run, failed, failures = [run] }) =>
  failed > 0 ? failures.map((name) => ({ run, name })) : [],
);
if (failures.length > 0) console.log('Failed:');
for (const { run, name } of failures) console.log(`  ${run}: ${name}`);

const passed = results.reduce((sum, result) => sum + result.passed, 0);
const failed = results.reduce((sum, result) => sum + result.failed, 0);
console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
