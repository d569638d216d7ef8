import * as v from 'valibot';
import { addressFromBytes, familyOf, type IpAddress, mappedBytes, parseIpAddress } from '../model/address.ts';
import { canonicalSnapshot, keyOf } from './canonical.ts';
import type { Snapshot } from './snapshot.ts';

/** A file that is no snapshot. The message is one line that names the file and the field. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
  readonly file: string;
  /** Path of the field, as `virtualServers[3].realServers[0].weight`; "" for the file as a whole */
  readonly field: string;

  constructor(file: string, field: string, problem: string, options?: ErrorOptions) {
    super(`Cannot read snapshot ${file}: ${field === '' ? '' : `${field}: `}${problem}`, options);
    this.file = file;
    this.field = field;
  }
}

/**
 * Reads the JSON that `snapshot -o json` writes. Unknown keys are ignored, so that an older svcplane reads
 * what a newer one added; the result is in canonical order, whatever the order in the text.
 * @param file name of the source, for errors
 * @throws SnapshotError at the first thing that is wrong
 */
export function parseSnapshot(text: string, file: string): Snapshot {
  const result = v.safeParse(SNAPSHOT, parseJson(text, file), { abortEarly: true });
  if (!result.success) {
    const [issue] = result.issues;
    throw new SnapshotError(file, formatPath(issue.path ?? []), issue.message);
  }
  const snapshot = canonicalSnapshot(result.output);
  checkKeys(snapshot, file);
  return snapshot;
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message.replaceAll(/\s+/g, ' ') : String(cause);
    throw new SnapshotError(file, '', problem, { cause });
  }
}

function checkKeys(snapshot: Snapshot, file: string): void {
  const seen = new Set<string>();
  for (const virtualServer of snapshot.virtualServers) {
    const key = keyOf(virtualServer);
    if (seen.has(key)) throw new SnapshotError(file, 'virtualServers', `${key} appears twice`);
    seen.add(key);
  }
}

function formatPath(path: readonly { readonly key?: unknown }[]): string {
  return path
    .map(({ key }, i) => (typeof key === 'number' ? `[${key}]` : `${i > 0 ? '.' : ''}${String(key)}`))
    .join('');
}

/** IPv4-mapped addresses are IPv6 here: the kernel can have virtual servers on them. */
function parseRowAddress(text: string): IpAddress | undefined {
  const address = parseIpAddress(text);
  if (!address || !text.includes(':') || familyOf(address) === 'IPv6') return address;
  return addressFromBytes(mappedBytes(address));
}

function integer(from: number, to: number) {
  const message = `is not an integer from ${from} to ${to}`;
  return v.pipe(v.number(message), v.integer(message), v.minValue(from, message), v.maxValue(to, message));
}

function oneOf<const Options extends readonly string[]>(options: Options) {
  return v.picklist(options, `is not one of ${options.join(', ')}`);
}

const UINT32_MAX = 0xffff_ffff;
const TEXT = v.string('is not a string');
const FLAG = v.boolean('is not true or false');
const PORT = integer(0, 65_535);
const COUNT = integer(0, UINT32_MAX);

const ADDRESS = v.pipe(
  TEXT,
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const address = parseRowAddress(dataset.value);
    if (address) return address;
    addIssue({ message: `${JSON.stringify(dataset.value)} is not an IP address` });
    return NEVER;
  }),
);

function list<const Item extends v.GenericSchema>(item: Item) {
  return v.array(item, 'is not a list');
}

function object<const Entries extends v.ObjectEntries>(entries: Entries) {
  return v.object(entries, ({ expected, received }) =>
    received === 'undefined' ? 'is missing' : expected === 'Object' ? 'is not an object' : 'is missing',
  );
}

const REAL_SERVER = object({
  address: ADDRESS,
  port: PORT,
  weight: integer(0, 0x7fff_ffff),
  forwarding: oneOf(['masquerade', 'direct', 'tunnel', 'local', 'bypass']),
  upperThreshold: v.exactOptional(COUNT),
  lowerThreshold: v.exactOptional(COUNT),
  tunnel: v.exactOptional(
    object({
      type: oneOf(['ipip', 'gue', 'gre']),
      port: PORT,
      checksum: oneOf(['none', 'csum', 'remcsum']),
    }),
  ),
  activeConnections: v.exactOptional(COUNT),
  inactiveConnections: v.exactOptional(COUNT),
});

const VIRTUAL_SERVER = v.pipe(
  object({
    address: v.nullable(ADDRESS),
    port: v.nullable(PORT),
    protocol: v.nullable(oneOf(['TCP', 'UDP', 'SCTP'])),
    firewallMark: v.exactOptional(integer(1, UINT32_MAX)),
    family: v.exactOptional(oneOf(['IPv4', 'IPv6'])),
    scheduler: TEXT,
    schedulerFlags: v.exactOptional(list(oneOf(['flag-1', 'flag-2', 'flag-3']))),
    persistenceTimeoutSeconds: v.nullable(COUNT),
    persistenceNetmask: v.exactOptional(TEXT),
    persistenceEngine: v.exactOptional(TEXT),
    onePacket: v.exactOptional(FLAG),
    exposure: v.nullable(oneOf(['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer'])),
    service: v.nullable(TEXT),
    servicePort: v.nullable(TEXT),
    owner: v.exactOptional(oneOf(['svcplane', 'foreign'])),
    realServers: list(REAL_SERVER),
  }),
  v.check(
    ({ address, port, protocol, firewallMark }) =>
      firewallMark === undefined
        ? address !== null && port !== null && protocol !== null
        : address === null && port === null && protocol === null,
    'has to have either address, port and protocol, or firewallMark and null for those',
  ),
);

const NFTABLES = object({
  table: TEXT,
  chains: list(object({ name: TEXT, declaration: TEXT, rules: list(TEXT) })),
  sets: list(object({ name: TEXT, declaration: v.exactOptional(TEXT), elements: list(TEXT) })),
  others: v.exactOptional(list(TEXT)),
});

const SOCKETS = object({
  mode: oneOf(['on', 'off', 'hostOnly']),
  programs: oneOf(['attached', 'partly', 'absent']),
  services: list(
    object({
      address: ADDRESS,
      port: integer(1, 65_535),
      protocol: oneOf(['TCP', 'UDP']),
      algorithm: oneOf(['random', 'maglev']),
      affinitySeconds: v.exactOptional(COUNT),
      realServers: list(object({ address: ADDRESS, port: integer(1, 65_535), weight: COUNT })),
    }),
  ),
});

const ANNOUNCEMENT = object({
  group: integer(1, 255),
  family: oneOf(['IPv4', 'IPv6']),
  priority: integer(0, 254),
  mayHold: v.boolean(),
  addresses: list(ADDRESS),
});

const SYNC_DAEMON = object({
  role: oneOf(['master', 'backup']),
  interface: TEXT,
  id: integer(0, 255),
  owner: v.exactOptional(oneOf(['svcplane', 'foreign'])),
  isCutOff: v.exactOptional(v.literal(true)),
});

const SNAPSHOT = object({
  version: v.literal(1, 'is not 1, the version this program reads'),
  node: TEXT,
  addresses: list(ADDRESS),
  routes: v.exactOptional(list(TEXT)),
  virtualServers: list(VIRTUAL_SERVER),
  nftables: v.exactOptional(NFTABLES),
  sockets: v.exactOptional(SOCKETS),
  announcements: v.exactOptional(list(ANNOUNCEMENT)),
  connectionSync: v.exactOptional(list(SYNC_DAEMON)),
  rejected: list(object({ subject: TEXT, reason: TEXT })),
});
