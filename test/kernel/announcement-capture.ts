import { constants } from 'node:os';
import { SysError } from '../../native-bindings/errno.ts';
import { type CallResult, close, recv, socket } from '../../native-bindings/libc.ts';
import { addressFromBytes, type IpAddress } from '../../src/model/address.ts';
import type { NetworkNamespace } from './probe.ts';
import { bind } from './traffic/libc.ts';
import { within } from './traffic/raw-socket.ts';

// include/linux/socket.h, include/uapi/linux/if_ether.h, sched.h
const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const ETH_P_ALL = 0x0003;
const ETH_P_ARP = 0x0806;
const ETH_P_IPV6 = 0x86dd;
const ETHERNET_BYTES = 14;
const FRAME_BYTES = 2048;
const IPPROTO_ICMPV6 = 58;
/** RFC 4861, 4.4: type of a neighbour advertisement, its flag "solicited", and its option with a link-layer address. */
const NEIGHBOUR_ADVERT = 136;
const SOLICITED = 0x40;
const TARGET_LINK_LAYER = 2;

/** Somebody has told a whole network, unasked, where an address is. */
export interface SeenAnnouncement {
  readonly address: IpAddress;
  /** As `02:00:00:00:00:01`. */
  readonly mac: string;
}

/** Frames that come by a link from now on, as a packet socket gets them. */
export class AnnouncementCapture implements Disposable {
  readonly #fd: number;
  readonly #seen: SeenAnnouncement[] = [];
  #isOpen = true;

  /** @param link of the namespace, as `eth0` */
  constructor(namespace: NetworkNamespace, link: string) {
    const [{ ifindex }] = JSON.parse(namespace.run(['ip', '-j', 'link', 'show', 'dev', link]));
    // Of protocol 0, which gets nothing: what other links have would come before it is bound.
    const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
    this.#fd = within(namespace.name, () => must('socket', socket(AF_PACKET, type, 0)));
    const address = linkAddress(ifindex);
    must('bind', bind(this.#fd, address, address.length));
  }

  /** All gratuitous ARP and unsolicited neighbour advertisements so far, in order. */
  seen(): readonly SeenAnnouncement[] {
    const buffer = new Uint8Array(FRAME_BYTES);
    for (;;) {
      const { value, errno } = recv(this.#fd, buffer, buffer.length, 0);
      if (value < 0 && errno === constants.errno.EAGAIN) return [...this.#seen];
      const frame = buffer.slice(0, must('recv', { value, errno }));
      this.#seen.push(...announcementIn(frame));
    }
  }

  [Symbol.dispose](): void {
    if (this.#isOpen) must('close', close(this.#fd));
    this.#isOpen = false;
  }
}

/** struct sockaddr_ll: family in host order, protocol in network order. */
function linkAddress(ifindex: number): Uint8Array {
  const bytes = new Uint8Array(20);
  new Uint16Array(bytes.buffer, 0, 1)[0] = AF_PACKET;
  new DataView(bytes.buffer).setUint16(2, ETH_P_ALL);
  new Int32Array(bytes.buffer, 4, 1)[0] = ifindex;
  return bytes;
}

/** [] for a frame that is no announcement. */
function announcementIn(frame: Uint8Array): readonly SeenAnnouncement[] {
  if (frame.length < ETHERNET_BYTES) return [];
  const type = new DataView(frame.buffer, frame.byteOffset).getUint16(12);
  const packet = frame.subarray(ETHERNET_BYTES);
  if (type === ETH_P_ARP) return gratuitousArp(frame, packet);
  return type === ETH_P_IPV6 ? unsolicitedAdvert(packet) : [];
}

/** RFC 5227, 3: sender and target address are the same, and all get it. */
function gratuitousArp(frame: Uint8Array, arp: Uint8Array): readonly SeenAnnouncement[] {
  if (arp.length < 28 || macAt(frame, 0) !== 'ff:ff:ff:ff:ff:ff') return [];
  const [sender, target] = [addressFromBytes(arp.slice(14, 18)), addressFromBytes(arp.slice(24, 28))];
  return sender === target ? [{ address: sender, mac: macAt(arp, 8) }] : [];
}

/** RFC 4861, 7.2.6. The IPv6 header has 40 bytes; nobody puts extension headers before such an advertisement. */
function unsolicitedAdvert(packet: Uint8Array): readonly SeenAnnouncement[] {
  const [type, flags, option] = [packet[40], packet[44], packet[64]];
  if (packet[6] !== IPPROTO_ICMPV6 || type !== NEIGHBOUR_ADVERT || flags === undefined) return [];
  if (packet.length < 72 || (flags & SOLICITED) !== 0 || option !== TARGET_LINK_LAYER) return [];
  return [{ address: addressFromBytes(packet.slice(48, 64)), mac: macAt(packet, 66) }];
}

function macAt(bytes: Uint8Array, offset: number): string {
  return Array.from(bytes.subarray(offset, offset + 6), (byte) => byte.toString(16).padStart(2, '0')).join(
    ':',
  );
}

function must(syscall: string, { value, errno }: CallResult): number {
  if (value < 0) throw new SysError(syscall, errno);
  return value;
}
