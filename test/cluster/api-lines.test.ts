import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineSplitter } from '../../src/cluster/api-lines.ts';

const linesOf = (...chunks: readonly (string | Uint8Array)[]) => {
  const splitter = new LineSplitter();
  return chunks.map((chunk) => splitter.push(Buffer.from(chunk)));
};

describe('LineSplitter', () => {
  it.each([
    { name: 'nothing', chunks: [''], lines: [[]] },
    { name: 'one line', chunks: ['a\n'], lines: [['a']] },
    { name: 'lines that come together', chunks: ['a\nb\nc'], lines: [['a', 'b']] },
    { name: 'a line that comes in three', chunks: ['a', 'b', 'c\n'], lines: [[], [], ['abc']] },
    { name: 'an end that comes alone', chunks: ['a', '\n', 'b\n'], lines: [[], ['a'], ['b']] },
    { name: 'empty lines', chunks: ['\n \r\n\na\n'], lines: [['a']] },
    { name: 'a line without an end', chunks: ['a'], lines: [[]] },
    {
      name: 'a character that comes in two',
      chunks: [Uint8Array.of(0xc3), Uint8Array.of(0xa4, 0x0a)],
      lines: [[], ['ä']],
    },
  ])('cuts $name', ({ chunks, lines }) => {
    expect(linesOf(...chunks)).toEqual(lines);
  });

  it('gives the same lines, wherever the bytes are cut', () => {
    const line = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\n') && text.trim() !== '');
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.nat({ max: 12 })), (lines, sizes) => {
        const bytes = Buffer.from(lines.map((each) => `${each}\n`).join(''));
        const chunks: Uint8Array[] = [];
        let start = 0;
        for (const size of sizes) {
          chunks.push(bytes.subarray(start, start + size));
          start = Math.min(bytes.length, start + size);
        }
        chunks.push(bytes.subarray(start));
        expect(linesOf(...chunks).flat()).toEqual(lines);
      }),
    );
  });
});
