import type { GenlRequest } from '../../src/netlink/genl.ts';
import {
  ADDRESS_FAMILY,
  type Destination,
  newDestination,
  newService,
  type Service,
  setDestination,
  setService,
} from '../../src/netlink/ipvs-messages.ts';
import { FORWARDING_METHOD, SERVICE_FLAG, TUNNEL_TYPE } from '../../src/netlink/uapi/ipvs.ts';

const { ipv4, ipv6 } = ADDRESS_FAMILY;
const TCP = 6;
const UDP = 17;
const { persistent, onePacket, scheduler1, scheduler2, scheduler3 } = SERVICE_FLAG;

/** What ipvsadm means when told nothing. */
export const plain = { scheduler: 'rr', flags: 0, timeoutSeconds: 0, netmask: 0xffff_ffff };
/** A TCP service at 10.96.c.d. */
export const vip = (c: number, d: number, port: number) => ({
  family: ipv4,
  protocol: TCP,
  address: Uint8Array.of(10, 96, c, d),
  port,
});
const vip6 = (...last: readonly number[]) => Uint8Array.from([...ipv6Prefix, ...last]);
const ipv6Prefix = [0xfd, 0, 0, 0x96, ...new Array<number>(8).fill(0)];

/** What ipvsadm sends for a command line, and what we say is the same. */
export const sameAsIpvsadm: readonly {
  readonly name: string;
  readonly command: string;
  readonly ours: GenlRequest;
}[] = [
  {
    name: 'TCP over IPv4',
    command: '-A -t 10.96.0.1:443 -s rr',
    ours: newService(vip(0, 1, 443), plain),
  },
  {
    name: 'UDP over IPv6, whose netmask is a prefix length',
    command: '-A -u [fd00:96::10]:53 -s lc',
    ours: newService(
      { family: ipv6, protocol: UDP, address: vip6(0, 0, 0, 0x10), port: 53 },
      { ...plain, scheduler: 'lc', netmask: 128 },
    ),
  },
  {
    name: 'SCTP',
    command: '-A --sctp-service 10.96.0.11:3868 -s wrr',
    ours: newService({ ...vip(0, 11, 3868), protocol: 132 }, { ...plain, scheduler: 'wrr' }),
  },
  {
    name: 'a firewall mark',
    command: '-A -f 1 -s rr',
    ours: newService({ family: ipv4, fwmark: 1 }, plain),
  },
  {
    name: 'a firewall mark for IPv6',
    command: '-A -f 2 -6 -s rr',
    ours: newService({ family: ipv6, fwmark: 2 }, { ...plain, netmask: 128 }),
  },
  {
    name: 'scheduler flags',
    command: '-A -t 10.96.1.15:80 -s mh -b mh-fallback,mh-port',
    ours: newService(vip(1, 15, 80), { ...plain, scheduler: 'mh', flags: scheduler1 | scheduler2 }),
  },
  {
    name: 'persistence with a netmask',
    command: '-A -t 10.96.2.3:80 -s rr -p 600 -M 255.255.0.0',
    ours: newService(vip(2, 3, 80), {
      ...plain,
      flags: persistent,
      timeoutSeconds: 600,
      netmask: 0xffff_0000,
    }),
  },
  {
    name: 'one-packet scheduling',
    command: '-A -u 10.96.2.5:53 -s rr -o',
    ours: newService({ ...vip(2, 5, 53), protocol: UDP }, { ...plain, flags: onePacket }),
  },
  {
    name: 'a persistence engine',
    command: '-A -u 10.96.2.6:5060 -s rr -p 60 --pe sip',
    ours: newService(
      { ...vip(2, 6, 5060), protocol: UDP },
      { ...plain, flags: persistent, timeoutSeconds: 60, persistenceEngine: 'sip' },
    ),
  },
  {
    name: 'a change',
    command: '-E -t 10.96.0.1:443 -s wlc -p 360',
    ours: setService(vip(0, 1, 443), { ...plain, scheduler: 'wlc', flags: persistent, timeoutSeconds: 360 }),
  },
];

const noThresholds = { upperThreshold: 0, lowerThreshold: 0 };
const ipip = { tunnelType: TUNNEL_TYPE.ipip, tunnelPort: 0, tunnelFlags: 0 };
/** What ipvsadm means with -m and nothing else. */
export const masquerade = {
  forwardingMethod: FORWARDING_METHOD.masquerade,
  weight: 1,
  ...noThresholds,
  ...ipip,
};

/** As above; ipvsadm sends the whole service along, we send its key. */
export const sameDestinations: readonly {
  readonly name: string;
  readonly command: string;
  readonly ours: GenlRequest;
}[] = [
  {
    name: 'a new one with a weight',
    command: '-a -t 10.96.0.1:443 -r 10.1.0.3:6443 -m -w 65535',
    ours: newDestination(vip(0, 1, 443), server(3, 6443), { ...masquerade, weight: 65535 }),
  },
  {
    name: 'a new one with thresholds',
    command: '-a -t 10.96.0.1:443 -r 10.1.0.5:6443 -m -x 1000 -y 500',
    ours: newDestination(vip(0, 1, 443), server(5, 6443), {
      ...masquerade,
      upperThreshold: 1000,
      lowerThreshold: 500,
    }),
  },
  {
    name: 'a tunnel through GUE',
    command: '-a -t 10.96.3.1:80 -r 10.1.1.3:80 -i --tun-type gue --tun-port 6080',
    ours: newDestination(
      vip(3, 1, 80),
      { family: ipv4, address: Uint8Array.of(10, 1, 1, 3), port: 80 },
      {
        ...masquerade,
        forwardingMethod: FORWARDING_METHOD.tunnel,
        tunnelType: TUNNEL_TYPE.gue,
        tunnelPort: 6080,
      },
    ),
  },
  {
    name: 'a change of weight',
    command: '-e -t 10.96.0.1:443 -r 10.1.0.1:6443 -m -w 7',
    ours: setDestination(vip(0, 1, 443), server(1, 6443), { ...masquerade, weight: 7 }),
  },
];

/** Some of what the dump of `ipvsadm -Ln` must give, from the command lines that made it. */
export const dumpedServices: readonly Service[] = [
  { ...vip(0, 1, 443), ...plain },
  { family: ipv4, fwmark: 1, ...plain },
  { family: ipv6, fwmark: 2, ...plain, netmask: 128 },
  { ...vip(1, 12, 80), ...plain, scheduler: 'sh', flags: scheduler1 | scheduler2 },
  { ...vip(1, 16, 80), ...plain, flags: scheduler3 },
  { ...vip(2, 2, 80), ...plain, flags: persistent, timeoutSeconds: 10800 },
  { ...vip(2, 3, 80), ...plain, flags: persistent, timeoutSeconds: 600, netmask: 0xffff_0000 },
  { ...vip(2, 4, 0), ...plain, flags: persistent, timeoutSeconds: 300 },
  {
    family: ipv6,
    protocol: TCP,
    address: vip6(0, 2, 0, 2),
    port: 80,
    scheduler: 'rr',
    flags: persistent,
    timeoutSeconds: 600,
    netmask: 64,
  },
  { ...vip(2, 5, 53), ...plain, protocol: UDP, flags: onePacket },
];

export const dumpedDestinations: readonly Partial<Destination>[] = [
  { ...server(1, 6443), ...masquerade, weight: 7 },
  { ...server(2, 6443), ...masquerade, weight: 0 },
  { ...server(4, 443), ...masquerade, forwardingMethod: FORWARDING_METHOD.directRoute, weight: 3 },
  { ...server(5, 6443), ...masquerade, upperThreshold: 1000, lowerThreshold: 500 },
  {
    family: ipv4,
    address: Uint8Array.of(10, 1, 1, 4),
    port: 80,
    forwardingMethod: FORWARDING_METHOD.tunnel,
    tunnelType: TUNNEL_TYPE.gue,
    tunnelPort: 6080,
    tunnelFlags: 1,
  },
  // An IPv6 server of an IPv4 service.
  {
    family: ipv6,
    address: Uint8Array.of(0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3),
    forwardingMethod: FORWARDING_METHOD.tunnel,
  },
];

/** A server at 10.1.0.x. */
export function server(last: number, port: number) {
  return { family: ipv4, address: Uint8Array.of(10, 1, 0, last), port };
}
