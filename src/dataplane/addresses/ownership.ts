import type { IpAddress } from '../../model/address.ts';
import type { ApplyReport } from '../dataplane.ts';
import type { Ledger } from '../ledger.ts';
import type { AddressOp } from './ops.ts';
import type { LedgerEntry } from './rows.ts';

/** The ledger with all that `ops` are about to make or adopt; `ledger` itself if that is nothing new. */
export function enterInLedger(ledger: Ledger, ops: readonly AddressOp[]): Ledger {
  const draft = draftOf(ledger);
  for (const entry of ops.flatMap(madeBy)) {
    if (entry.kind === 'link') draft.links.add(entry.link);
    else if (entry.kind === 'route') draft.routes.add(entry.prefix);
    else draft.addresses.add(entry.address);
  }
  return changed(ledger, draft);
}

/** The ledger without what `report` says is gone, or was not made after all; `ledger` itself if that is nothing. */
export function strikeFromLedger(ledger: Ledger, report: ApplyReport<AddressOp>): Ledger {
  const draft = draftOf(ledger);
  const notMade = [...report.refused.map(({ op }) => op), ...report.notAttempted].flatMap(madeBy);
  for (const entry of [...report.acknowledged.flatMap(goneBy), ...notMade]) {
    if (entry.kind === 'link') draft.links.delete(entry.link);
    else if (entry.kind === 'route') draft.routes.delete(entry.prefix);
    else draft.addresses.delete(entry.address);
  }
  return changed(ledger, draft);
}

function madeBy(op: AddressOp): LedgerEntry[] {
  if (op.op === 'addLink') return [{ kind: 'link', link: op.link }];
  if (op.op === 'addRoute' || op.op === 'adoptRoute') return [{ kind: 'route', prefix: op.prefix }];
  if (op.op === 'addAddress' || op.op === 'adoptAddress') return [{ kind: 'address', address: op.address }];
  return [];
}

function goneBy(op: AddressOp): LedgerEntry[] {
  if (op.op === 'deleteLink') return [{ kind: 'link', link: op.link }];
  if (op.op === 'deleteRoute') return [{ kind: 'route', prefix: op.prefix }];
  if (op.op === 'deleteAddress') return [{ kind: 'address', address: op.address }];
  if (op.op === 'forgetMissing') return [op.entry];
  return [];
}

interface Draft {
  readonly links: Set<string>;
  readonly routes: Set<string>;
  readonly addresses: Set<IpAddress>;
}

function draftOf(ledger: Ledger): Draft {
  return {
    links: new Set(ledger.links),
    routes: new Set(ledger.routes),
    addresses: new Set(ledger.addresses),
  };
}

/** A draft has only grown or only shrunk, so equal sizes mean equal sets. */
function changed(ledger: Ledger, draft: Draft): Ledger {
  const same =
    draft.links.size === ledger.links.size &&
    draft.routes.size === ledger.routes.size &&
    draft.addresses.size === ledger.addresses.size;
  return same ? ledger : { ...ledger, ...draft };
}
