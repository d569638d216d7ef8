import { compareAddresses } from '../../model/address.ts';
import { hostPrefixLength } from '../../model/cidr.ts';
import { compareText } from '../../model/rejected.ts';
import type { Snapshot } from '../../snapshot/snapshot.ts';
import { type AddressRow, type AddressRows, emptyRows, type RouteRow } from './rows.ts';

/** What of a snapshot this dataplane has; `routes` only where there are any. */
export type AddressesOfSnapshot = Pick<Snapshot, 'addresses' | 'routes'>;

/** All addresses and routes of our link, whoever made them. */
export function toSnapshot(rows: AddressRows): AddressesOfSnapshot {
  const addresses = [...rows.addresses.keys()].sort(compareAddresses);
  const routes = [...rows.routes.keys()].sort(compareText);
  return routes.length === 0 ? { addresses } : { addresses, routes };
}

/**
 * The rows that a snapshot records. It tells no owner: all count as ours. Nor does it tell the source of a route:
 * that counts as the one `wanted`, so that a plan against a snapshot changes nothing it can't see.
 */
export function fromSnapshot(snapshot: AddressesOfSnapshot, wanted: AddressRows): AddressRows {
  const addresses = new Map(
    snapshot.addresses.map((address): [typeof address, AddressRow] => [
      address,
      { owner: 'svcplane', prefixLength: hostPrefixLength(address), origin: '' },
    ]),
  );
  const routes = new Map(
    (snapshot.routes ?? []).map((prefix): [string, RouteRow] => [
      prefix,
      { owner: 'svcplane', source: wanted.routes.get(prefix)?.source ?? null, origin: '' },
    ]),
  );
  const empty = emptyRows(wanted.link.name);
  const exists = addresses.size + routes.size > 0;
  const link = exists ? { ...empty.link, exists, isUp: true, kind: 'dummy', ours: true } : empty.link;
  return { ...empty, link, addresses, routes };
}
