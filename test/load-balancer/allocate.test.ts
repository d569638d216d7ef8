import { describe, expect, it } from 'vitest';
import { allocate } from '../../src/load-balancer/allocate.ts';
import { CASES, MAIN } from './allocate-cases.ts';
import { lbFacts, pool, rules } from './build.ts';

describe('allocate()', () => {
  it.each(CASES)('$name', ({ services, by = rules([MAIN]), gives }) => {
    const decisions = allocate(services.map(lbFacts), by);
    for (const [name, [verdict, addresses, reason = '']] of Object.entries(gives)) {
      const { namespace = 'web' } = services.find((each) => each.name === name) ?? {};
      const decision = decisions.get(`${namespace}/${name}`);
      expect([name, decision?.verdict, decision?.addresses]).toEqual([name, verdict, addresses]);
      expect(decision?.reason).toContain(reason);
    }
  });

  it('finds a free address in a range of 2^64 without looking at all of it', () => {
    const decisions = allocate(
      Array.from({ length: 100 }, (_, i) =>
        lbFacts({ name: `s${i}`, age: -i, spec: { ipFamilies: ['IPv6'] } }),
      ),
      rules([pool('huge', ['fd00::/64'])]),
    );
    expect(decisions.get('web/s99')?.addresses).toEqual(['fd00::64']);
  });
});
