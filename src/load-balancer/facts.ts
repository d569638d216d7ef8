import type { IpAddress, IpFamily } from '../model/address.ts';
import type { Port, Protocol } from '../model/port.ts';

/** One entry of `status.loadBalancer.ingress`. */
export interface IngressFacts {
  /** Null of an entry with a host name, or of what is no address. */
  readonly address: IpAddress | null;
  /** `VIP` where it is not said. */
  readonly ipMode: string;
}

/** Our condition in the status of a Service, as it is there. */
export interface AddressCondition {
  readonly status: 'True' | 'False';
  /** In camel case. */
  readonly reason: string;
  readonly message: string;
}

/** What the address controller has to know of a Service, whatever its type. */
export interface LoadBalancerFacts {
  /** `namespace/name` */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch; null if unknown. */
  readonly createdAtMs: number | null;
  readonly isLoadBalancer: boolean;
  /** It is gone once its finalizers are. */
  readonly isDeleting: boolean;
  /** `spec.loadBalancerClass` */
  readonly loadBalancerClass: string | null;
  /** In the Service's order; never empty of a Service of type LoadBalancer. */
  readonly families: readonly IpFamily[];
  /** Whether one family alone is of no use: `RequireDualStack`. */
  readonly needsAllFamilies: boolean;
  readonly ports: readonly { readonly protocol: Protocol; readonly port: Port }[];
  /** By whom endpoints are reached: with policy Local, Services of one address must have the same endpoints. */
  readonly endpointsKey: string;
  /** Asked for by annotation or by `spec.loadBalancerIP`. */
  readonly requested: readonly IpAddress[];
  /** Why what was asked for can't be understood; null if it can. */
  readonly invalidRequest: string | null;
  readonly sharingKey: string | null;
  readonly externalIPs: readonly IpAddress[];
  /** The record: what the status has. */
  readonly ingress: readonly IngressFacts[];
  /** Null where this controller has never been at work. */
  readonly condition: AddressCondition | null;
}
