import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { validate } from 'dockerfile-utils';
import { describe, expect, it } from 'vitest';
import { readStages } from '../../scripts/image-root-files/dockerfile.ts';

const ROOT = join(import.meta.dirname, '../..');
const source = (path: string) => readFileSync(join(ROOT, path), 'utf8');

describe('Dockerfile', () => {
  const text = source('Dockerfile');
  const stages = readStages(text);
  const image = stages.at(-1);

  it('has nothing that a linter finds', () => {
    expect(validate(text)).toEqual([]);
  });

  it('ends in an image of no distribution that only copies', () => {
    expect(image?.base).toBe('scratch');
    expect(image?.steps.map(({ step }) => step)).toEqual(['copy']);
  });

  it('starts svcplane run as root', () => {
    expect(image?.config).toMatchObject({ entrypoint: ['/usr/bin/svcplane'], cmd: ['run'], user: '0:0' });
  });

  it('names no registry', () => {
    expect(stages.map(({ base }) => base).filter((base) => base.includes('/'))).toEqual([]);
  });

  it('copies what .dockerignore admits, all of it', () => {
    const admitted = [...source('.dockerignore').matchAll(/^!(.*)$/gm)].map(([, path]) => path);
    const copied = stages.flatMap(({ steps }) =>
      steps.flatMap((step) => (step.step === 'copy' && step.from === undefined ? step.sources : [])),
    );
    expect(copied.sort()).toEqual(admitted.sort());
  });
});

describe('readStages()', () => {
  it('reads steps with where they are made', () => {
    const text = [
      'FROM base AS one',
      'WORKDIR /a',
      'WORKDIR b',
      'COPY x y ./',
      'RUN p && \\',
      '    q',
      'FROM scratch',
      'COPY --from=one /a/b /',
      'ENV A=1 B=2',
      'ENV B=3',
      'CMD ["c", "d"]',
    ].join('\n');
    const config = { entrypoint: [], cmd: [], env: {}, user: '', volumes: [] };
    expect(readStages(text)).toEqual([
      {
        name: 'one',
        base: 'base',
        steps: [
          { step: 'copy', from: undefined, sources: ['x', 'y'], target: '/a/b/', intoDirectory: true },
          { step: 'run', command: 'p &&     q', directory: '/a/b' },
        ],
        config,
      },
      {
        name: '',
        base: 'scratch',
        steps: [{ step: 'copy', from: 'one', sources: ['/a/b'], target: '/', intoDirectory: true }],
        config: { ...config, env: { A: '1', B: '3' }, cmd: ['c', 'd'] },
      },
    ]);
  });

  it.each([
    { name: 'an instruction it does not perform', text: 'FROM a\nADD b /' },
    { name: 'a flag of COPY', text: 'FROM a\nCOPY --chown=1 b /' },
    { name: 'a flag of RUN', text: 'FROM a\nRUN --mount=type=cache,target=/x true' },
    { name: 'a flag of FROM', text: 'FROM --platform=x a' },
    { name: 'a variable', text: 'FROM a\nENV A=$B' },
    { name: 'a command for a shell', text: 'FROM a\nENTRYPOINT b' },
    { name: 'a step before FROM', text: 'RUN true' },
  ])('refuses $name', ({ text }) => {
    expect(() => readStages(text)).toThrow(SyntaxError);
  });
});
