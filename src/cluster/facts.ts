import type { IpAddress, IpFamily } from '../model/address.ts';
import type { Cidr } from '../model/cidr.ts';
import type { Port, Protocol } from '../model/port.ts';
import type { Rejected } from '../model/rejected.ts';
import type { Scheduler } from '../model/scheduler.ts';

export interface ServicePortFacts {
  /** "" if unnamed */
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: Port;
  readonly nodePort: Port | null;
}

export type TrafficPolicy = 'Cluster' | 'Local';

/** What a core/v1 Service says to a node; defaults of the API server filled in. */
export interface ServiceFacts {
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds since the epoch; null if the object carries no creationTimestamp. */
  readonly createdAtMs: number | null;
  /** At most one per family. */
  readonly clusterIPs: readonly IpAddress[];
  readonly externalIPs: readonly IpAddress[];
  /** Ingress addresses with ipMode VIP (or none). */
  readonly ingressAddresses: readonly IpAddress[];
  readonly ports: readonly ServicePortFacts[];
  /** ClientIP affinity in seconds; null without. */
  readonly persistenceTimeoutSeconds: number | null;
  readonly internalTrafficPolicy: TrafficPolicy;
  readonly externalTrafficPolicy: TrafficPolicy;
  readonly healthCheckNodePort: Port | null;
  /** null if the Service lists none at all; empty if every one it lists is malformed */
  readonly loadBalancerSourceRanges: readonly Cidr[] | null;
  /** From annotation svcplane.io/scheduler; null for the configured default. */
  readonly scheduler: Scheduler | null;
  /** From annotation svcplane.io/drain-timeout, 0 for no drain; null for the configured default. */
  readonly drainTimeoutSeconds: number | null;
  /** Whether sockets may be connected to its endpoints directly. */
  readonly socketLoadBalancer: boolean;
}

export interface EndpointPortFacts {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: Port;
}

export interface EndpointFacts {
  readonly address: IpAddress;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly nodeName: string | null;
  /** hints.forNodes; null if the endpoint carries none */
  readonly nodeHints: readonly string[] | null;
  /** hints.forZones; null if the endpoint carries none */
  readonly zoneHints: readonly string[] | null;
}

/** One discovery.k8s.io/v1 EndpointSlice, or one family of a subset of a core/v1 Endpoints. */
export interface EndpointSliceFacts {
  /** `EndpointSlice web/front-x7k2p` or `Endpoints web/front` */
  readonly origin: string;
  /** `namespace/name` of the Service */
  readonly service: string;
  readonly family: IpFamily;
  readonly ports: readonly EndpointPortFacts[];
  readonly endpoints: readonly EndpointFacts[];
}

/** The own Node. */
export interface NodeFacts {
  readonly name: string;
  /** status.addresses that are IP addresses, in their order */
  readonly addresses: readonly IpAddress[];
  readonly podCIDRs: readonly Cidr[];
  /** label topology.kubernetes.io/zone */
  readonly zone: string | null;
}

/** All that the semantics of Services depend on; immutable, and equal objects keep their identity. */
export interface ClusterFacts {
  /** by `namespace/name` */
  readonly services: ReadonlyMap<string, ServiceFacts>;
  /** by `namespace/name` of the Service, sorted by origin */
  readonly slices: ReadonlyMap<string, readonly EndpointSliceFacts[]>;
  /** null where no Node object of our name was read */
  readonly node: NodeFacts | null;
  /** Names of the other Nodes that were read, by their addresses. */
  readonly otherNodes: ReadonlyMap<IpAddress, string>;
  readonly serviceCIDRs: readonly Cidr[];
  readonly rejected: readonly Rejected[];
}
