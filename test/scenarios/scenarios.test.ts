import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseScenario, renderScenario } from './scenario-file.ts';
import { type Circumstances, ScenarioNode } from './scenario-node.ts';

const CASES = join(import.meta.dirname, 'cases');
const FAULT_SEEDS = [null, 1, 2, 3, 4, 5];

const RUNS: readonly Circumstances[] = FAULT_SEEDS.flatMap((faultSeed) => [
  { first: 'Services', faultSeed, restarts: false },
  { first: 'slices', faultSeed, restarts: false },
  { first: 'Services', faultSeed, restarts: true },
]);

function nameOf({ first, faultSeed, restarts }: Circumstances): string {
  const faults = faultSeed === null ? 'no faults' : `10 % faults of seed ${faultSeed}`;
  return `${first} first, ${restarts ? 'a process per sync' : 'one process'}, ${faults}`;
}

const files = readdirSync(CASES, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.txt'),
);

describe.each(files.sort())('%s', (file) => {
  const text = readFileSync(join(CASES, file), 'utf8');
  const scenario = parseScenario(text);

  it('is written as scripts/update-goldens writes it', () => {
    expect(renderScenario(scenario)).toBe(text);
  });

  it.each(RUNS.map((run) => ({ name: nameOf(run), run })))('$name', async ({ run }) => {
    const node = new ScenarioNode(run);
    for (const { title, actions, expected } of scenario.steps) {
      for (const action of actions) await node.act(action);
      expect(await node.sync(), title).toEqual(expected);
    }
  });
});
