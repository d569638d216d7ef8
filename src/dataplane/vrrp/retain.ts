import type { IpAddress } from '../../model/address.ts';
import type { InstanceRow, VrrpRows } from './rows.ts';
import { addressesIn, withAddresses } from './text.ts';

/** `wanted`, and those of `addresses` that our instances have now: connections to them drain, or the guard holds them. */
export function retainAddresses(
  observed: VrrpRows,
  wanted: VrrpRows,
  addresses: ReadonlySet<IpAddress>,
): VrrpRows {
  const instances = new Map(wanted.instances);
  const texts: ReadonlySet<string> = addresses;
  for (const [name, have] of observed.instances) {
    const want = wanted.instances.get(name);
    const kept = want ? addressesIn(want.config) : [];
    const retained = addressesIn(have.config).filter(
      (address) => texts.has(address) && !kept.includes(address),
    );
    if (retained.length > 0) instances.set(name, withOnly(want ?? have, [...kept, ...retained]));
  }
  if (instances.size === wanted.instances.size && wanted.main !== null) return { ...wanted, instances };
  if (instances.size === 0) return wanted;
  return { main: wanted.main ?? observed.main, instances, isRunning: true };
}

function withOnly(row: InstanceRow, addresses: readonly string[]): InstanceRow {
  return { ...row, config: withAddresses(row.config, addresses) };
}
