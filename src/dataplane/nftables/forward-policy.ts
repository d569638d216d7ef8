import * as v from 'valibot';

const listing = v.object({ nftables: v.array(v.unknown()) });
const forwardChain = v.object({
  chain: v.object({
    family: v.string(),
    table: v.string(),
    name: v.string(),
    hook: v.literal('forward'),
    policy: v.literal('drop'),
  }),
});

/**
 * Chains that drop what no rule of theirs accepts, on the way from clients to endpoints and back: nothing in another
 * table can undo that.
 * @param chains what `list chains` gives as JSON; anything else has no chains
 * @returns `ip filter FORWARD`, …
 */
export function forwardDrops(chains: unknown): readonly string[] {
  const parsed = v.safeParse(listing, chains);
  if (!parsed.success) return [];
  return parsed.output.nftables.flatMap((entry) => {
    const found = v.safeParse(forwardChain, entry);
    if (!found.success) return [];
    const { family, table, name } = found.output.chain;
    return [`${family} ${table} ${name}`];
  });
}
