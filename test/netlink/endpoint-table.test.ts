import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EndpointTable, type RawEndpoint } from '../../src/netlink/endpoint-table.ts';

/** So few values that endpoints are often equal in part. */
const endpoints = (addressBytes: number): fc.Arbitrary<RawEndpoint> =>
  fc.record({
    address: fc
      .array(fc.constantFrom(0, 1, 255), { minLength: addressBytes, maxLength: addressBytes })
      .map((bytes) => Uint8Array.from(bytes)),
    port: fc.constantFrom(0, 53, 256, 65_535),
  });

const textOf = ({ address, port }: RawEndpoint) => `${address} ${port}`;

/** Address and port apart from each other, amid bytes that are neither. */
function find(table: EndpointTable, { address, port }: RawEndpoint): number {
  const bytes = Uint8Array.of(9, ...address, 8, 8, 8, port >> 8, port & 0xff, 7);
  return table.find(bytes, 1, address.length + 4);
}

describe('EndpointTable', () => {
  test.each([4, 16])('find() gives the index of an endpoint of %i bytes, or -1', (addressBytes) => {
    const one = endpoints(addressBytes);
    fc.assert(
      fc.property(fc.uniqueArray(one, { selector: textOf, maxLength: 40 }), one, (members, other) => {
        const table = new EndpointTable(members, addressBytes);
        expect(members.map((member) => find(table, member))).toEqual([...members.keys()]);
        const texts = members.map(textOf);
        expect(find(table, other)).toBe(texts.indexOf(textOf(other)));
      }),
    );
  });

  test('refuses addresses of another length', () => {
    expect(() => new EndpointTable([{ address: new Uint8Array(16), port: 53 }], 4)).toThrow(RangeError);
  });
});
