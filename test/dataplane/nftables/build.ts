import type { NftablesOp } from '../../../src/dataplane/nftables/ops.ts';
import { type NftablesOptions, project } from '../../../src/dataplane/nftables/project.ts';
import type { NftablesRows } from '../../../src/dataplane/nftables/rows.ts';
import type { SetName } from '../../../src/dataplane/nftables/sets.ts';
import { fromSnapshot, toSnapshot } from '../../../src/dataplane/nftables/snapshot.ts';
import { type Cidr, parseCidr } from '../../../src/model/cidr.ts';
import { desiredOf } from '../../derive.ts';

/** As the configuration is by default. */
export const OPTIONS: NftablesOptions = {
  table: 'svcplane',
  masqueradeAll: false,
  masqueradeBit: 27,
  firewallMarkBase: 0x53000000,
  detectLocal: 'clusterCIDR',
  excludeCIDRs: [],
  keepSourceCIDRs: [],
};

/** @throws RangeError if one is no range */
export function cidrs(...texts: readonly string[]): readonly Cidr[] {
  return texts.map((text) => {
    const cidr = parseCidr(text);
    if (!cidr) throw new RangeError(`${text} is no range`);
    return cidr;
  });
}

/** What `desired` means, one element a line as a snapshot has it, by set; sets without elements are left out. */
export function elementsOf(rows: NftablesRows): Readonly<Record<string, readonly string[]>> {
  const sets = toSnapshot(rows).nftables.sets;
  return Object.fromEntries(sets.map(({ name, elements }) => [name, elements]));
}

/** Our table with these elements, as `10.0.0.1 . tcp . 80`, in a map `10.0.0.1 . tcp . 80 : 0x53000001`. */
export function tableWith(
  elements: Partial<Record<SetName, readonly string[]>>,
  options: Partial<NftablesOptions> = {},
): NftablesRows {
  const { rows } = project(desiredOf([]), { ...OPTIONS, ...options });
  const { nftables } = toSnapshot({ ...rows, exists: true });
  const sets = Object.entries(elements).map(([name, some]) => ({ name, elements: some }));
  return { ...fromSnapshot({ nftables: { ...nftables, sets } }, rows), ruleset: rows.ruleset };
}

/** One operation a line: `addElement nft vips4 203.0.113.9`. */
export function linesOf(ops: readonly NftablesOp[]): readonly string[] {
  return ops.map(({ op, subject, detail }) => `${op} ${subject}${detail && `: ${detail}`}`);
}
