import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isEmulated } from '../probe.ts';
import { planLab } from '../traffic/lab-plan.ts';
import { type Cell, MATRIX } from '../traffic/matrix.ts';
import { type CellResult, runCells, serveEndpoints } from '../traffic/run-cells.ts';
import { ROUTES } from '../traffic/services.ts';
import { Sockets } from '../traffic/sockets.ts';
import { createLab, type Lab } from '../traffic/topology.ts';
import { type ApiServer, startApiServer } from './api-server.ts';
import { describeWithKube } from './binaries.ts';
import { compareCell, DIFFERENCE_CLASSES } from './compare-classes.ts';
import { ipv4TcpObjects, proxyNode, wireNodeToApi } from './compare-objects.ts';
import { cameAs, describeResults, textsOf } from './compare-results.ts';
import { renderDifferences } from './compare-table.ts';

const PAGE = join(import.meta.dirname, '../../../docs/kube-proxy-differences.md');
const TIMEOUT_MS = 4000;
const SHOWN = 20;

const CELLS = MATRIX.filter(({ family, protocol }) => family === 'IPv4' && protocol === 'TCP');
const COMPARED = CELLS.map((cell) => compareCell(planLab(), cell));
const TABLE = renderDifferences(COMPARED);

const isOfNodeAddress = ({ frontend }: Cell) => frontend === 'externalIP-of-node';

describe('differences from kube-proxy', () => {
  it('compareCell() finds a difference in a cell exactly if a class covers it', () => {
    const wrong = COMPARED.filter(({ ours, theirs, difference }) => {
      const differs = describeResults(ours) !== describeResults(theirs);
      return differs !== (difference !== undefined);
    });
    expect(wrong.map(({ cell }) => cell.id)).toEqual([]);
  });

  it.each(DIFFERENCE_CLASSES)('there is: $name', (each) => {
    expect(COMPARED.filter(({ difference }) => difference === each)).not.toEqual([]);
  });

  it('renderDifferences() prints the table of docs/kube-proxy-differences.md', () => {
    const lines = readFileSync(PAGE, 'utf8').split('\n');
    expect(lines.filter((line) => line.startsWith('|'))).toEqual(TABLE.split('\n'));
  });
});

describeWhereFast('kube-proxy in the traffic matrix', () => {
  let parts: AsyncDisposableStack;
  let lab: Lab;
  let sockets: Sockets;
  let api: ApiServer;
  let results: readonly CellResult[];

  beforeAll(async () => {
    parts = new AsyncDisposableStack();
    lab = parts.use(createLab({ routes: ROUTES }));
    sockets = parts.use(new Sockets());
    api = parts.use(await startApiServer());
    for (const node of lab.nodes) wireNodeToApi(node);
    await serveEndpoints(lab, sockets, TIMEOUT_MS);
    const startedMs = performance.now();
    // A node's address as externalIP cuts that node off: what it is not about has to be asked before.
    const nodeAddresses = lab.nodes.map(({ addresses }) => addresses.IPv4);
    const before = await ask(nodeAddresses, (cell) => !isOfNodeAddress(cell));
    results = [...before, ...(await ask([], isOfNodeAddress))];
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    console.log(`comparison: ${results.length} of ${CELLS.length} cells ran in ${seconds} s`);
  }, 900_000);

  afterAll(() => parts.disposeAsync());

  /** Has kube-proxy program all nodes, and runs cells. @param without externalIPs that no Service gets */
  async function ask(
    without: readonly string[],
    isAsked: (cell: Cell) => boolean,
  ): Promise<readonly CellResult[]> {
    await api.apply(ipv4TcpObjects(lab, without));
    await using proxies = new AsyncDisposableStack();
    for (const node of lab.nodes) proxies.use(await proxyNode(node, api));
    // Nodes that have met before would go on for a while although one has taken the other's address.
    for (const node of lab.nodes) node.run(['ip', 'neighbour', 'flush', 'dev', 'eth0']);
    const first = await runCells(lab, sockets, CELLS.filter(isAsked), { timeoutMs: TIMEOUT_MS });
    // A machine that stood still for seconds is nobody's fault: those are asked once more, a few at a time.
    const cells = first.filter((result) => !isAsExpected(result)).map(({ cell }) => cell);
    const again = await runCells(lab, sockets, cells, { timeoutMs: TIMEOUT_MS, concurrency: 16 });
    return [...first.filter(isAsExpected), ...again];
  }

  const isAsExpected = ({ cell, outcomes }: CellResult) => cameAs(compareCell(lab, cell).theirs, outcomes);

  it('no cell differs from svcplane but as its class says', () => {
    const wrong = results
      .filter((result) => !isAsExpected(result))
      .map(({ cell, outcomes }) => {
        const { theirs, difference } = compareCell(lab, cell);
        const expected = `${describeResults(theirs)} (${difference?.name ?? 'as svcplane'})`;
        return `${cell.id}: ${textsOf(outcomes).join(', ')}, not ${expected}`;
      });
    report(wrong);
    expect(results).toHaveLength(CELLS.length);
    expect(wrong.slice(0, SHOWN)).toEqual([]);
  });
});

/** The table, and what it does not explain. */
function report(wrong: readonly string[]): void {
  const different = COMPARED.filter(({ difference }) => difference).length;
  const heading = `IPv4 TCP part of the matrix: ${CELLS.length} cells, ${different} with a difference, ${wrong.length} unexplained`;
  console.log([heading, TABLE, ...wrong].join('\n'));
  const directory = process.env.SVCPLANE_LAB_OUT;
  if (directory !== undefined)
    writeFileSync(
      join(directory, 'kube-proxy-differences.txt'),
      `${[heading, '', TABLE, ...wrong].join('\n')}\n`,
    );
}

function describeWhereFast(name: string, body: () => void): void {
  const skipReason =
    'kube-proxy runs hundreds of programs on each node: too slow where the processor is emulated';
  if (isEmulated) describe(name, { skip: true, meta: { skipReason } }, body);
  else describeWithKube(name, ['kube-apiserver', 'kube-proxy'], body);
}
