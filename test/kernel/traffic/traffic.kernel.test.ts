import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listOf } from '../../../scripts/generate-services.ts';
import { describeWithIpvs, isEmulated } from '../probe.ts';
import { agrees, describeExpectation, describeOutcomes } from './expectation.ts';
import { expectedByRule } from './expected-by-rule.ts';
import { cellTracer } from './expected-by-trace.ts';
import { planLab } from './lab-plan.ts';
import { type Cell, MATRIX, sample } from './matrix.ts';
import { applySvcplane } from './program.ts';
import { type CellResult, runCells, serveEndpoints } from './run-cells.ts';
import { objectsOf, ROUTES } from './services.ts';
import { Sockets } from './sockets.ts';
import { createLab, type Lab } from './topology.ts';

/** A second is longer where the processor is emulated. */
const SLOWNESS = isEmulated ? 10 : 1;
const TIMEOUT_MS = 4000 * SLOWNESS;
const REFUSED_WITHIN_MS = 1000 * SLOWNESS;

const whole = !isEmulated || process.env.SVCPLANE_TRAFFIC === 'all';
const CELLS: readonly Cell[] = whole ? MATRIX : sample(MATRIX);
const SHOWN = 20;

/** The first of them; all are kept for scripts/lab --out. @param cells about which there was something to say */
function shown(name: string, cells: readonly unknown[], disagreements: readonly string[]): readonly string[] {
  const directory = process.env.SVCPLANE_LAB_OUT;
  if (directory !== undefined)
    writeFileSync(join(directory, `traffic-${name}.txt`), disagreements.join('\n'));
  console.log(`traffic: ${name}: ${cells.length - disagreements.length} of ${cells.length} cells agree`);
  return disagreements.slice(0, SHOWN);
}

describe('traffic matrix', () => {
  it('sample() has every value of every dimension, and 600 cells', () => {
    const values = (cells: readonly Cell[]) =>
      (
        ['client', 'frontend', 'external', 'internal', 'endpoints', 'family', 'protocol', 'affinity'] as const
      ).map((dimension) => new Set(cells.map((cell) => cell[dimension])));
    const some = sample(MATRIX);
    expect(values(some)).toEqual(values(MATRIX));
    expect(some.length).toBeGreaterThanOrEqual(600);
  });

  it('the tracer predicts of every cell what the rules of Kubernetes say', () => {
    const lab = planLab();
    const trace = cellTracer(lab);
    const wrong = CELLS.flatMap((cell) => {
      const { expectation, steps } = trace(cell);
      const [traced, ruled] = [expectation, expectedByRule(lab, cell)].map(describeExpectation);
      return traced === ruled ? [] : [[`${cell.id}: ${traced}, not ${ruled}`, ...steps].join('\n  ')];
    });
    expect(shown('tracer with rules', CELLS, wrong)).toEqual([]);
  });
});

describeWithIpvs('traffic', () => {
  let lab: Lab;
  let sockets: Sockets;
  let results: readonly CellResult[];

  beforeAll(async () => {
    lab = createLab({ routes: ROUTES });
    sockets = new Sockets();
    const manifest = join(lab.directory, 'manifest.json');
    writeFileSync(manifest, JSON.stringify(listOf(objectsOf(lab))));
    for (const node of lab.nodes) applySvcplane(lab, node, manifest);
    await serveEndpoints(lab, sockets, TIMEOUT_MS);
    const startedMs = performance.now();
    const first = await runCells(lab, sockets, CELLS, { timeoutMs: TIMEOUT_MS });
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    console.log(`traffic: ${CELLS.length} of ${MATRIX.length} cells ran in ${seconds} s`);
    results = await withCollisionsAgain(first);
  }, 1_800_000);

  afterAll(() => {
    sockets?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  /**
   * Masquerade takes a port at random. Where the same address has come with that port through another node's virtual
   * server to the same endpoint, that node's IPVS takes the answer for its own: so it is with IPVS everywhere. With
   * other ports the cell must be right.
   */
  async function withCollisionsAgain(first: readonly CellResult[]): Promise<readonly CellResult[]> {
    const lost = first.filter(
      ({ cell, outcomes }) =>
        outcomes.some(({ kind }) => kind === 'timeout') && !agrees(expectedByRule(lab, cell), outcomes),
    );
    console.log(`traffic: ${lost.length} cells asked again, for an answer was lost`);
    expect(lost.length).toBeLessThan(Math.max(3, CELLS.length / 500));
    const cells = lost.map(({ cell }) => cell);
    const again = await runCells(lab, sockets, cells, { timeoutMs: TIMEOUT_MS, concurrency: 16 });
    return [...first.filter((result) => !lost.includes(result)), ...again];
  }

  it('every cell reaches the servers that the rules of Kubernetes give it, from the right address', () => {
    const wrong = results.flatMap(({ cell, outcomes }) => {
      const expected = expectedByRule(lab, cell);
      if (agrees(expected, outcomes)) return [];
      return [`${cell.id}: ${describeOutcomes(outcomes)}, not ${describeExpectation(expected)}`];
    });
    expect(shown('kernel with rules', results, wrong)).toEqual([]);
  });

  it('every cell is as the tracer predicts', () => {
    const trace = cellTracer(lab);
    const wrong = results.flatMap(({ cell, outcomes }) => {
      const { expectation, steps } = trace(cell);
      if (agrees(expectation, outcomes)) return [];
      const headline = `${cell.id}: ${describeOutcomes(outcomes)}, not ${describeExpectation(expectation)}`;
      return [[headline, ...steps].join('\n  ')];
    });
    expect(shown('kernel with tracer', results, wrong)).toEqual([]);
  });

  it(`every refusal comes within ${REFUSED_WITHIN_MS} ms`, async () => {
    const late = lateOf(results);
    // A machine that stood still for a second is nobody's fault: those are asked once more, a few at a time.
    const again = lateOf(await runCells(lab, sockets, late, { timeoutMs: TIMEOUT_MS, concurrency: 16 }));
    const ids = again.map(({ id }) => id);
    expect(shown('refusals in time', results, ids)).toEqual([]);
  });

  const lateOf = (of: readonly CellResult[]): readonly Cell[] =>
    of
      .filter(({ outcomes }) =>
        outcomes.some((outcome) => outcome.kind === 'refused' && outcome.afterMs > REFUSED_WITHIN_MS),
      )
      .map(({ cell }) => cell);
});
