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

/** Everything this node should do, derived from facts alone; each dataplane projects its own rows from it. */
export interface DesiredState {
  /** Node name. */
  readonly node: string;
  /** In canonical order (compareIdentities). */
  readonly virtualServers: ReadonlyMap<VirtualServerKey, VirtualServer>;
  readonly healthChecks: readonly HealthCheck[];
  /** The ranges ClusterIPs come from, if known. */
  readonly serviceCIDRs: readonly Cidr[];
  /** The node's own addresses, without ours. */
  readonly nodeAddresses: readonly IpAddress[];
  /** Sorted. */
  readonly rejected: readonly Rejected[];
}
