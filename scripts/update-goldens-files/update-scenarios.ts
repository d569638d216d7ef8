/** usage: node update-scenarios.ts [FILE...]: see scripts/update-goldens --help */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseScenario, renderScenario, type Step } from '../../test/scenarios/scenario-file.ts';
import { ScenarioNode } from '../../test/scenarios/scenario-node.ts';

const CASES = join('test', 'scenarios', 'cases');

async function updated(text: string): Promise<string> {
  const { prose, steps } = parseScenario(text);
  const node = new ScenarioNode({ first: 'Services', faultSeed: null, restarts: false });
  const seen: Step[] = [];
  for (const step of steps) {
    for (const action of step.actions) await node.act(action);
    seen.push({ ...step, expected: await node.sync() });
  }
  return renderScenario({ prose, steps: seen });
}

const named = process.argv.slice(2);
const all = () =>
  readdirSync(CASES, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.txt'))
    .map((file) => join(CASES, file));
for (const file of named.length > 0 ? named : all()) {
  const text = readFileSync(file, 'utf8');
  const after = await updated(text);
  if (after === text) continue;
  writeFileSync(file, after);
  console.log(`rewritten: ${file}`);
}
