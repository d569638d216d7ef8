import { describe, expect, it } from 'vitest';
import { readPages } from './pages.ts';
import { compareTranscripts, runSteps, stepsOf } from './transcript.ts';

const pages = readPages().filter((page) => stepsOf(page, 'host').length > 0);

describe('transcripts that need no kernel', () => {
  it('are in the README', () => {
    expect(pages.map(({ path }) => path)).toContain('README.md');
  });

  it.each(pages)('$path: every command prints what the page says', (page) => {
    const steps = stepsOf(page, 'host');
    const outputs = runSteps(steps);
    const { expected, actual } = compareTranscripts(steps, outputs);
    expect(actual).toEqual(expected);
  });
});
