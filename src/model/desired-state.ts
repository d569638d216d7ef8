import type { IpAddress } from './address.ts';
import type { Cidr } from './cidr.ts';
import type { Port } from './port.ts';
import type { Rejected } from './rejected.ts';
import type { VirtualServer, VirtualServerKey } from './virtual-server.ts';

/** What a Service with `healthCheckNodePort` must answer on this node. */
export interface HealthCheck {
  /** `namespace/name` */
  readonly service: string;
  readonly port: Port;
  /** Local endpoints that are ready (terminating ones do not count). */
  readonly localEndpoints: number;
}

/** Addresses that pods have, so that a client inside the cluster can be told from one outside. */
export interface PodRanges {
  /** Of the whole cluster; empty if not known. */
  readonly cluster: readonly Cidr[];
  /** Of this node; empty if not known. */
  readonly node: readonly Cidr[];
}

/** Everything this node should do, derived from facts alone; each dataplane projects its own rows from it. */
export interface DesiredState {
  /** Node name. */
  readonly node: string;
  /** In canonical order (compareIdentities). */
  readonly virtualServers: ReadonlyMap<VirtualServerKey, VirtualServer>;
  /**
   * Firewall marks of the frontends that give clients inside the cluster other endpoints than those outside: policy
   * Local on an external frontend. By the key of the frontend; each mark once.
   */
  readonly insideMarks: ReadonlyMap<VirtualServerKey, number>;
  readonly healthChecks: readonly HealthCheck[];
  /** The ranges ClusterIPs come from, if known. */
  readonly serviceCIDRs: readonly Cidr[];
  readonly podRanges: PodRanges;
  /** The node's own addresses, without ours. */
  readonly nodeAddresses: readonly IpAddress[];
  /** Names of other nodes, by their addresses. */
  readonly otherNodes: ReadonlyMap<IpAddress, string>;
  /** Where NodePorts can be at all now, whatever the API says; null where the host is not followed. */
  readonly hostAddresses: ReadonlySet<IpAddress> | null;
  /** Sorted. */
  readonly rejected: readonly Rejected[];
}
