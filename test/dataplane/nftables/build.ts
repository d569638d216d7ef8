import type { NftablesOptions } from '../../../src/dataplane/nftables/project.ts';
import { type Cidr, parseCidr } from '../../../src/model/cidr.ts';

/** As the configuration is by default. */
export const OPTIONS: NftablesOptions = {
  table: 'svcplane',
  masqueradeAll: false,
  masqueradeBit: 27,
  firewallMarkBase: 0x53000000,
  detectLocal: 'clusterCIDR',
  excludeCIDRs: [],
};

/** @throws RangeError if one is no range */
export function cidrs(...texts: readonly string[]): readonly Cidr[] {
  return texts.map((text) => {
    const cidr = parseCidr(text);
    if (!cidr) throw new RangeError(`${text} is no range`);
    return cidr;
  });
}
