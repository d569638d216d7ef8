import type { IpAddress } from '../model/address.ts';
import type { Protocol } from '../model/port.ts';
import type { Rejected } from '../model/rejected.ts';
import type { Exposure } from '../model/virtual-server.ts';

/** How a real server gets its packets. */
export type Forwarding = 'masquerade' | 'direct' | 'tunnel' | 'local' | 'bypass';

/** Encapsulation of a tunnelled real server. @see include/uapi/linux/ip_vs.h IP_VS_CONN_F_TUNNEL_TYPE_* */
export interface Tunnel {
  readonly type: 'ipip' | 'gue' | 'gre';
  /** UDP port of gue, host order; 0 otherwise */
  readonly port: number;
  readonly checksum: 'none' | 'csum' | 'remcsum';
}

export interface SnapshotRealServer {
  readonly address: IpAddress;
  readonly port: number;
  readonly weight: number;
  readonly forwarding: Forwarding;
  /** Connections above which the kernel sends no new ones; 0 or absent for no limit. */
  readonly upperThreshold?: number;
  readonly lowerThreshold?: number;
  readonly tunnel?: Tunnel;
  /** Only in observed snapshots. */
  readonly activeConnections?: number;
  readonly inactiveConnections?: number;
}

export interface SnapshotVirtualServer {
  /** null for a firewall-mark virtual server */
  readonly address: IpAddress | null;
  readonly port: number | null;
  readonly protocol: Protocol | null;
  /** Only for firewall-mark virtual servers, with the family they balance. */
  readonly firewallMark?: number;
  readonly family?: 'IPv4' | 'IPv6';
  readonly scheduler: string;
  readonly persistenceTimeoutSeconds: number | null;
  /** Clients that share affinity: IPv4 mask text or IPv6 prefix length; absent for a single address. */
  readonly persistenceNetmask?: string;
  /** Scheduler flags flag-1, flag-2, flag-3 that are set. */
  readonly schedulerFlags?: readonly ('flag-1' | 'flag-2' | 'flag-3')[];
  readonly onePacket?: boolean;
  readonly persistenceEngine?: string;
  /** null where nobody has told us, as for foreign virtual servers */
  readonly exposure: Exposure | null;
  readonly service: string | null;
  readonly servicePort: string | null;
  /** Only in observed snapshots. */
  readonly owner?: 'svcplane' | 'foreign';
  readonly realServers: readonly SnapshotRealServer[];
}

/** One chain; "" declares one without a hook. */
export interface SnapshotChain {
  readonly name: string;
  /** `type filter hook input priority 150` */
  readonly declaration: string;
  /** In the kernel's order: the name of each, and a digest of its text, as in its comment. */
  readonly rules: readonly string[];
}

export interface SnapshotSet {
  readonly name: string;
  /** Only where it is not the one svcplane gives. */
  readonly declaration?: string;
  /** `10.0.0.1 . tcp . 80`, in a map `10.0.0.1 . tcp . 80 : 0x53000001`; sorted */
  readonly elements: readonly string[];
}

/** The nftables table of ours; without chains and sets there is none. */
export interface SnapshotNftables {
  readonly table: string;
  /** By name. */
  readonly chains: readonly SnapshotChain[];
  /** By name; those without elements are left out. */
  readonly sets: readonly SnapshotSet[];
  /** What the table has besides; absent if there is nothing. */
  readonly others?: readonly string[];
}

/** One frontend of the socket balancer; without real servers it refuses. */
export interface SnapshotSocket {
  readonly address: IpAddress;
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP';
  readonly algorithm: 'random' | 'maglev';
  /** Absent without affinity. */
  readonly affinitySeconds?: number;
  /** Sorted by address, then port; weights are shares, 0 takes no new connections. */
  readonly realServers: readonly Pick<SnapshotRealServer, 'address' | 'port' | 'weight'>[];
}

/** What sockets do when they connect. */
export interface SnapshotSockets {
  /** `hostOnly`: for sockets of the node's own network namespace alone. */
  readonly mode: 'on' | 'off' | 'hostOnly';
  readonly programs: 'attached' | 'partly' | 'absent';
  /** Sorted by address, protocol, port. */
  readonly services: readonly SnapshotSocket[];
}

/** Addresses that move from node to node together, by VRRP. */
export interface SnapshotAnnouncement {
  /** The virtual router id. */
  readonly group: number;
  readonly family: 'IPv4' | 'IPv6';
  /** 1 to 254; the node with the highest holds the addresses. */
  readonly priority: number;
  /** Whether this node may hold them now. */
  readonly mayHold: boolean;
  /** Sorted numerically. */
  readonly addresses: readonly IpAddress[];
}

/** A kernel thread that tells other nodes of IPVS's connections, or hears of theirs. */
export interface SnapshotSyncDaemon {
  readonly role: 'master' | 'backup';
  readonly interface: string;
  /** Nodes with one id share connections. */
  readonly id: number;
  /** Only in observed snapshots. */
  readonly owner?: 'svcplane' | 'foreign';
  /** The link it was started on is gone, so that it reaches nobody. Absent for false. */
  readonly isCutOff?: true;
}

/** A node's dataplane at one moment, desired or observed, in canonical order; the unit of diff and of goldens. */
export interface Snapshot {
  readonly version: 1;
  readonly node: string;
  /** Addresses bound to our dummy interface, sorted numerically. */
  readonly addresses: readonly IpAddress[];
  /** Prefixes made local by one route each (clusterIPs: route), `network/length`. */
  readonly routes?: readonly string[];
  /** Sorted by address, protocol, port; firewall marks last. */
  readonly virtualServers: readonly SnapshotVirtualServer[];
  /** Absent where nobody looked: then it counts as right. */
  readonly nftables?: SnapshotNftables;
  /** Absent where there is no socket balancer, or nobody looked: then it counts as right. */
  readonly sockets?: SnapshotSockets;
  /** Sorted by family, then group; absent where nothing is announced by us, or nobody looked. */
  readonly announcements?: readonly SnapshotAnnouncement[];
  /** Sorted by role; absent where connections are not synchronised, or nobody looked. */
  readonly connectionSync?: readonly SnapshotSyncDaemon[];
  readonly rejected: readonly Rejected[];
}
