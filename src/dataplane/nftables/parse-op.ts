import * as v from 'valibot';
import { isMarkBase } from '../../model/firewall-mark.ts';
import { isKeyOf } from './keys.ts';
import type { NftablesOp, NftablesOpNamed, NftablesOps } from './ops.ts';
import { CHAIN_NAMES, isLinkPattern } from './rules.ts';
import { declarationOf, SET_NAMES } from './sets.ts';

/**
 * Reads back one operation of a saved plan.
 * @returns undefined if it is none of this dataplane's
 * @throws RangeError naming the operation and the field that is wrong
 */
export function parseNftablesOp(value: unknown): NftablesOp | undefined {
  if (typeof value !== 'object' || value === null || !('op' in value)) return undefined;
  const { op } = value;
  if (typeof op !== 'string' || !isOpName(op)) return undefined;
  const parsed = v.safeParse(SCHEMAS[op], value, { abortEarly: true });
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new RangeError(`Cannot read operation ${op}: ${v.getDotPath(issue) ?? 'it'}: ${issue.message}`);
  }
  const misfit = misfitOf(parsed.output);
  if (misfit !== undefined) throw new RangeError(`Cannot read operation ${op}: ${misfit}`);
  return parsed.output;
}

/** What of an element can't be in its set; undefined if nothing. */
function misfitOf(op: NftablesOp): string | undefined {
  if (!('set' in op)) return undefined;
  if (!isKeyOf(op.set, op.key)) return `key: not one that ${op.set} can have`;
  const isMap = declarationOf(op.set).value !== null;
  return 'mark' in op && (op.mark !== null) !== isMap
    ? `mark: for maps alone, and never missing there`
    : undefined;
}

const TEXT = v.string();
const MARK = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));
/** An identifier of nft(8), no longer than the kernel takes. */
const TABLE = v.pipe(TEXT, v.regex(/^[A-Za-z_][A-Za-z0-9_-]{0,63}$/, 'not the name of a table'));
const SET = v.picklist(SET_NAMES);
const FAMILY = v.picklist(['IPv4', 'IPv6']);

const RULESET = v.strictObject({
  detection: v.variant('by', [
    v.strictObject({ by: v.literal('sources'), of: v.picklist(['pods', 'node-pods']) }),
    v.strictObject({ by: v.literal('link'), name: v.pipe(TEXT, v.check(isLinkPattern, 'not a link')) }),
  ]),
  knownPods: v.array(FAMILY),
  masqueradeAll: v.boolean(),
  keepSource: v.array(FAMILY),
  masqueradeBit: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(31)),
  firewallMarkBase: v.pipe(v.number(), v.check(isMarkBase, 'not the base of firewall marks')),
});

function operation<const Name extends keyof NftablesOps, const Entries extends v.ObjectEntries>(
  name: Name,
  entries: Entries,
) {
  return v.object({
    op: v.literal(name),
    subject: TEXT,
    detail: TEXT,
    reason: TEXT,
    table: TABLE,
    ...entries,
  });
}

/** One schema per operation: a new operation does not compile until it can be read back. */
const SCHEMAS: { readonly [Name in keyof NftablesOps]: v.GenericSchema<unknown, NftablesOpNamed<Name>> } = {
  addTable: operation('addTable', { ruleset: RULESET }),
  setTable: operation('setTable', { ruleset: RULESET }),
  setChain: operation('setChain', { chain: v.picklist(CHAIN_NAMES), ruleset: RULESET }),
  addElement: operation('addElement', { set: SET, key: TEXT, mark: v.nullable(MARK) }),
  setElement: operation('setElement', { set: SET, key: TEXT, mark: MARK }),
  deleteElement: operation('deleteElement', { set: SET, key: TEXT }),
  deleteTable: operation('deleteTable', {}),
};

/** The operations of this dataplane by name, for whoever must go through them all. */
export const NFTABLES_OP_NAMES: readonly (keyof NftablesOps)[] = Object.keys(SCHEMAS).filter(isOpName);

function isOpName(name: string): name is keyof NftablesOps {
  return Object.hasOwn(SCHEMAS, name);
}
