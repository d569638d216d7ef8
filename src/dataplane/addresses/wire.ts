import { endianness } from 'node:os';
import type * as Netlink from 'netlink';
import { addressBytes, addressFromBytes, familyOf, type IpAddress } from '../../model/address.ts';
import { unreachable } from '../../model/brand.ts';
import { formatCidr, hostPrefixLength, parseCidr } from '../../model/cidr.ts';
import type { KernelAddress, KernelLink, KernelRoute, LinkChange } from './kernel.ts';
import type { LinkNotice } from './notices.ts';
import type { NetlinkPackage } from './package-client.ts';

/** A request without its netlink header. */
export interface RtnetlinkRequest {
  /** RTM_* */
  readonly type: number;
  /** NLM_F_*, without REQUEST and ACK */
  readonly flags: number;
  /** Header and attributes, each in host byte order but for addresses. */
  readonly body: Uint8Array[];
}

export type RtnetlinkCodec = ReturnType<typeof rtnetlinkCodec>;

/** @see include/uapi/linux/socket.h, rtnetlink.h, if_link.h */
const AF_INET = 2;
const AF_INET6 = 10;
const RT_TABLE_LOCAL = 255;
const RT_SCOPE_HOST = 254;
const RT_SCOPE_NOWHERE = 255;
const RTN_LOCAL = 2;
const RTPROT_UNSPEC = 0;
const RTPROT_KERNEL = 2;
const RTPROT_STATIC = 4;
const IFLA_INFO_KIND = 1;
const IFLA_IFNAME = 3;
const IFLA_LINKINFO = 18;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFF_UP = 1;
/** `sizeof(struct ifinfomsg)`, `sizeof(struct ifaddrmsg)`, `sizeof(struct rtattr)`. */
const IFINFOMSG_BYTES = 16;
const IFADDRMSG_BYTES = 8;
const RTATTR_BYTES = 4;
/** Without the bits that say nested, and network byte order. */
const NLA_TYPE_MASK = 0x3fff;
export const HOST_IS_LITTLE_ENDIAN = endianness() === 'LE';

/**
 * Requests and rows in terms of the package's message formats. The package is an argument, so that only the client
 * loads it.
 */
export function rtnetlinkCodec(netlink: NetlinkPackage) {
  return { ...readRequests(netlink), changeRequest: changeRequests(netlink), ...parsers(netlink) };
}

/**
 * The notices in a datagram of the multicast groups; what is none of them is passed over.
 * @throws Error if a message is cut short
 */
export function noticesIn(netlink: NetlinkPackage, datagram: Uint8Array): readonly LinkNotice[] {
  const { parseLink, parseAddress } = parsers(netlink);
  const { MessageType } = netlink.rt;
  const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  return netlink.parseMessages(bytes).flatMap(({ type, data }): LinkNotice | [] => {
    if (type === MessageType.NEWADDR || type === MessageType.DELADDR) {
      const address = parseAddress(data);
      return address
        ? { notice: type === MessageType.NEWADDR ? 'addressAdded' : 'addressRemoved', address }
        : [];
    }
    if (type !== MessageType.NEWLINK && type !== MessageType.DELLINK) return [];
    const link = parseLink(data);
    return link ? { notice: type === MessageType.NEWLINK ? 'linkChanged' : 'linkRemoved', link } : [];
  });
}

function readRequests(netlink: NetlinkPackage) {
  const { rt, AttrStream, FlagsGet } = netlink;
  const { MessageType } = rt;
  const { linkRequest } = requestsAbout(netlink);
  return {
    getLinks: () => linkRequest(MessageType.GETLINK, FlagsGet.DUMP, { data: {}, attrs: {} }),
    getLink: (name: string) => linkRequest(MessageType.GETLINK, 0, { data: {}, attrs: { ifname: name } }),
    getAddresses: (): RtnetlinkRequest => {
      const out = new AttrStream();
      rt.formatAddressMessage({ kind: 'address', data: {}, attrs: {} }, out);
      return { type: MessageType.GETADDR, flags: FlagsGet.DUMP, body: out.bufs };
    },
    getRoutes: (): RtnetlinkRequest => {
      const out = new AttrStream();
      rt.formatRouteMessage({ kind: 'route', data: {}, attrs: {} }, out);
      return { type: MessageType.GETROUTE, flags: FlagsGet.DUMP, body: out.bufs };
    },
  };
}

function changeRequests(netlink: NetlinkPackage): (change: LinkChange) => RtnetlinkRequest {
  const { FlagsNew } = netlink;
  const { MessageType } = netlink.rt;
  const { linkRequest, addDummy, addressRequest, routeRequest } = requestsAbout(netlink);
  const CREATE = FlagsNew.CREATE | FlagsNew.EXCL;
  const REPLACE = FlagsNew.CREATE | FlagsNew.REPLACE;
  const staticRoute = { scope: RT_SCOPE_HOST, protocol: RTPROT_STATIC };
  const anyRoute = { scope: RT_SCOPE_NOWHERE, protocol: RTPROT_UNSPEC };
  return (change) => {
    switch (change.change) {
      case 'addDummy':
        return addDummy(MessageType.NEWLINK, CREATE, change.name);
      case 'setUp': {
        const data = { index: change.linkIndex, flags: { up: true }, change: { up: true } } as const;
        return linkRequest(MessageType.SETLINK, 0, { data, attrs: {} });
      }
      case 'deleteLink':
        return linkRequest(MessageType.DELLINK, 0, { data: { index: change.linkIndex }, attrs: {} });
      case 'addAddress':
        return addressRequest(MessageType.NEWADDR, CREATE, change.linkIndex, change.address);
      case 'deleteAddress':
        return addressRequest(MessageType.DELADDR, 0, change.linkIndex, change.address);
      case 'addRoute':
        return routeRequest(MessageType.NEWROUTE, CREATE, change, staticRoute);
      case 'replaceRoute':
        return routeRequest(MessageType.NEWROUTE, REPLACE, change, staticRoute);
      case 'deleteRoute':
        return routeRequest(MessageType.DELROUTE, 0, { ...change, source: null }, anyRoute);
      default:
        return unreachable(change);
    }
  };
}

function requestsAbout({ rt, AttrStream, putString }: NetlinkPackage) {
  const linkRequest = (type: number, flags: number, message: Omit<Netlink.rt.LinkMessage, 'kind'>) => {
    const out = new AttrStream();
    rt.formatLinkMessage({ kind: 'link', ...message }, out);
    return { type, flags, body: out.bufs };
  };
  const addDummy = (type: number, flags: number, name: string) => {
    const linkinfo = new AttrStream();
    linkinfo.push(IFLA_INFO_KIND, putString('dummy'));
    const data = { flags: { up: true }, change: { up: true } } as const;
    const attrs = { ifname: name, linkinfo: Buffer.concat(linkinfo.bufs) };
    return linkRequest(type, flags, { data, attrs });
  };
  const addressRequest = (type: number, flags: number, linkIndex: number, address: IpAddress) => {
    const out = new AttrStream();
    const bytes = Buffer.from(addressBytes(address));
    const data = {
      family: familyNumber(address),
      prefixlen: hostPrefixLength(address),
      index: linkIndex,
      // Nobody else can have a virtual address: waiting for duplicates (RFC 4862) would only delay it.
      flags: familyOf(address) === 'IPv6' ? ({ nodad: true } as const) : {},
    };
    rt.formatAddressMessage({ kind: 'address', data, attrs: { local: bytes, address: bytes } }, out);
    return { type, flags, body: out.bufs };
  };
  const routeRequest = (type: number, flags: number, route: KernelRoute, data: Netlink.rt.Route) => {
    const out = new AttrStream();
    const { network, prefixLength } = cidrOf(route.prefix);
    const attrs = {
      dst: Buffer.from(addressBytes(network)),
      oif: route.linkIndex,
      ...(route.source !== null && { prefsrc: Buffer.from(addressBytes(route.source)) }),
    };
    const header = {
      family: familyNumber(network),
      dstLen: prefixLength,
      table: RT_TABLE_LOCAL,
      type: RTN_LOCAL,
    };
    rt.formatRouteMessage({ kind: 'route', data: { ...header, ...data }, attrs }, out);
    return { type, flags, body: out.bufs };
  };
  return { linkRequest, addDummy, addressRequest, routeRequest };
}

function parsers({ rt }: NetlinkPackage) {
  return {
    parseLink,
    parseAddress,
    parseLocalRoute: (body: Buffer): KernelRoute | undefined => {
      // struct rtmsg: most routes are not ours, and need not be taken apart.
      if (body[4] !== RT_TABLE_LOCAL || body[5] === RTPROT_KERNEL || body[7] !== RTN_LOCAL) return undefined;
      const { data, attrs } = rt.parseRouteMessage(body);
      const network = attrs.dst ? addressOf(attrs.dst) : anyAddress(data.family);
      if (network === undefined || attrs.oif === undefined) return undefined;
      const prefix = formatCidr({ family: familyOf(network), network, prefixLength: data.dstLen ?? 0 });
      return { linkIndex: attrs.oif, prefix, source: addressOf(attrs.prefsrc) ?? null };
    },
  };
}

/** Without the package, which makes an object of all that a link counts, and of every audit those of all links. */
function parseLink(body: Buffer): KernelLink | undefined {
  const name = attributeIn(body, IFINFOMSG_BYTES, IFLA_IFNAME);
  if (!name) return undefined;
  const info = attributeIn(body, IFINFOMSG_BYTES, IFLA_LINKINFO);
  const kind = info && attributeIn(info, 0, IFLA_INFO_KIND);
  return {
    index: readU32(body, 4),
    name: textOf(name),
    kind: kind ? textOf(kind) : null,
    isUp: (readU32(body, 8) & IFF_UP) !== 0,
  };
}

/** As above: there may be ten thousand. */
function parseAddress(body: Buffer): KernelAddress | undefined {
  // IFA_ADDRESS is the peer's where there is one, and then IFA_LOCAL ours.
  const bytes =
    attributeIn(body, IFADDRMSG_BYTES, IFA_LOCAL) ?? attributeIn(body, IFADDRMSG_BYTES, IFA_ADDRESS);
  const address = addressOf(bytes);
  if (address === undefined) return undefined;
  return { linkIndex: readU32(body, 4), address, prefixLength: body[1] ?? 0 };
}

/**
 * The value of the first attribute of a type; it shares the bytes.
 * @throws RangeError if an attribute before it is cut short
 * @see include/uapi/linux/rtnetlink.h struct rtattr
 */
function attributeIn(body: Buffer, start: number, wanted: number): Buffer | undefined {
  for (let at = start; at < body.length; ) {
    const length = readU16(body, at);
    if (length < RTATTR_BYTES || at + length > body.length) {
      throw new RangeError(`Cannot read rtnetlink: an attribute of ${length} bytes is cut short`);
    }
    if ((readU16(body, at + 2) & NLA_TYPE_MASK) === wanted)
      return body.subarray(at + RTATTR_BYTES, at + length);
    at += (length + 3) & ~3;
  }
  return undefined;
}

function readU16(bytes: Buffer, at: number): number {
  return HOST_IS_LITTLE_ENDIAN ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
}

function readU32(bytes: Buffer, at: number): number {
  return HOST_IS_LITTLE_ENDIAN ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
}

function familyNumber(address: IpAddress): number {
  return familyOf(address) === 'IPv4' ? AF_INET : AF_INET6;
}

function addressOf(bytes: Uint8Array | undefined): IpAddress | undefined {
  return bytes?.length === 4 || bytes?.length === 16 ? addressFromBytes(bytes) : undefined;
}

/** A route to everything has no RTA_DST. */
function anyAddress(family: number | undefined): IpAddress | undefined {
  if (family === AF_INET) return addressFromBytes(new Uint8Array(4));
  return family === AF_INET6 ? addressFromBytes(new Uint8Array(16)) : undefined;
}

function textOf(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
}

function cidrOf(prefix: string) {
  const cidr = parseCidr(prefix);
  if (!cidr) throw new RangeError(`Cannot route ${prefix}: it is no address range`);
  return cidr;
}
