import * as v from 'valibot';
import { compareAddresses, type IpAddress, parseIpAddress } from '../model/address.ts';
import { formatCidr, parseCidr } from '../model/cidr.ts';
import { compareText } from '../model/rejected.ts';
import { parseVirtualServerKey, type VirtualServerKey, virtualServerKey } from '../model/virtual-server.ts';
import {
  type DrainKey,
  type Ledger,
  type LedgerDrain,
  type LedgerOrigin,
  type LedgerSyncDaemon,
  SYNC_ROLES,
  type SyncRole,
} from './ledger.ts';

/** What a ledger is valid for: after a reboot, or in another network namespace, nothing in it exists. */
export interface KernelIdentity {
  /** /proc/sys/kernel/random/boot_id */
  readonly bootId: string;
  /** As /proc/self/ns/net reads: `net:[4026531840]` */
  readonly networkNamespace: string;
}

/** A ledger with the kernel it was written for. */
export interface LedgerDocument extends KernelIdentity {
  readonly ledger: Ledger;
}

/** The text of the file: versioned, sorted, one entry a line, so that equal ledgers are equal files. */
export function formatLedger({ bootId, networkNamespace, ledger }: LedgerDocument): string {
  const document = {
    version: 1,
    bootId,
    networkNamespace,
    virtualServers: sortedObject(new Map([...ledger.virtualServers].map(originEntry))),
    drains: sortedObject(new Map([...ledger.drains].map(drainEntry))),
    staleFlows: [...ledger.staleFlows].sort(compareText),
    addresses: [...ledger.addresses].sort(compareAddresses),
    routes: [...ledger.routes].sort(compareText),
    links: [...ledger.links].sort(compareText),
    sysctls: sortedObject(ledger.sysctls),
    syncDaemons: sortedObject(ledger.syncDaemons),
  };
  return `${JSON.stringify(document, null, 1)}\n`;
}

/**
 * Reads the text of {@link formatLedger}.
 * @throws SyntaxError if it isn't JSON
 * @throws RangeError if it is no ledger of version 1; the message says where
 */
export function parseLedger(text: string): LedgerDocument {
  const parsed = v.safeParse(DOCUMENT, JSON.parse(text));
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new RangeError(`${v.getDotPath(issue) ?? 'the document'}: ${issue.message}`);
  }
  const { bootId, networkNamespace, ...ledger } = parsed.output;
  return {
    bootId,
    networkNamespace,
    ledger: {
      // The keys are what virtualServerKey and drainKey wrote; a key nobody asks for does no harm.
      virtualServers: new Map(
        Object.entries(ledger.virtualServers).map(([key, origin]) => [key as VirtualServerKey, origin]),
      ),
      drains: new Map(Object.entries(ledger.drains).map(([key, drain]) => [key as DrainKey, drain])),
      staleFlows: new Set(ledger.staleFlows.map((key) => key as VirtualServerKey)),
      addresses: new Set(ledger.addresses),
      routes: new Set(ledger.routes),
      links: new Set(ledger.links),
      sysctls: new Map(Object.entries(ledger.sysctls)),
      syncDaemons: new Map(SYNC_ROLES.flatMap((role) => syncDaemonEntry(role, ledger.syncDaemons[role]))),
    },
  };
}

const ADDRESS = v.pipe(
  v.string(),
  v.rawTransform<string, IpAddress>(({ dataset, addIssue, NEVER }) => {
    const address = parseIpAddress(dataset.value);
    if (address) return address;
    addIssue({ message: `${JSON.stringify(dataset.value)} is no IP address` });
    return NEVER;
  }),
);

const PREFIX = v.pipe(
  v.string(),
  v.rawTransform<string, string>(({ dataset, addIssue, NEVER }) => {
    const cidr = parseCidr(dataset.value);
    if (cidr) return formatCidr(cidr);
    addIssue({ message: `${JSON.stringify(dataset.value)} is no address range` });
    return NEVER;
  }),
);

const FRONTEND = v.pipe(
  v.nullable(v.string()),
  v.rawTransform<string | null, VirtualServerKey | null>(({ dataset, addIssue, NEVER }) => {
    if (dataset.value === null) return null;
    const identity = parseVirtualServerKey(dataset.value);
    if (identity?.kind === 'address') return virtualServerKey(identity);
    addIssue({ message: `${JSON.stringify(dataset.value)} is no frontend` });
    return NEVER;
  }),
);

const NUMBER = v.pipe(v.number(), v.finite());

/** A number alone is the start of a drain with the configured timeout. */
const DRAIN = v.union([
  v.pipe(
    NUMBER,
    v.transform((startedAtMs): LedgerDrain => ({ startedAtMs, timeoutSeconds: null })),
  ),
  v.object({ startedAtMs: NUMBER, timeoutSeconds: NUMBER }),
]);

const SYNC_DAEMON = v.object({
  interface: v.string(),
  id: NUMBER,
  linkIndex: v.optional(v.nullable(NUMBER), null),
});

const DOCUMENT = v.object({
  version: v.literal(1),
  bootId: v.string(),
  networkNamespace: v.string(),
  virtualServers: v.record(
    v.string(),
    v.object({
      service: v.string(),
      servicePort: v.string(),
      exposure: v.picklist(['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer']),
      frontend: v.optional(FRONTEND, null),
      drainTimeoutSeconds: v.optional(v.nullable(NUMBER), null),
    }),
  ),
  drains: v.record(v.string(), DRAIN),
  staleFlows: v.optional(v.array(v.string()), []),
  addresses: v.array(ADDRESS),
  routes: v.array(PREFIX),
  links: v.array(v.string()),
  sysctls: v.record(v.string(), v.object({ before: v.string(), set: v.string() })),
  syncDaemons: v.optional(
    v.object({ master: v.exactOptional(SYNC_DAEMON), backup: v.exactOptional(SYNC_DAEMON) }),
    {},
  ),
});

function syncDaemonEntry(
  role: SyncRole,
  daemon: LedgerSyncDaemon | undefined,
): readonly (readonly [SyncRole, LedgerSyncDaemon])[] {
  return daemon ? [[role, daemon]] : [];
}

/** A frontend is left out of its own entry, and what is as configured. */
function originEntry([key, origin]: readonly [VirtualServerKey, LedgerOrigin]) {
  const { service, servicePort, exposure, frontend, drainTimeoutSeconds = null } = origin;
  const entry = {
    service,
    servicePort,
    exposure,
    ...(frontend !== null && { frontend }),
    ...(drainTimeoutSeconds !== null && { drainTimeoutSeconds }),
  };
  return [key, entry] as const;
}

function drainEntry([key, drain]: readonly [DrainKey, LedgerDrain]) {
  return [key, drain.timeoutSeconds === null ? drain.startedAtMs : drain] as const;
}

function sortedObject<Value>(map: ReadonlyMap<string, Value>): Record<string, Value> {
  return Object.fromEntries([...map].sort(([a], [b]) => compareText(a, b)));
}
