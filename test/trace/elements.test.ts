import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SetRow } from '../../src/dataplane/nftables/rows.ts';
import { addressFromBytes } from '../../src/model/address.ts';
import { cidrContains, formatCidr, parseCidr } from '../../src/model/cidr.ts';
import { elementFinder } from '../../src/trace/elements.ts';

function setOf(...elements: readonly string[]): SetRow {
  return { declaration: '', elements: new Map(elements.map((text) => [text, { mark: null, reason: text }])) };
}

describe('elementFinder()', () => {
  it('finds exact keys', () => {
    const find = elementFinder(new Map([['empty4', setOf('10.0.0.1 . tcp . 80')]]));
    expect(find('empty4', ['10.0.0.1', 'tcp', '80'])?.row.reason).toBe('10.0.0.1 . tcp . 80');
    expect(find('empty4', ['10.0.0.1', 'tcp', '81'])).toBe(undefined);
  });

  it('finds the range behind exact components', () => {
    const elements = setOf('10.0.0.1 . tcp . 80 . 192.0.2.0/24', '10.0.0.1 . tcp . 81 . 192.0.3.7');
    const find = elementFinder(new Map([['allowed4', elements]]));
    const found = (port: string, source: string) => find('allowed4', ['10.0.0.1', 'tcp', port, source])?.text;
    expect(found('80', '192.0.2.200')).toBe('10.0.0.1 . tcp . 80 . 192.0.2.0/24');
    expect(found('81', '192.0.3.7')).toBe('10.0.0.1 . tcp . 81 . 192.0.3.7');
    expect(found('81', '192.0.2.200')).toBe(undefined);
    expect(found('80', '192.0.3.7')).toBe(undefined);
  });

  it('agrees with containment in every range', () => {
    const addresses = [4, 16].map((length) =>
      // Few bits, so that many lie within each other's ranges.
      fc
        .array(fc.constantFrom(0, 0, 1, 128), { minLength: length, maxLength: length })
        .map((bytes) => addressFromBytes(Uint8Array.from(bytes))),
    );
    for (const [i, address] of addresses.entries()) {
      const name = i === 0 ? 'pods4' : 'pods6';
      const range = fc
        .tuple(address, fc.integer({ min: 0, max: i === 0 ? 32 : 128 }))
        .map(([text, length]) => parseCidr(`${text}/${length}`))
        .filter((cidr) => cidr !== undefined);
      fc.assert(
        fc.property(fc.array(range, { maxLength: 6 }), address, (ranges, source) => {
          const find = elementFinder(new Map([[name, setOf(...ranges.map(formatCidr))]]));
          const found = find(name, [source]);
          expect(found !== undefined).toBe(ranges.some((each) => cidrContains(each, source)));
        }),
      );
    }
  });

  it('throws on what it cannot read', () => {
    expect(() => elementFinder(new Map())('empty4', [])).toThrow('the table has no set empty4');
    const find = elementFinder(new Map([['pods4', setOf('10.0.0.0-10.0.0.5')]]));
    expect(() => find('pods4', ['10.0.0.1'])).toThrow('element 10.0.0.0-10.0.0.5 of set pods4');
  });
});
