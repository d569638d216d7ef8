import * as v from 'valibot';
import { parseIpAddress } from '../../model/address.ts';
import { MAP_SHAPES } from './layout.ts';
import type { SocklbOp, SocklbOpNamed, SocklbOps } from './ops.ts';

/**
 * Reads back one operation of a saved plan.
 * @returns undefined if it is none of this dataplane's
 * @throws RangeError naming the operation and the field that is wrong
 */
export function parseSocklbOp(value: unknown): SocklbOp | undefined {
  if (typeof value !== 'object' || value === null || !('op' in value)) return undefined;
  const { op } = value;
  if (typeof op !== 'string' || !isOpName(op)) return undefined;
  const parsed = v.safeParse(SCHEMAS[op], value, { abortEarly: true });
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new RangeError(`Cannot read operation ${op}: ${v.getDotPath(issue) ?? 'it'}: ${issue.message}`);
}

const TEXT = v.string();
const UINT32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));
const ID = v.pipe(UINT32, v.minValue(1));
const PORT = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xffff));

const ADDRESS = v.pipe(
  TEXT,
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const address = parseIpAddress(dataset.value);
    if (address === dataset.value) return address;
    addIssue({ message: 'not an IP address in canonical text' });
    return NEVER;
  }),
);

const ENDPOINT = { address: ADDRESS, port: PORT };
const FRONTEND = v.strictObject({ ...ENDPOINT, protocol: v.picklist(['TCP', 'UDP']) });

/** No more than the map of slots can hold: each of them is written. */
const WEIGHT = v.pipe(UINT32, v.maxValue(MAP_SHAPES.lb_slot.maxEntries));

const SERVICE = v.strictObject({
  id: ID,
  generation: ID,
  algorithm: v.picklist(['random', 'maglev']),
  affinitySeconds: UINT32,
  backends: v.array(v.strictObject({ id: ID, ...ENDPOINT, weight: WEIGHT, isWritten: v.boolean() })),
});

/** The bytes of a key of lb_svc. */
const ENTRY = v.pipe(TEXT, v.regex(/^[0-9a-f]{40}$/, 'not 20 bytes in hexadecimal'));

const SLOTS = { serviceId: UINT32, generation: UINT32, slots: v.array(UINT32) };

const LEFT = v.variant('kind', [
  v.strictObject({
    kind: v.literal('backend'),
    id: UINT32,
    serviceId: UINT32,
    endpoint: v.nullable(FRONTEND),
    isTerminating: v.boolean(),
  }),
  v.strictObject({ kind: v.literal('slots'), ...SLOTS }),
  v.strictObject({ kind: v.literal('table'), serviceId: UINT32 }),
  v.strictObject({ kind: v.literal('entry'), key: ENTRY }),
]);

function operation<const Name extends keyof SocklbOps, const Entries extends v.ObjectEntries>(
  name: Name,
  entries: Entries,
) {
  return v.object({ op: v.literal(name), subject: TEXT, detail: TEXT, reason: TEXT, ...entries });
}

/** One schema per operation: a new operation does not compile until it can be read back. */
const SCHEMAS: { readonly [Name in keyof SocklbOps]: v.GenericSchema<unknown, SocklbOpNamed<Name>> } = {
  addSocketService: operation('addSocketService', { frontend: FRONTEND, service: SERVICE }),
  setSocketService: operation('setSocketService', {
    frontend: FRONTEND,
    service: SERVICE,
    leaves: v.array(LEFT),
  }),
  deleteSocketService: operation('deleteSocketService', { frontend: FRONTEND, leaves: v.array(LEFT) }),
  deleteSocketEntry: operation('deleteSocketEntry', { key: ENTRY }),
  deleteSocketSlots: operation('deleteSocketSlots', SLOTS),
  deleteSocketTable: operation('deleteSocketTable', { serviceId: UINT32 }),
  endSockets: operation('endSockets', { id: UINT32, ...ENDPOINT }),
  deleteSocketBackend: operation('deleteSocketBackend', { id: UINT32 }),
  setSocketMode: operation('setSocketMode', { flags: UINT32, udpFlowSeconds: UINT32 }),
  addSocketPrograms: operation('addSocketPrograms', {}),
  deleteSocketPrograms: operation('deleteSocketPrograms', {}),
};

/** The operations of this dataplane by name, for whoever must go through them all. */
export const SOCKLB_OP_NAMES: readonly (keyof SocklbOps)[] = Object.keys(SCHEMAS).filter(isOpName);

function isOpName(name: string): name is keyof SocklbOps {
  return Object.hasOwn(SCHEMAS, name);
}
