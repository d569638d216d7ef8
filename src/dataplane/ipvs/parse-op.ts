import * as v from 'valibot';
import { parseIpAddress } from '../../model/address.ts';
import { schedulerFromKernel } from '../../model/scheduler.ts';
import {
  parseVirtualServerKey,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import type { IpvsOp, IpvsOpNamed, IpvsOps } from './ops.ts';
import { SYSCTL_NAMES } from './sysctls.ts';

/**
 * Reads back one operation of a saved plan.
 * @returns undefined if it is none of this dataplane's
 * @throws RangeError naming the operation and the field that is wrong
 */
export function parseIpvsOp(value: unknown): IpvsOp | undefined {
  if (typeof value !== 'object' || value === null || !('op' in value)) return undefined;
  const { op } = value;
  if (typeof op !== 'string' || !isOpName(op)) return undefined;
  const parsed = v.safeParse(SCHEMAS[op], value, { abortEarly: true });
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const field = issue.path?.map(({ key }) => String(key)).join('.') ?? '';
  throw new RangeError(`Cannot read operation ${op}: ${field}: ${issue.message}`);
}

const TEXT = v.string();
const UINT32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));
const PORT = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff));
const TIME_MS = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const TIMEOUT_SECONDS = v.optional(v.nullable(v.pipe(v.number(), v.finite(), v.minValue(0))), null);

const PROTOCOL = v.picklist(['TCP', 'UDP', 'SCTP']);

const ADDRESS = v.pipe(
  TEXT,
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const address = parseIpAddress(dataset.value);
    if (address === dataset.value) return address;
    addIssue({ message: 'not an IP address in canonical text' });
    return NEVER;
  }),
);

const IDENTITY = v.variant('kind', [
  v.strictObject({
    kind: v.literal('address'),
    address: ADDRESS,
    port: PORT,
    protocol: PROTOCOL,
  }),
  v.strictObject({
    kind: v.literal('firewallMark'),
    family: v.picklist(['IPv4', 'IPv6']),
    firewallMark: UINT32,
  }),
]);

const CONFIG = v.strictObject({
  scheduler: v.pipe(TEXT, v.regex(/^[a-z0-9_]{1,15}$/), v.transform(schedulerFromKernel)),
  flags: UINT32,
  persistenceTimeoutSeconds: v.nullable(UINT32),
  netmask: v.nullable(TEXT),
  persistenceEngine: v.nullable(TEXT),
});

const FRONTEND = v.pipe(
  TEXT,
  v.rawTransform<string, VirtualServerKey>(({ dataset, addIssue, NEVER }) => {
    const identity = parseVirtualServerKey(dataset.value);
    if (identity?.kind === 'address') return virtualServerKey(identity);
    addIssue({ message: 'not a frontend' });
    return NEVER;
  }),
);

const ORIGIN = v.strictObject({
  service: TEXT,
  servicePort: TEXT,
  exposure: v.picklist(['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer']),
  frontend: v.optional(v.nullable(FRONTEND), null),
  drainTimeoutSeconds: TIMEOUT_SECONDS,
});

const REAL_SERVER = v.strictObject({
  address: ADDRESS,
  port: PORT,
  weight: v.pipe(UINT32, v.maxValue(0x7fff_ffff)),
  forwarding: v.picklist(['masquerade', 'direct', 'tunnel', 'local', 'bypass']),
  upperThreshold: UINT32,
  lowerThreshold: UINT32,
  tunnel: v.nullable(
    v.strictObject({
      type: v.picklist(['ipip', 'gue', 'gre']),
      port: PORT,
      checksum: v.picklist(['none', 'csum', 'remcsum']),
    }),
  ),
});

const SYSCTL = { name: v.picklist(SYSCTL_NAMES), before: TEXT, value: TEXT };

function operation<const Name extends keyof IpvsOps, const Entries extends v.ObjectEntries>(
  name: Name,
  entries: Entries,
) {
  return v.object({ op: v.literal(name), subject: TEXT, detail: TEXT, reason: TEXT, ...entries });
}

/** One schema per operation: a new operation does not compile until it can be read back. */
const SCHEMAS: { readonly [Name in keyof IpvsOps]: v.GenericSchema<unknown, IpvsOpNamed<Name>> } = {
  setSysctl: operation('setSysctl', SYSCTL),
  restoreSysctl: operation('restoreSysctl', SYSCTL),
  addVirtualServer: operation('addVirtualServer', { identity: IDENTITY, config: CONFIG, origin: ORIGIN }),
  setVirtualServer: operation('setVirtualServer', { identity: IDENTITY, config: CONFIG }),
  adoptVirtualServer: operation('adoptVirtualServer', { identity: IDENTITY, origin: ORIGIN }),
  deleteVirtualServer: operation('deleteVirtualServer', { identity: IDENTITY }),
  addRealServer: operation('addRealServer', { identity: IDENTITY, realServer: REAL_SERVER }),
  setRealServer: operation('setRealServer', { identity: IDENTITY, realServer: REAL_SERVER }),
  drainRealServer: operation('drainRealServer', {
    identity: IDENTITY,
    realServer: v.object({ ...REAL_SERVER.entries, weight: v.literal(0) }),
    weightBefore: UINT32,
    startedAtMs: TIME_MS,
    timeoutSeconds: TIMEOUT_SECONDS,
  }),
  deleteRealServer: operation('deleteRealServer', { identity: IDENTITY, realServer: REAL_SERVER }),
  deleteFlows: operation('deleteFlows', {
    protocol: PROTOCOL,
    address: ADDRESS,
    port: PORT,
    keep: v.array(v.strictObject({ address: ADDRESS, port: PORT })),
  }),
};

/** The operations of this dataplane by name, for whoever must go through them all. */
export const IPVS_OP_NAMES: readonly (keyof IpvsOps)[] = Object.keys(SCHEMAS).filter((name) =>
  isOpName(name),
);

function isOpName(name: string): name is keyof IpvsOps {
  return Object.hasOwn(SCHEMAS, name);
}
