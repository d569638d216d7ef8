import type { IpAddress } from '../model/address.ts';
import type { Cidr } from '../model/cidr.ts';
import type { Scheduler } from '../model/scheduler.ts';

/** Which externalIPs a Service may claim: any tenant can write any address there (CVE-2020-8554). */
export interface ExternalIPPolicy {
  readonly policy: 'allowAll' | 'allowList' | 'deny';
  /** What `allowList` allows. */
  readonly ranges: readonly Cidr[];
}

/** What an operator decides about the meaning of Services. */
export interface DeriveOptions {
  readonly node: string;
  readonly scheduler: Scheduler;
  readonly externalIPs: ExternalIPPolicy;
  /**
   * Which node addresses serve NodePorts. Ranges: of all that the node is known to have, those within them. `primary`:
   * the Node object's. Empty: see {@link followHost}.
   */
  readonly nodePortAddresses: 'primary' | readonly Cidr[];
  /** Ranges of ClusterIPs where no ServiceCIDR object is served. */
  readonly serviceCIDRs: readonly Cidr[];
  /** Pod ranges of the cluster; empty: those of the Node object stand for them. */
  readonly clusterCIDRs: readonly Cidr[];
  /** The bits above the lower 24 of every firewall mark of ours; see DesiredState.insideMarks. */
  readonly firewallMarkBase: number;
  /** The node's addresses, whatever the Node object and the host's links say; null to believe those. */
  readonly nodeAddresses: readonly IpAddress[] | null;
  /** Addresses that links of this host have, without ours; empty where no host is looked at. */
  readonly hostAddresses: readonly IpAddress[];
  /**
   * Without {@link nodePortAddresses}: true, NodePorts are on the host's addresses, for somebody tells of their changes;
   * false, on the Node object's, so that files mean the same wherever they are read, and on the host's without one.
   * @default false
   */
  readonly followHost?: boolean;
}
