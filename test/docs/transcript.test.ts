import { describe, expect, it } from 'vitest';
import type { Page } from './pages.ts';
import { matches, runSteps, stepsOf } from './transcript.ts';

const page = (...lines: string[]): Page => ({ path: 'page.md', text: lines.join('\n') });

describe('stepsOf()', () => {
  it('reads commands and what follows them, block by block', () => {
    const text = page(
      '```console',
      '$ a',
      '1',
      '$ b',
      '```',
      '```sh',
      '$ c',
      '```',
      '```console',
      '$ d',
      '```',
    );
    expect(stepsOf(text, 'host')).toEqual([
      { source: 'page.md:2', command: 'a', expected: ['1'] },
      { source: 'page.md:4', command: 'b', expected: [] },
      { source: 'page.md:10', command: 'd', expected: [] },
    ]);
    expect(stepsOf(text, 'kernel')).toEqual([]);
  });

  it('keeps apart what needs a kernel', () => {
    const text = page('```console kernel', '$ a', '```', '```console', '$ b', '```');
    expect(stepsOf(text, 'kernel').map(({ command }) => command)).toEqual(['a']);
  });

  it('refuses output without a command, and a block without an end', () => {
    expect(() => stepsOf(page('```console', 'output', '```'), 'host')).toThrow('page.md:2');
    expect(() => stepsOf(page('', '```console', '$ a'), 'host')).toThrow('page.md:2');
  });
});

describe('matches()', () => {
  it.each([
    { name: 'equal lines', expected: ['a', 'b'], actual: ['a', 'b'], is: true },
    { name: 'another line', expected: ['a', 'b'], actual: ['a', 'c'], is: false },
    { name: 'a line more', expected: ['a'], actual: ['a', 'b'], is: false },
    { name: 'a line less', expected: ['a', 'b'], actual: ['a'], is: false },
    { name: 'lines left out', expected: ['a', '...', 'd'], actual: ['a', 'b', 'c', 'd'], is: true },
    { name: 'no line left out', expected: ['a', '...', 'b'], actual: ['a', 'b'], is: true },
    { name: 'the wrong line behind those left out', expected: ['...', 'd'], actual: ['a', 'b'], is: false },
  ])('$name', ({ expected, actual, is }) => {
    expect(matches(expected, actual)).toBe(is);
  });
});

describe('runSteps()', () => {
  const run = (...commands: string[]) =>
    runSteps(commands.map((command) => ({ source: '', command, expected: [] })));

  it('returns what each command prints, on either stream, with its exit code in the next', () => {
    expect(run('echo out; echo err >&2; false', 'echo $?', ':', 'printf "no end  "')).toEqual([
      ['out', 'err'],
      ['1'],
      [],
      ['no end'],
    ]);
  });

  it('runs svcplane of the checkout, without the settings of the caller', () => {
    process.env.SVCPLANE_SCHEDULER = 'nonsense';
    try {
      const [version, help] = run('svcplane --version', 'echo "$SVCPLANE_SCHEDULER"');
      expect(version?.[0]).toMatch(/^\d+\.\d+\.\d+$/);
      expect(help).toEqual(['']);
    } finally {
      delete process.env.SVCPLANE_SCHEDULER;
    }
  });
});
