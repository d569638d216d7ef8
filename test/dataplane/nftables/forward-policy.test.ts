import { describe, expect, it } from 'vitest';
import { forwardDrops } from '../../../src/dataplane/nftables/forward-policy.ts';

const CHAIN = { family: 'ip', table: 'filter', name: 'FORWARD', handle: 1, type: 'filter', prio: 0 };

function listing(...chains: readonly object[]) {
  // As nft 1.0.6 prints it for an iptables-nft host.
  return { nftables: [{ metainfo: { version: '1.0.6' } }, ...chains.map((chain) => ({ chain }))] };
}

describe('forwardDrops()', () => {
  it('names forward chains whose policy drops, and no others', () => {
    const chains = listing(
      { ...CHAIN, hook: 'forward', policy: 'drop' },
      { ...CHAIN, name: 'INPUT', hook: 'input', policy: 'drop' },
      { ...CHAIN, family: 'ip6', hook: 'forward', policy: 'accept' },
      { family: 'inet', table: 't', name: 'regular', handle: 2 },
    );
    expect(forwardDrops(chains)).toEqual(['ip filter FORWARD']);
  });

  it('finds none in what is no listing', () => {
    expect([undefined, null, {}, { nftables: 'x' }].map(forwardDrops)).toEqual([[], [], [], []]);
  });
});
