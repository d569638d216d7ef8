import * as v from 'valibot';
import { cidr, count, interfaceName, seconds } from './config-values.ts';

const id = v.pipe(count, v.minValue(1, 'must be 1 or more'), v.maxValue(255, 'must be 255 or less'));

/** VRRP, by keepalived: each key with its reason. */
export const vrrp = v.pipe(
  v.strictObject({
    /** Off: as with MetalLB, kube-vip, or a load balancer in front of the nodes. */
    mode: v.optional(v.picklist(['off', 'keepalived']), 'off'),
    /** Where the addresses are announced. */
    interface: v.optional(interfaceName, 'eth0'),
    /** Empty: all addresses of load balancers. */
    ranges: v.optional(v.array(cidr), []),
    /** Virtual router ids that nobody else on the network has. */
    firstId: v.optional(id, 1),
    lastId: v.optional(id, 255),
    /** So many for addresses that any node may hold: enough to share them out among as many nodes, few enough to send. */
    groups: v.optional(v.pipe(count, v.minValue(1, 'must be 1 or more')), 16),
    /** A node counts as dead after three of them. */
    advertSeconds: v.optional(v.pipe(seconds, v.minValue(1, 'must be 1 or more')), 1),
    /** Off: a node that comes back leaves addresses where they are. */
    preempt: v.optional(v.boolean(), true),
    /** A node that comes back, and goes again, and comes back, moves nothing in this time. */
    preemptDelaySeconds: v.optional(seconds, 30),
    /** Many networks of clouds and of data centres pass no multicast on. */
    peers: v.optional(v.picklist(['nodes', 'multicast']), 'nodes'),
    /** Empty: none, and VRRP version 3. Else version 2 where the family is IPv4; it is sent in clear. */
    password: v.optional(
      v.pipe(v.string(), v.regex(/^[\w.-]{0,8}$/, 'must be at most 8 letters, digits, ., _ or -')),
      '',
    ),
    /** Ours alone. Not on disk: after a reboot nothing is announced before it is served. */
    directory: v.optional(
      v.pipe(v.string(), v.regex(/^\/[\w./-]+$/, 'must be an absolute path')),
      '/run/svcplane/vrrp',
    ),
    /** A path, or a name in PATH. */
    program: v.optional(v.pipe(v.string(), v.nonEmpty('must not be empty')), 'keepalived'),
  }),
  v.check(
    ({ firstId, lastId, groups }) => firstId + groups <= lastId,
    ({ input }) =>
      `${input.firstId} to ${input.lastId} has no virtual router id left for policy Local beside ${input.groups} groups`,
  ),
);

/** Connections that go on where an address moves to another node: each key with its reason. */
export const connectionSync = v.strictObject({
  /** Off: connections survive a move only where the endpoint's way back leads through whoever holds the address. */
  mode: v.optional(v.picklist(['off', 'on']), 'off'),
  /** Where the other nodes are told of connections, by multicast. */
  interface: v.optional(interfaceName, 'eth0'),
  /** Of these nodes alone: whoever else has it on this network is believed, too. */
  id: v.optional(id, 83),
});
