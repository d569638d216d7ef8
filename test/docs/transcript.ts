import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type Fence, fencesOf, type Page, ROOT } from './pages.ts';

/** A command of a transcript, with what it must print. */
export interface TranscriptStep {
  /** `docs/verify.md:12`, for messages */
  readonly source: string;
  readonly command: string;
  /** A line `...` stands for any number of lines. */
  readonly expected: readonly string[];
}

/** Where a transcript can be run: on any machine, or on a kernel with IPVS. */
export type Place = 'host' | 'kernel';

const INFO: Readonly<Record<Place, string>> = { host: 'console', kernel: 'console kernel' };

/**
 * The steps of all transcripts of a page, in order: lines that begin with `$ `, each followed by what it prints.
 * @throws SyntaxError if a block does not begin with a command
 */
export function stepsOf(page: Page, place: Place): readonly TranscriptStep[] {
  return fencesOf(page)
    .filter(({ info }) => info === INFO[place])
    .flatMap((fence) => stepsOfBlock(page, fence));
}

function stepsOfBlock({ path }: Page, { line, lines }: Fence): readonly TranscriptStep[] {
  const steps: (TranscriptStep & { expected: string[] })[] = [];
  for (const [i, text] of lines.entries()) {
    const source = `${path}:${line + 1 + i}`;
    if (text.startsWith('$ ')) steps.push({ source, command: text.slice(2), expected: [] });
    else {
      const step = steps.at(-1);
      if (!step) throw new SyntaxError(`${source}: a transcript begins with a command`);
      step.expected.push(text.trimEnd());
    }
  }
  return steps;
}

/** Whether `actual` is `expected`, where a line `...` of it stands for any number of lines. */
export function matches(expected: readonly string[], actual: readonly string[]): boolean {
  const [first, ...rest] = expected;
  if (first === undefined) return actual.length === 0;
  if (first !== '...') return first === actual[0] && matches(rest, actual.slice(1));
  return Array.from({ length: actual.length + 1 }, (_, i) => actual.slice(i)).some((tail) =>
    matches(rest, tail),
  );
}

/**
 * What a transcript says and what running it has printed, both as whole transcripts, to be compared: they are equal
 * exactly if every step matches.
 */
export function compareTranscripts(
  steps: readonly TranscriptStep[],
  outputs: readonly (readonly string[])[],
): { readonly expected: readonly string[]; readonly actual: readonly string[] } {
  const transcript = (output: (step: TranscriptStep, i: number) => readonly string[]) =>
    steps.flatMap((step, i) => [`${step.source} $ ${step.command}`, ...output(step, i)]);
  return {
    expected: transcript(({ expected }) => expected),
    actual: transcript(({ expected }, i) => {
      const actual = outputs[i] ?? ['(not run)'];
      return matches(expected, actual) ? expected : actual;
    }),
  };
}

/** Printed between the commands; no text has it. */
const SEPARATOR = '\u001e\n';

/**
 * Runs the steps in one shell, in an empty directory beside links to the checkout's folders, where `svcplane` is
 * that of the checkout.
 * @param before commands of the shell that come first and print nothing
 * @param inside a command that starts the shell: `ip netns exec node-1`
 * @returns what each step printed, on either stream, without blanks at the ends of lines
 */
export function runSteps(
  steps: readonly TranscriptStep[],
  before: readonly string[] = [],
  inside: readonly string[] = [],
): readonly (readonly string[])[] {
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-docs-'));
  try {
    const bin = join(directory, '.bin');
    mkdirSync(bin);
    symlinkSync(join(ROOT, 'scripts', 'svcplane'), join(bin, 'svcplane'));
    for (const folder of ['examples', 'scripts']) symlinkSync(join(ROOT, folder), join(directory, folder));
    const [file = '', ...args] = [...inside, 'bash', '--norc', '-c', scriptOf(steps, before)];
    const { error, stdout } = spawnSync(file, args, {
      cwd: directory,
      env: environment(bin),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (error) throw error;
    const [, ...outputs] = stdout.split(SEPARATOR);
    return outputs.map(linesOf);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** `$?` is the exit code of the step before, as in a terminal. */
function scriptOf(steps: readonly TranscriptStep[], before: readonly string[]): string {
  const separator = JSON.stringify('\\036\\n');
  const run = steps.map(({ command }) => `printf ${separator}\n(exit $status)\n${command}\nstatus=$?\n`);
  return [...before.map((line) => `${line}\n`), 'exec 2>&1\nstatus=0\n', ...run].join('');
}

/** Nothing of the caller's settings. */
function environment(bin: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('SVCPLANE_') && name !== 'NODE_NAME' && name !== 'NODE_OPTIONS',
  );
  return {
    ...Object.fromEntries(kept),
    PATH: [bin, process.env.PATH].join(delimiter),
    LC_ALL: 'C.UTF-8',
  };
}

function linesOf(output: string): readonly string[] {
  const lines = output.split('\n').map((line) => line.trimEnd());
  return lines.at(-1) === '' ? lines.slice(0, -1) : lines;
}
