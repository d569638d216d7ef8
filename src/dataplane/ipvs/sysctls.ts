/** What IPVS needs to work for Services, in every network namespace anew. @see Documentation/networking/ipvs-sysctl.rst */
export const SYSCTLS = [
  ['net.ipv4.ip_forward', '1'],
  // Connections that IPVS rewrites must be seen by conntrack, or nothing can be masqueraded.
  ['net.ipv4.vs.conntrack', '1'],
  // A client whose real server is gone is refused at once and can try again, instead of waiting for a time-out.
  ['net.ipv4.vs.expire_nodest_conn', '1'],
  // Clients with affinity leave a draining real server.
  ['net.ipv4.vs.expire_quiescent_template', '1'],
] as const;

/** Needed, too, where a virtual server is IPv6. */
export const IPV6_SYSCTLS = [['net.ipv6.conf.all.forwarding', '1']] as const;

/**
 * With addresses that the network must find elsewhere, as of load balancers: no answer to ARP for an address of
 * another link, as the dummy's are, and none as the source of a question. Wanted as long as there are such addresses:
 * unlike forwarding, nobody else comes to rely on it. @see Documentation/networking/ip-sysctl.rst
 */
export const STRICT_ARP_SYSCTLS = [
  ['net.ipv4.conf.all.arp_ignore', '1'],
  ['net.ipv4.conf.all.arp_announce', '2'],
] as const;

/** The only sysctls this dataplane reads, sets or restores. */
export const SYSCTL_NAMES: readonly string[] = [...SYSCTLS, ...IPV6_SYSCTLS, ...STRICT_ARP_SYSCTLS].map(
  ([name]) => name,
);
