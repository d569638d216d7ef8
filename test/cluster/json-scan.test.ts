import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scanJson, skipSpace } from '../../src/cluster/json-scan.ts';

describe('scanJson()', () => {
  it.each([
    { text: '{"a":[1,-2.5e3,true,null]} {', scan: { end: 26 } },
    { text: ' "\\u00e4\\n" 1', scan: { end: 11 } },
    { text: '[] ]', scan: { end: 2 } },
    { text: '', scan: { errorAt: 0 } },
    { text: '  ', scan: { errorAt: 2 } },
    { text: '{"a" 1}', scan: { errorAt: 5 } },
    { text: '{"a":1,}', scan: { errorAt: 7 } },
    { text: '[1,]', scan: { errorAt: 3 } },
    { text: '[1}', scan: { errorAt: 2 } },
    { text: '{1:2}', scan: { errorAt: 1 } },
    { text: '["a\n"]', scan: { errorAt: 1 } },
    { text: '[01]', scan: { errorAt: 2 } },
    { text: '[1, 2', scan: { errorAt: 5 } },
  ])('of $text is $scan', ({ text, scan }) => {
    expect(scanJson(text, 0)).toEqual(scan);
  });

  it('ends where a value ends, whatever follows, and finds a value that is cut', () => {
    const value = fc.jsonValue().filter((each) => typeof each === 'object' && each !== null);
    fc.assert(
      fc.property(value, fc.nat(2), fc.string(), fc.nat(), (each, indent, rest, cut) => {
        const text = JSON.stringify(each, null, indent);
        expect(scanJson(`  ${text}${rest}`, 1)).toEqual({ end: text.length + 2 });
        const part = text.slice(0, cut % text.length);
        expect(scanJson(part, 0)).toHaveProperty('errorAt');
      }),
    );
  });
});

describe('skipSpace()', () => {
  it('stops at the first that is none, or the end', () => {
    expect(skipSpace(' \t\r\n a', 0)).toBe(5);
    expect(skipSpace('a ', 1)).toBe(2);
    expect(skipSpace('\u00a0', 0)).toBe(0);
  });
});
