import { readFileSync, writeFileSync } from 'node:fs';
import type { Traffic } from '../../test/dataplane/socklb/traffic-process.ts';
import { insertReport } from './page.ts';
import type { Sample, SocketResults, Way } from './sockets-figures.ts';

/** A figure of traffic: greater is better. */
interface Row {
  readonly name: string;
  readonly kind: Traffic;
  readonly of: (sample: Sample) => number;
  readonly show: (value: number) => string;
}

const showUs = (speed: number): string => `${precise(1 / speed)} µs`;
const bySpeed = (us: number | null): number => (us === null ? Number.NaN : 1 / us);
const rateRow = (name: string, kind: Traffic): Row => ({ name, kind, of: ({ rate }) => rate, show: grouped });
const processorRow = (kind: Traffic): Row => ({
  name: '… processor time for one, client and server',
  kind,
  of: ({ processorUs }) => bySpeed(processorUs),
  show: showUs,
});
const CONNECTS = rateRow('socket, connect, reset: a second', 'connect');
const ECHO = rateRow('64 bytes and back, open connection: a second', 'echo');

const ROWS: readonly Row[] = [
  CONNECTS,
  {
    name: '… connect(2) alone, median of a slice',
    kind: 'connect',
    of: ({ connectUs }) => bySpeed(connectUs),
    show: showUs,
  },
  processorRow('connect'),
  ECHO,
  processorRow('echo'),
  rateRow('64 bytes and back, UDP: a second', 'udp'),
  processorRow('udp'),
];

/** The results as Markdown, with what was aimed at. */
export function renderSockets(results: SocketResults): string {
  const { machine, load, rounds, sliceMs, writes, trouble } = results;
  const facts = [
    `${machine.date}: ${machine.kernel}, ${machine.processors} processor${machine.processors === 1 ? '' : 's'}`,
    `Node ${machine.node}`,
    `load average ${load.map((value) => value.toFixed(1)).join(' to ')}`,
    `${rounds} rounds in turn, slices of ${sliceMs} ms`,
    `${grouped(writes.services)} Services × ${writes.endpoints} in the maps.`,
  ];
  return [facts.join(', '), trafficTable(results), figuresTable(results), aimsOf(results, trouble)].join(
    '\n\n',
  );
}

function trafficTable(results: SocketResults): string {
  const others = results.ways.filter((way) => way !== 'direct');
  const head = ['how fast; direct is 1', 'direct', ...others, 'socket LB / nft DNAT'];
  const rows = ROWS.map((row) => {
    const direct = row.show(median(valuesOf(results, row, 'direct')));
    const ratios = others.map((way) => spanOf(ratiosOf(results, row, way, 'direct')));
    return [row.name, direct, ...ratios, spanOf(ratiosOf(results, row, 'socket LB', 'nft DNAT'))];
  }).filter(([, direct]) => !direct?.startsWith('NaN'));
  return table([head, ...rows]);
}

function figuresTable({ writes, trouble }: SocketResults): string {
  const ms = (values: readonly number[]) => spanOf(values, ' ms');
  const { tables } = writes;
  const changes = writes.changeMs.toSorted((a, b) => a - b);
  const p99 = changes[Math.ceil(0.99 * changes.length) - 1] ?? Number.NaN;
  const failed = Object.entries(trouble.failed).map(([errno, count]) => `${count} × ${errno}`);
  return table([
    [`maps, ${grouped(writes.services)} × ${writes.endpoints}`, 'median (smallest to largest)'],
    ['full sync: writing to the maps', ms(writes.writingMs)],
    ['… processor time', ms(writes.processorMs)],
    ['full sync: all of look, plan, pack, write', ms(writes.fullMs)],
    ['idle sync: look at everything, plan', ms(writes.idleMs)],
    ['one endpoint: look, plan, apply', `${ms(changes)}, p99 ${precise(p99)} ms`],
    [
      `${grouped(tables.services)} Services with mh: full sync; longest wait of others; one endpoint; after a restart`,
      [tables.fullMs, tables.longestMs, tables.changeMs, tables.restartedMs].map(ms).join('; '),
    ],
    [
      `connects while endpoints change ${grouped(trouble.changes)} times, the daemon is killed ${trouble.kills} times, ` +
        `all programs replaced ${trouble.replaced} times`,
      grouped(trouble.connects),
    ],
    ['… of which failed', failed.length === 0 ? '0' : failed.join(', ')],
    ['… left over in the maps in the end', String(trouble.leftOver.length)],
  ]);
}

function aimsOf(results: SocketResults, trouble: SocketResults['trouble']): string {
  const ratio = (row: Row, way: Way) => median(ratiosOf(results, row, 'socket LB', way));
  const failed = Object.values(trouble.failed).reduce((sum, count) => sum + count, 0);
  const aims: readonly (readonly [string, boolean])[] = [
    ['open connection within 1 % of direct', ratio(ECHO, 'direct') >= 0.99],
    ['connects within 8 % of direct', ratio(CONNECTS, 'direct') >= 0.92],
    ['connects ahead of nft DNAT', ratio(CONNECTS, 'nft DNAT') > 1],
    ['map writing at most 100 ms', median(results.writes.writingMs) <= 100],
    ['one endpoint at most 5 ms', median(results.writes.changeMs) <= 5],
    ['no failed connect', failed === 0],
  ];
  return `Aims: ${aims.map(([aim, isMet]) => `${aim}: ${isMet ? 'met' : 'missed'}`).join('; ')}.`;
}

function valuesOf({ samples }: SocketResults, { kind, of }: Row, way: Way): readonly number[] {
  return samples.filter((sample) => sample.way === way && sample.kind === kind).map(of);
}

/** Of slices of one round, which have the same neighbours. */
function ratiosOf(results: SocketResults, row: Row, way: Way, base: Way): readonly number[] {
  const bases = valuesOf(results, row, base);
  return valuesOf(results, row, way).map((value, round) => value / (bases[round] ?? Number.NaN));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function spanOf(values: readonly number[], unit = ''): string {
  const show = (value: number) => precise(value);
  return `${show(median(values))}${unit} (${show(Math.min(...values))} to ${show(Math.max(...values))})`;
}

/** Three significant digits. */
function precise(value: number): string {
  return value >= 1000 ? grouped(value) : String(Number(value.toPrecision(3)));
}

function grouped(value: number): string {
  return Math.round(value).toLocaleString('en');
}

function table([head = [], ...rows]: readonly (readonly string[])[]): string {
  const line = head.map((_, i) => (i === 0 ? '---' : '---:'));
  return [head, line, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** `sockets-report.ts RESULTS [PAGE OPTIONS]`: prints the report of sockets.ts' results, and writes it into the page. */
function main([resultsFile = '', page, options]: readonly string[]): void {
  const report = renderSockets(JSON.parse(readFileSync(resultsFile, 'utf8')));
  process.stdout.write(`${report}\n`);
  if (page !== undefined) writeFileSync(page, insertReport(readFileSync(page, 'utf8'), report, options));
}

if (import.meta.main) main(process.argv.slice(2));
