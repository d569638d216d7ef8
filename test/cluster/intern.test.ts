import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeEndpointSlice } from '../../src/cluster/decode-endpoints.ts';
import type { EndpointSliceFacts } from '../../src/cluster/facts.ts';
import { Interner } from '../../src/cluster/intern.ts';
import { slice } from '../objects.ts';

/** Parsed from JSON, as of an API server, so that it shares nothing with another. */
function factsOf(zones: readonly string[] | undefined, node: string | undefined): EndpointSliceFacts {
  const endpoint = { address: '10.1.0.1', ...(zones && { zones }), ...(node && { node }) };
  const object = JSON.parse(JSON.stringify(slice({ endpoints: [endpoint] })));
  const facts = decodeEndpointSlice(object, (reason) => expect.fail(reason));
  return facts ?? expect.fail('no facts');
}

describe('Interner', () => {
  it('gives lists that say the same one identity', () => {
    const interner = new Interner();
    const [first, second, other] = [['a', 'b'], ['a', 'b'], ['ab']].map(
      (zones) => interner.slice(factsOf(zones, 'n1')).endpoints[0]?.zoneHints,
    );
    expect(first).toEqual(['a', 'b']);
    expect(second).toBe(first);
    expect(other).toEqual(['ab']);
  });

  it('changes nothing of what facts say', () => {
    const interner = new Interner();
    const name = fc.stringMatching(/^[a-c]{1,3}$/);
    const names = fc.array(name, { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(
        fc.option(names, { nil: undefined }),
        fc.option(name, { nil: undefined }),
        (zones, node) => {
          const facts = factsOf(zones, node);
          expect(interner.slice(facts)).toEqual(facts);
        },
      ),
    );
  });
});
