/**
 * Sums up the runs of scripts/test: the skipped tests with their reasons, then one line `N passed, N failed, N skipped`.
 * Exits with 1 if a test failed, a run left no result, or nothing ran.
 *
 * usage: node scripts/test-files/summarize.ts DIRECTORY RUN...     (DIRECTORY/RUN.json is a RunResult)
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunResult } from './result.ts';

function read(directory: string, run: string): RunResult {
  const file = join(directory, `${run}.json`);
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8'));
  console.log(`${run}: ended without a result, counted as one failure`);
  return { run, passed: 0, failed: 1, skipped: [] };
}

const [directory = '', ...runs] = process.argv.slice(2);
const results = runs.map((run) => read(directory, run));

console.log('\nRuns:');
for (const { run, passed, failed, skipped } of results) {
  console.log(`  ${run}: ${passed} passed, ${failed} failed, ${skipped.length} skipped`);
}
const skipped = results.flatMap(({ run, skipped }) => skipped.map((test) => ({ run, ...test })));
if (skipped.length > 0) console.log('Skipped:');
for (const { run, test, reason } of skipped) console.log(`  ${run}: ${test}: ${reason}`);

const passed = results.reduce((sum, result) => sum + result.passed, 0);
const failed = results.reduce((sum, result) => sum + result.failed, 0);
console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
