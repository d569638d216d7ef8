import { addressBytes, familyOf, type IpAddress } from '../model/address.ts';
import { unreachable } from '../model/brand.ts';
import type { Protocol } from '../model/port.ts';
import type { Forwarding, SnapshotVirtualServer } from './snapshot.ts';

/** How ipvsadm 1.31 spells what both of its listings contain; found by experiment, see test/golden/snapshot. */

type SchedulerFlag = 'flag-1' | 'flag-2' | 'flag-3';

/** The schedulers that have names of their own for the flags; they have none for flag-3, and print nothing. */
const FLAG_NAMES: { readonly [scheduler: string]: { readonly [flag in SchedulerFlag]: string | null } } = {
  sh: { 'flag-1': 'sh-fallback', 'flag-2': 'sh-port', 'flag-3': null },
  mh: { 'flag-1': 'mh-fallback', 'flag-2': 'mh-port', 'flag-3': null },
};

/**
 * The flags of the scheduler, comma separated, in numeric order; undefined if none is set, and "" if the
 * only one set has no name.
 */
export function ipvsadmFlags(virtualServer: SnapshotVirtualServer): string | undefined {
  const { scheduler, schedulerFlags = [] } = virtualServer;
  if (schedulerFlags.length === 0) return undefined;
  const names = FLAG_NAMES[scheduler];
  return schedulerFlags
    .toSorted()
    .flatMap((flag) => (names ? (names[flag] ?? []) : flag))
    .join(',');
}

/** ipvsadm prints the mark as a signed number: 3000000000 as -1294967296. */
export function ipvsadmMark(firewallMark: number): string {
  return String(firewallMark | 0);
}

/** `10.0.0.1:80` or `[fd00::1]:80`. */
export function ipvsadmEndpoint(address: IpAddress, port: number): string {
  return familyOf(address) === 'IPv4' ? `${address}:${port}` : `[${inetNtop(address)}]:${port}`;
}

/**
 * glibc's inet_ntop(3): as RFC 5952, but addresses in ::/96 (unless in ::/112) and in ::ffff:0:0/96 end
 * in dotted decimal.
 */
function inetNtop(address: IpAddress): string {
  if (!address.startsWith('::')) return address;
  const bytes = addressBytes(address);
  const isZero = (from: number, to: number) => bytes.subarray(from, to).every((byte) => byte === 0);
  if (isZero(0, 12) && !isZero(12, 14)) return `::${bytes.subarray(12).join('.')}`;
  const isMapped = isZero(0, 10) && bytes[10] === 0xff && bytes[11] === 0xff;
  return isMapped ? `::ffff:${bytes.subarray(12).join('.')}` : address;
}

/** The option that begins a virtual server of this protocol. */
export function ipvsadmServiceOption(protocol: Protocol): string {
  switch (protocol) {
    case 'TCP':
      return '-t';
    case 'UDP':
      return '-u';
    case 'SCTP':
      return '--sctp-service';
    default:
      return unreachable(protocol);
  }
}

/** The forwarding method in the listing and as an option; bypass has neither, and glibc prints "(null)". */
export function ipvsadmForwarding(forwarding: Forwarding): {
  readonly name: string;
  readonly option: string;
} {
  switch (forwarding) {
    case 'masquerade':
      return { name: 'Masq', option: '-m' };
    case 'direct':
      return { name: 'Route', option: '-g' };
    case 'tunnel':
      return { name: 'Tunnel', option: '-i' };
    case 'local':
      return { name: 'Local', option: '-g' };
    case 'bypass':
      return { name: '(null)', option: '(null)' };
    default:
      return unreachable(forwarding);
  }
}
