import type { IpAddress } from '../../model/address.ts';
import type { RowsChange } from '../dataplane.ts';
import type { AddressOp } from './ops.ts';
import type { AddressRow, AddressRows } from './rows.ts';

/** What others have that decides about our addresses. */
export interface ForeignRows {
  /** On our link. */
  readonly addresses: ReadonlyMap<IpAddress, AddressRow>;
  readonly local: AddressRows['foreignLocal'];
}

/** The part of observed rows that is not ours. */
export function foreignRows({ addresses, foreignLocal }: AddressRows): ForeignRows {
  const foreign = [...addresses].filter(([, { owner }]) => owner === 'foreign');
  return { addresses: new Map(foreign), local: foreignLocal };
}

/** After the kernel has acknowledged `ops`: what was adopted or deleted is nobody else's any more. */
export function withoutOurs({ addresses, local }: ForeignRows, ops: readonly AddressOp[]): ForeignRows {
  const rest = new Map(addresses);
  for (const op of ops) if (op.op === 'adoptAddress' || op.op === 'deleteAddress') rest.delete(op.address);
  return { addresses: rest, local };
}

/** The rows of a scope as a sync that wanted `before` must have left them. */
export function believedRows(
  { before, wanted }: Pick<RowsChange<AddressRows>, 'before' | 'wanted'>,
  others: ForeignRows,
): AddressRows {
  const addresses = new Map<IpAddress, AddressRow>();
  for (const [address, row] of before.addresses) {
    // Where another link has it, it was not bound.
    if (!others.local?.has(address)) addresses.set(address, row);
  }
  for (const address of [...before.addresses.keys(), ...wanted.addresses.keys()]) {
    const foreign = others.addresses.get(address);
    if (foreign) addresses.set(address, foreign);
  }
  return { ...before, addresses, foreignLocal: others.local };
}
