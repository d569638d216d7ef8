import type { IpAddress } from '../../model/address.ts';
import { hostPrefixLength } from '../../model/cidr.ts';
import { type Executors, execute } from '../dataplane.ts';
import type { AddressOp, AddressOps } from './ops.ts';
import {
  type AddressRow,
  type AddressRows,
  type LedgerEntry,
  type LedgerKey,
  type LinkRow,
  ledgerKey,
  type RouteRow,
} from './rows.ts';

/** The rows after the kernel has acknowledged `ops`, in order. */
export function reduce(rows: AddressRows, ops: readonly AddressOp[]): AddressRows {
  if (ops.length === 0) return rows;
  const draft = {
    link: rows.link,
    addresses: new Map(rows.addresses),
    routes: new Map(rows.routes),
    missing: new Map(rows.missing),
  };
  const effects = effectsOn(draft);
  for (const op of ops) execute<AddressOps, keyof AddressOps, void>(effects, op);
  return { ...rows, ...draft };
}

interface Draft {
  link: LinkRow;
  readonly addresses: Map<IpAddress, AddressRow>;
  readonly routes: Map<string, RouteRow>;
  readonly missing: Map<LedgerKey, LedgerEntry>;
}

function effectsOn(draft: Draft): Executors<AddressOps, void> {
  const { addresses, routes, missing } = draft;
  const bind = (address: IpAddress, origin: string) => {
    addresses.set(address, { owner: 'svcplane', prefixLength: hostPrefixLength(address), origin });
    missing.delete(`address ${address}`);
  };
  const route = (prefix: string, source: IpAddress | null, origin: string) => {
    routes.set(prefix, { owner: 'svcplane', source, origin });
    missing.delete(`route ${prefix}`);
  };
  return {
    addLink: ({ link }) => {
      draft.link = { ...draft.link, exists: true, isUp: true, kind: 'dummy', ours: true };
      missing.delete(`link ${link}`);
    },
    setLinkUp: () => {
      draft.link = { ...draft.link, isUp: true };
    },
    deleteLink: () => {
      draft.link = { ...draft.link, exists: false, isUp: false, kind: null, ours: false };
      addresses.clear();
      routes.clear();
    },
    addAddress: ({ address, reason }) => bind(address, reason),
    adoptAddress: ({ address, reason }) => bind(address, reason),
    deleteAddress: ({ address }) => addresses.delete(address),
    addRoute: ({ prefix, source, reason }) => route(prefix, source, reason),
    setRouteSource: ({ prefix, source, reason }) => route(prefix, source, reason),
    adoptRoute: ({ prefix, reason }) => route(prefix, routes.get(prefix)?.source ?? null, reason),
    deleteRoute: ({ prefix }) => routes.delete(prefix),
    forgetMissing: ({ entry }) => missing.delete(ledgerKey(entry)),
  };
}
