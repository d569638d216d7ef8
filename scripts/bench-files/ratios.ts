import { text } from 'node:stream/consumers';

/** Reads the rounds of kernel.sh and prints medians and the ratios of paired rounds. */
interface Round {
  readonly tool: 'svcplane' | 'ipvsadm';
  readonly coldMs: number;
  readonly wholeApplyMs?: number;
  readonly idleMs?: number;
  readonly messages?: number;
  readonly sends?: number;
  readonly idleWrites?: number;
}

const rounds = (await text(process.stdin))
  .split('\n')
  .filter((line) => line.startsWith('{'))
  .map((line): Round => JSON.parse(line));
const ours = rounds.filter(({ tool }) => tool === 'svcplane');
const theirs = rounds.filter(({ tool }) => tool === 'ipvsadm');
const [first] = ours;
if (!first || ours.length !== theirs.length) throw new Error('A round is missing');

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const span = (values: readonly number[]): string =>
  `${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)})`;
const ratio = (pick: (round: Round) => number | undefined): string =>
  span(ours.map((round, i) => (theirs[i]?.coldMs ?? Number.NaN) / (pick(round) ?? Number.NaN)));

process.stdout.write(
  [
    `${process.argv[2]} Services × 5 from nothing, ${ours.length} rounds in turn, each in a fresh namespace`,
    `ipvsadm -R / svcplane apply phase        ${ratio(({ coldMs }) => coldMs)}  (first send to last acknowledgement)`,
    `ipvsadm -R / svcplane whole apply        ${ratio(({ wholeApplyMs }) => wholeApplyMs)}  (with encoding and ledger)`,
    `ipvsadm -R / svcplane idle sync          ${ratio(({ idleMs }) => idleMs)}  (observe, plan, nothing to apply)`,
    `messages of the apply phase              ${first.messages} in ${first.sends} sends`,
    `messages written by the idle sync        ${Math.max(...ours.map(({ idleWrites }) => idleWrites ?? Number.NaN))}`,
    '',
  ].join('\n'),
);
