import {
  NETLINK_GENERIC,
  NETLINK_NETFILTER,
  NetlinkSocket,
} from '../../../native-bindings/netlink-socket.ts';
import { addressBytes, addressFromBytes, familyOf, parseIpAddress } from '../../../src/model/address.ts';
import { GenlClient } from '../../../src/netlink/client.ts';
import { ADDRESS_FAMILY, decodeDestination, getDestinations } from '../../../src/netlink/ipvs-messages.ts';
import { IPVS_GENL_NAME } from '../../../src/netlink/uapi/ipvs.ts';

/** include/uapi/linux/in.h */
const IPPROTO_TCP = 6;
/** include/uapi/linux/netfilter/nfnetlink.h */
const NFNLGRP_NFTABLES = 7;
const RECEIVE_BUFFER_BYTES = 64 * 1024 * 1024;

const never = new AbortController().signal;

/** A look at single virtual servers of this network namespace, so cheap that it can be repeated every millisecond. */
export interface IpvsLook extends Disposable {
  /** The weights of the real servers by address. @param address of a virtual server for TCP; none if there is none */
  realServers(address: string, port: number): Promise<ReadonlyMap<string, number>>;
}

/** @throws FamilyNotFoundError without IPVS */
export function openIpvsLook(): IpvsLook {
  const socket = NetlinkSocket.open(NETLINK_GENERIC);
  const client = GenlClient.open(socket, IPVS_GENL_NAME);
  return {
    realServers: async (text, port) => {
      const address = parse(text);
      const family = familyOf(address) === 'IPv4' ? ADDRESS_FAMILY.ipv4 : ADDRESS_FAMILY.ipv6;
      const service = { family, protocol: IPPROTO_TCP, address: addressBytes(address), port };
      const result = await client.dump(
        getDestinations(service),
        (message) => decodeDestination(message, family),
        never,
      );
      if (result.outcome !== 'ok') return new Map();
      return new Map(result.rows.map((row) => [addressFromBytes(row.address), row.weight]));
    },
    [Symbol.dispose]: () => socket[Symbol.dispose](),
  };
}

/** The notices of committed nftables transactions of this network namespace. */
export interface NftablesNotices extends Disposable {
  /** Takes all notices that have come since the last call. @returns whether there were any */
  take(): boolean;
}

/** Listens from now on. */
export function openNftablesNotices(): NftablesNotices {
  const socket = NetlinkSocket.open(NETLINK_NETFILTER, {
    receiveBufferBytes: RECEIVE_BUFFER_BYTES,
    groups: [NFNLGRP_NFTABLES],
  });
  return {
    take: () => {
      for (let isAny = false; ; isAny = true) {
        // After an overrun, too, something has happened.
        if (socket.receive(0).kind === 'timeout') return isAny;
      }
    },
    [Symbol.dispose]: () => socket[Symbol.dispose](),
  };
}

function parse(text: string) {
  const address = parseIpAddress(text);
  if (address === undefined) throw new TypeError(`not an address: ${text}`);
  return address;
}
