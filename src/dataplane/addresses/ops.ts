import * as v from 'valibot';
import { type IpAddress, parseIpAddress } from '../../model/address.ts';
import { unreachable } from '../../model/brand.ts';
import { formatCidr, parseCidr } from '../../model/cidr.ts';
import type { Operation, OpOf } from '../dataplane.ts';
import { operationReader } from '../operation-reader.ts';
import { type LedgerEntry, ledgerKey } from './rows.ts';

/** Every change this dataplane makes, by name, with its arguments. `link` is a name. */
export interface AddressOps {
  /** A dummy, up at once: routes and IPv6 addresses need that. */
  addLink: { readonly link: string };
  setLinkUp: { readonly link: string };
  addRoute: { readonly link: string; readonly prefix: string; readonly source: IpAddress | null };
  /** In place. */
  setRouteSource: { readonly link: string; readonly prefix: string; readonly source: IpAddress | null };
  /** Enters what is there already, exactly as wanted, as ours. Changes the ledger, not the kernel. */
  adoptRoute: { readonly prefix: string };
  addAddress: { readonly link: string; readonly address: IpAddress };
  /** Enters what is there already, exactly as wanted, as ours. Changes the ledger, not the kernel. */
  adoptAddress: { readonly address: IpAddress };
  deleteAddress: { readonly link: string; readonly address: IpAddress };
  deleteRoute: { readonly link: string; readonly prefix: string };
  /** Whatever is on it goes with it. */
  deleteLink: { readonly link: string };
  /** Strikes out of the ledger what the kernel doesn't have. */
  forgetMissing: { readonly entry: LedgerEntry };
}

export type AddressOp = OpOf<AddressOps>;

/** An operation's name with its arguments: all that decides what it does. */
export type AddressChange = {
  [Name in keyof AddressOps]: { readonly op: Name } & AddressOps[Name];
}[keyof AddressOps];

/** Adds what is shown of a change: subject, detail and reason. */
export function operation(change: AddressChange, reason: string): AddressOp {
  return { ...change, ...describe(change), reason };
}

function describe(change: AddressChange): Pick<Operation, 'subject' | 'detail'> {
  switch (change.op) {
    case 'addLink':
      return { subject: `link ${change.link}`, detail: 'type dummy, up' };
    case 'setLinkUp':
      return { subject: `link ${change.link}`, detail: 'down → up' };
    case 'deleteLink':
      return { subject: `link ${change.link}`, detail: '' };
    case 'addAddress':
    case 'deleteAddress':
      return { subject: `address ${change.address}`, detail: `dev ${change.link}` };
    case 'adoptAddress':
      return { subject: `address ${change.address}`, detail: 'owner foreign → svcplane' };
    case 'addRoute':
    case 'setRouteSource': {
      const source = change.source === null ? '' : ` src ${change.source}`;
      return { subject: `route ${change.prefix}`, detail: `dev ${change.link}${source}` };
    }
    case 'deleteRoute':
      return { subject: `route ${change.prefix}`, detail: `dev ${change.link}` };
    case 'adoptRoute':
      return { subject: `route ${change.prefix}`, detail: 'owner foreign → svcplane' };
    case 'forgetMissing':
      return { subject: ledgerKey(change.entry), detail: 'in the ledger only' };
    default:
      return unreachable(change);
  }
}

const link = v.pipe(v.string(), v.regex(/^[^\s/]{1,15}$/, 'is no link name'));
const address = parsed(parseIpAddress, 'is no IP address');
const prefix = parsed((text) => {
  const cidr = parseCidr(text);
  return cidr && formatCidr(cidr);
}, 'is no address range');
const source = v.nullable(address);
const entry = v.variant('kind', [
  v.object({ kind: v.literal('address'), address }),
  v.object({ kind: v.literal('route'), prefix }),
  v.object({ kind: v.literal('link'), link }),
]);
const shown = { subject: v.string(), detail: v.string(), reason: v.string() };

const SCHEMAS = {
  addLink: v.object({ op: v.literal('addLink'), ...shown, link }),
  setLinkUp: v.object({ op: v.literal('setLinkUp'), ...shown, link }),
  addRoute: v.object({ op: v.literal('addRoute'), ...shown, link, prefix, source }),
  setRouteSource: v.object({ op: v.literal('setRouteSource'), ...shown, link, prefix, source }),
  adoptRoute: v.object({ op: v.literal('adoptRoute'), ...shown, prefix }),
  addAddress: v.object({ op: v.literal('addAddress'), ...shown, link, address }),
  adoptAddress: v.object({ op: v.literal('adoptAddress'), ...shown, address }),
  deleteAddress: v.object({ op: v.literal('deleteAddress'), ...shown, link, address }),
  deleteRoute: v.object({ op: v.literal('deleteRoute'), ...shown, link, prefix }),
  deleteLink: v.object({ op: v.literal('deleteLink'), ...shown, link }),
  forgetMissing: v.object({ op: v.literal('forgetMissing'), ...shown, entry }),
} satisfies { [Name in keyof AddressOps]: unknown };

/** See {@link operationReader}. */
export const parseOp: (value: unknown) => AddressOp | undefined = operationReader(SCHEMAS);

function parsed<T>(parse: (text: string) => T | undefined, message: string) {
  return v.pipe(
    v.string(),
    v.rawTransform<string, T>(({ dataset, addIssue, NEVER }) => {
      const value = parse(dataset.value);
      if (value !== undefined) return value;
      addIssue({ message: `${JSON.stringify(dataset.value)} ${message}` });
      return NEVER;
    }),
  );
}
