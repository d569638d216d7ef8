import { describe, expect, it } from 'vitest';
import { parseConfigText } from '../../src/cli/config-document.ts';
import type { ConfigPath } from '../../src/config.ts';

const TEXT = `# first
apiVersion: x
guard:
  maxDeleteShare: 2
list:
- a
- b: 1
  c: [1,
   2]
empty:
text: "q
  r"
anchor: &a { x: 1 }
alias: *a
merged:
  <<: *a
last: 1
`;

describe('parseConfigText()', () => {
  it.each<[ConfigPath, number]>([
    [['apiVersion'], 2],
    [['guard'], 3],
    [['guard', 'maxDeleteShare'], 4],
    [['list', 0], 6],
    [['list', 1, 'c'], 8],
    [['list', 1, 'c', 1], 9],
    [['empty'], 10],
    [['last'], 17],
  ])('finds %j in line %i', (path, line) => {
    expect(parseConfigText(TEXT, 'f').lineOf(path)).toBe(line);
  });

  it('falls back to what is around a value without a line of its own', () => {
    const { lineOf } = parseConfigText(TEXT, 'f');
    expect([lineOf(['guard', 'absent']), lineOf(['alias', 'x']), lineOf(['merged', 'x'])]).toEqual([
      3, 14, 15,
    ]);
  });

  it('reads JSON, and nothing as an empty mapping', () => {
    const json = parseConfigText('{"a":\n{"b":1}}', 'f');
    expect([json.value, json.lineOf(['a', 'b'])]).toEqual([{ a: { b: 1 } }, 2]);
    expect(['', '# nothing\n', '---\n'].map((text) => parseConfigText(text, 'f').value)).toEqual([
      {},
      {},
      {},
    ]);
  });

  it.each([
    ['a key twice', 'a: 1\na: 2\n', /^Cannot parse f:2: /],
    ['an open bracket', 'a: [1\n', /^Cannot parse f:\d: /],
    ['two documents', 'a: 1\n---\na: 2\n', /^Cannot use f: it has 2 documents, expected one$/],
  ])('refuses %s', (_, text, message) => {
    expect(() => parseConfigText(text, 'f')).toThrow(message);
  });
});
