import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listOf } from '../../../scripts/generate-services.ts';
import { describeWithIpvs } from '../probe.ts';
import { agrees, describeExpectation, describeOutcomes } from './expectation.ts';
import { expectedByRule, isInside } from './expected-by-rule.ts';
import { cellTracer } from './expected-by-trace.ts';
import { planLab } from './lab-plan.ts';
import { type Cell, MATRIX, sample } from './matrix.ts';
import { applySvcplane } from './program.ts';
import { type CellResult, runCells, serveEndpoints } from './run-cells.ts';
import { objectsOf, ROUTES } from './services.ts';
import { Sockets } from './sockets.ts';
import { createLab, type Lab } from './topology.ts';

/** A second is longer where the processor is emulated. */
const emulated = process.env.SVCPLANE_LAB_KERNEL === 'qemu';
const SLOWNESS = emulated ? 10 : 1;
const TIMEOUT_MS = 4000 * SLOWNESS;
const REFUSED_WITHIN_MS = 1000 * SLOWNESS;

const whole = !emulated || process.env.SVCPLANE_TRAFFIC === 'all';
const CELLS: readonly Cell[] = whole ? MATRIX : sample(MATRIX);
const SHOWN = 20;

/** Where svcplane is wrong and known to be: run, but nothing is asserted of it until it is right. */
const FAULTS: Readonly<Record<string, (cell: Cell) => boolean>> = {
  // ip_vs_sched_persist(): a firewall mark has port 0, which no client asks for, so that the client's port stays.
  'affinity leads inside clients to the port of the frontend on a real server': (cell) =>
    cell.affinity &&
    cell.external === 'Local' &&
    cell.frontend !== 'ClusterIP' &&
    cell.endpoints !== 'none' &&
    isInside(planLab(), cell),
};

const isFaulty = (cell: Cell) => Object.values(FAULTS).some((isFault) => isFault(cell));

/**
 * SCTP heeds an ICMP port unreachable only on request (IP_RECVERR), and while connect(2) has the socket not even then:
 * where the network takes no time, its second INIT is refused, 3 s later.
 */
const PATIENCE_MS = { TCP: 0, UDP: 0, SCTP: 3000 } as const;

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
    const right = CELLS.filter((cell) => !isFaulty(cell));
    const wrong = right.flatMap((cell) => {
      const { expectation, steps } = trace(cell);
      const [traced, ruled] = [expectation, expectedByRule(lab, cell)].map(describeExpectation);
      return traced === ruled || isFaulty(cell)
        ? []
        : [[`${cell.id}: ${traced}, not ${ruled}`, ...steps].join('\n  ')];
    });
    expect(shown('tracer with rules', right, wrong)).toEqual([]);
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
    results = await runCells(lab, sockets, CELLS, { timeoutMs: TIMEOUT_MS });
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    console.log(`traffic: ${CELLS.length} of ${MATRIX.length} cells ran in ${seconds} s`);
    for (const [fault, isFault] of Object.entries(FAULTS)) {
      console.log(`traffic: known fault in ${CELLS.filter(isFault).length} cells: ${fault}`);
    }
  }, 1_800_000);

  afterAll(() => {
    sockets?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  it('every cell reaches the servers that the rules of Kubernetes give it, from the right address', () => {
    const right = results.filter(({ cell }) => !isFaulty(cell));
    const wrong = right.flatMap(({ cell, outcomes }) => {
      const expected = expectedByRule(lab, cell);
      if (agrees(expected, outcomes)) return [];
      return [`${cell.id}: ${describeOutcomes(outcomes)}, not ${describeExpectation(expected)}`];
    });
    expect(shown('kernel with rules', right, wrong)).toEqual([]);
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
      .filter(({ cell, outcomes }) => {
        const withinMs = REFUSED_WITHIN_MS + PATIENCE_MS[cell.protocol];
        return outcomes.some((outcome) => outcome.kind === 'refused' && outcome.afterMs > withinMs);
      })
      .map(({ cell }) => cell);
});
