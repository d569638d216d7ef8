import { readFileSync, writeFileSync } from 'node:fs';
import { percentile } from '../../test/kernel/kube/measure.ts';
import { CANDIDATES, type Candidate, type Figures, type Machine, type Result } from './kube-figures.ts';
import { insertReport } from './page.ts';

interface Row {
  readonly name: (task: Result['task']) => string;
  /** Null if it was not through in time. */
  readonly of: (figures: Figures) => number | null | undefined;
  readonly show: (value: number) => string;
}

const showMs = (value: number): string =>
  value < 1000 ? `${precise(value)} ms` : `${precise(value / 1000)} s`;
const showSeconds = (value: number): string => showMs(value * 1000);
const showMemory = (value: number): string => `${Math.round(value / 2 ** 20)} MiB`;
const row = (name: Row['name'] | string, of: Row['of'], show: Row['show']): Row => ({
  name: typeof name === 'string' ? () => name : name,
  of,
  show,
});

const ROWS: readonly Row[] = [
  row('start to all virtual servers', ({ coldTableMs }) => coldTableMs, showMs),
  row('start to first complete sync', ({ coldSyncMs }) => coldSyncMs, showMs),
  row('… processor time', ({ coldSeconds }) => coldSeconds, showSeconds),
  row('… processes and threads started', ({ coldProcesses }) => coldProcesses, String),
  row(
    'idle: share of a processor',
    ({ idlePercent }) => idlePercent,
    (value) => `${precise(value)} %`,
  ),
  row(
    ({ idleSeconds }) => `idle: processes and threads started in ${idleSeconds} s`,
    ({ idleProcesses }) => idleProcesses,
    String,
  ),
  row('one endpoint, p50', ({ changeMs }) => changeMs && percentile(changeMs, 0.5), showMs),
  row(
    ({ changes }) => `one endpoint, p99 of ${changes}`,
    ({ changeMs }) => changeMs && percentile(changeMs, 0.99),
    showMs,
  ),
  row('… processor time, with what else happens', ({ changeSeconds }) => changeSeconds, showSeconds),
  row(
    ({ rollingPods }) => `rolling update of ${rollingPods} pods`,
    ({ rollingMs }) => rollingMs,
    showMs,
  ),
  row('… processor time', ({ rollingSeconds }) => rollingSeconds, showSeconds),
  row(
    ({ burst }) => `${grouped(burst)} Services at once`,
    ({ burstMs }) => burstMs,
    showMs,
  ),
  row('… processor time', ({ burstSeconds }) => burstSeconds, showSeconds),
  row('restart to first complete sync', ({ restartSyncMs }) => restartSyncMs, showMs),
  row('… processor time', ({ restartSeconds }) => restartSeconds, showSeconds),
  row('… netlink datagrams sent', ({ restartDatagrams }) => restartDatagrams, String),
  row('one endpoint: netlink datagrams sent', ({ changeDatagrams }) => changeDatagrams, precise),
  row('resident memory', ({ residentBytes }) => residentBytes, showMemory),
  row('… at its peak', ({ peakBytes }) => peakBytes, showMemory),
];

/** The results as Markdown: for each size a table, with ratios wherever there is something to compare with. */
export function renderReport(machine: Machine, results: readonly Result[]): string {
  const sizes = [...new Set(results.map(({ task }) => task.services))];
  const { processors, memoryBytes } = machine;
  const facts = [
    `${machine.date}: ${machine.kernel}, ${processors} processor${processors === 1 ? '' : 's'}`,
    `${Math.round(memoryBytes / 2 ** 30)} GiB`,
    `Node ${machine.node}`,
    `Kubernetes ${machine.kubernetes}.`,
  ];
  const tables = sizes.map((services) =>
    renderSize(results.filter(({ task }) => task.services === services)),
  );
  return [facts.join(', '), ...tables].join('\n\n');
}

function renderSize(results: readonly Result[]): string {
  const present = CANDIDATES.filter((name) => results.some(({ task }) => task.candidate === name));
  const [first] = results;
  if (!first) return '';
  const { services, endpoints, isDualStack } = first.task;
  const compared = present.includes('svcplane') ? present.filter((name) => name !== 'svcplane') : [];
  const head = [
    `${grouped(services)} ${isDualStack ? 'dual-stack ' : ''}Services × ${endpoints}`,
    ...present,
    ...compared.map((name) => `${name} / svcplane`),
  ];
  const figuresOf = (candidate: Candidate) =>
    results.find(({ task }) => task.candidate === candidate)?.figures ?? {};
  const limitMs = first.task.limitSeconds * 1000;
  const rows = ROWS.map(({ name, of, show }) => {
    const values = new Map(present.map((candidate) => [candidate, of(figuresOf(candidate))]));
    const cells = present.map((candidate) => {
      const value = values.get(candidate);
      return value === null ? `> ${showMs(limitMs)}` : value === undefined ? '–' : show(value);
    });
    const ratios = compared.map((candidate) => ratio(values.get(candidate), values.get('svcplane'), limitMs));
    return [name(first.task), ...cells, ...ratios];
  }).filter((cells) => cells.slice(1).some((cell) => cell !== '–'));
  const failures = results.flatMap(({ task, failure }) =>
    failure === undefined ? [] : [`${task.candidate}: ${failure.split('\n')[0]}`],
  );
  const table = [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows];
  return [...table.map((cells) => `| ${cells.join(' | ')} |`), ...failures.map((line) => `\n${line}`)].join(
    '\n',
  );
}

/** Null is more than the limit; what is compared with nothing, or with a figure that is missing, has no ratio. */
function ratio(theirs: number | null | undefined, ours: number | null | undefined, limitMs: number): string {
  if (theirs === undefined || ours === undefined || ours === null || ours === 0) return '–';
  return theirs === null ? `> ${precise(limitMs / ours)}` : precise(theirs / ours);
}

/** Two significant digits, but all of those before the point. */
function precise(value: number): string {
  return value >= 100 ? grouped(Math.round(value)) : String(Number(value.toPrecision(2)));
}

function grouped(value: number): string {
  return value.toLocaleString('en');
}

/** `kube-report.ts RESULTS [PAGE]`: prints the report of kube.ts' results, and writes it into the page. */
function main([resultsFile = '', page]: readonly string[]): void {
  const [machine, ...results] = readFileSync(resultsFile, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const report = renderReport(machine, results);
  process.stdout.write(`${report}\n`);
  if (page !== undefined) writeFileSync(page, insertReport(readFileSync(page, 'utf8'), report));
}

if (import.meta.main) main(process.argv.slice(2));
