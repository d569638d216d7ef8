import { familyOf } from '../model/address.ts';
import type { DesiredState } from '../model/desired-state.ts';
import {
  type VirtualServerIdentity,
  type VirtualServerKey,
  virtualServerKey,
} from '../model/virtual-server.ts';

/** What has gone through one virtual server since it was made. */
export interface TrafficRow {
  readonly key: VirtualServerKey;
  readonly identity: VirtualServerIdentity;
  readonly connections: number;
  readonly inPackets: number;
  readonly outPackets: number;
  readonly inBytes: number;
  readonly outBytes: number;
}

/** Whose a virtual server is; of a firewall mark, whose inside clients bear it. */
export interface TrafficOwner {
  /** `namespace/name` */
  readonly service: string;
  /** "" if unnamed */
  readonly servicePort: string;
  readonly frontend: VirtualServerIdentity;
}

/** undefined for foreign ones */
export type TrafficOwnerOf = (key: VirtualServerKey) => TrafficOwner | undefined;

export interface TrafficOptions {
  /** The kernel's counters. */
  read(): Promise<readonly TrafficRow[]>;
  /** Whose they are now. */
  owners(): TrafficOwnerOf;
  /** Of how many virtual servers, each of which costs five series in whatever stores them; 0 for none. */
  maxVirtualServers(): number;
  /** A clock that never goes back, in milliseconds. */
  nowMs(): number;
}

/** However many ask: a dump of 10,000 virtual servers takes tens of milliseconds. */
const MAX_AGE_MS = 5000;

type Counters = Pick<TrafficRow, 'connections' | 'inPackets' | 'outPackets' | 'inBytes' | 'outBytes'>;

const NO_TRAFFIC: Counters = { connections: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 };

/** Name, help, and the samples of one virtual server: what is added to its labels, and which counter. */
const FAMILIES: readonly {
  readonly name: string;
  readonly help: string;
  readonly samples: readonly (readonly [labels: string, counter: keyof Counters])[];
}[] = [
  {
    name: 'svcplane_virtual_server_connections_total',
    help: 'Connections that a virtual server has taken',
    samples: [['', 'connections']],
  },
  {
    name: 'svcplane_virtual_server_packets_total',
    help: 'Packets from (in) and to (out) its clients',
    samples: [
      [',direction="in"', 'inPackets'],
      [',direction="out"', 'outPackets'],
    ],
  },
  {
    name: 'svcplane_virtual_server_bytes_total',
    help: 'Bytes from (in) and to (out) its clients',
    samples: [
      [',direction="in"', 'inBytes'],
      [',direction="out"', 'outBytes'],
    ],
  },
];

/** The counters of virtual servers as metrics, read from the kernel only when somebody asks, and not too often. */
export class TrafficMetrics {
  readonly #options: TrafficOptions;
  #kept: { readonly atMs: number; readonly text: Promise<string> } | undefined;

  constructor(options: TrafficOptions) {
    this.#options = options;
  }

  /** @throws as the reading of the counters */
  async render(): Promise<string> {
    const most = this.#options.maxVirtualServers();
    if (most === 0) return '';
    const nowMs = this.#options.nowMs();
    if (this.#kept && nowMs - this.#kept.atMs < MAX_AGE_MS) return this.#kept.text;
    const text = this.#read(most);
    this.#kept = { atMs: nowMs, text };
    // What has failed is not kept.
    text.catch(() => {
      if (this.#kept?.text === text) this.#kept = undefined;
    });
    return text;
  }

  async #read(most: number): Promise<string> {
    return renderTraffic(await this.#options.read(), this.#options.owners(), most);
  }
}

/**
 * Pure: the samples of those with most bytes, and one of the sum of all others, which has no labels of a Service. A
 * firewall mark counts for the frontend whose inside clients bear it.
 */
export function renderTraffic(rows: readonly TrafficRow[], ownerOf: TrafficOwnerOf, most: number): string {
  const byLabels = new Map<string, Counters>();
  for (const row of rows) {
    const labels = labelsOf(row, ownerOf(row.key));
    byLabels.set(labels, sum(byLabels.get(labels) ?? NO_TRAFFIC, row));
  }
  const all = [...byLabels].sort(([, a], [, b]) => b.inBytes + b.outBytes - (a.inBytes + a.outBytes));
  const others = all.slice(most).map(([, counters]) => counters);
  const shown = all.slice(0, most);
  if (others.length > 0) shown.push([OTHERS, others.reduce(sum)]);
  return FAMILIES.flatMap(({ name, help, samples }) => [
    `# HELP ${name} ${help}\n# TYPE ${name} counter\n`,
    ...shown.flatMap(([labels, counters]) =>
      samples.map(([more, counter]) => `${name}{${labels}${more}} ${counters[counter]}\n`),
    ),
  ]).join('');
}

/** Whose the virtual servers of `desired` are. */
export function trafficOwners({ virtualServers, insideMarks }: DesiredState): TrafficOwnerOf {
  const owners = new Map<VirtualServerKey, TrafficOwner>();
  for (const [key, server] of virtualServers) {
    const { service, servicePort, address } = server;
    const owner: TrafficOwner = { service, servicePort, frontend: { kind: 'address', ...server } };
    owners.set(key, owner);
    const firewallMark = insideMarks.get(key);
    if (firewallMark === undefined) continue;
    owners.set(virtualServerKey({ kind: 'firewallMark', family: familyOf(address), firewallMark }), owner);
  }
  return (key) => owners.get(key);
}

const OTHERS = 'service="",port_name="",address="others",port="",protocol=""';

function labelsOf({ identity }: TrafficRow, owner: TrafficOwner | undefined): string {
  const frontend = owner?.frontend ?? identity;
  const { address, port, protocol } =
    frontend.kind === 'address'
      ? frontend
      : { address: `mark ${frontend.firewallMark} ${frontend.family}`, port: '', protocol: '' };
  // None of these can hold a quote, a backslash or a line end: the API server and the parsers of addresses see to it.
  return `service="${owner?.service ?? ''}",port_name="${owner?.servicePort ?? ''}",address="${address}",port="${port}",protocol="${protocol}"`;
}

function sum(a: Counters, b: Counters): Counters {
  return {
    connections: a.connections + b.connections,
    inPackets: a.inPackets + b.inPackets,
    outPackets: a.outPackets + b.outPackets,
    inBytes: a.inBytes + b.inBytes,
    outBytes: a.outBytes + b.outBytes,
  };
}
