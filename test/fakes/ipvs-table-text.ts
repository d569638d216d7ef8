import { isIPv6 } from 'node:net';
import type { KernelVirtualServer } from '../../src/dataplane/ipvs/kernel.ts';
import { addressBytes, type IpAddress, ipv4Number } from '../../src/model/address.ts';

/** Ticks of the kernel's clock in a second, on the kernel that is imitated. */
const HZ = 250;

/** A table as /proc/net/ip_vs shows it. @see net/netfilter/ipvs/ip_vs_ctl.c ip_vs_info_seq_show */
export function tableText(servers: readonly KernelVirtualServer[]): string {
  return `${TITLE}${serverText(servers)}`;
}

export const TITLE = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
`;

/** A table without its title. */
export function serverText(servers: readonly KernelVirtualServer[]): string {
  const lines = servers.flatMap(({ identity, config, realServers }) => {
    const name =
      identity.kind === 'address'
        ? `${identity.protocol}  ${endpoint(identity.address, identity.port)}`
        : `FWM  ${hex(identity.firewallMark, 8)}`;
    const seconds = config.persistenceTimeoutSeconds;
    const isIpv6 = identity.kind === 'address' ? isIPv6(identity.address) : identity.family === 'IPv6';
    const affinity =
      seconds === null ? '' : ` persistent ${seconds * HZ} ${isIpv6 ? '80000000' : 'FFFFFFFF'}`;
    return [
      `${name} ${config.scheduler} ${affinity}`,
      ...realServers.map(
        ({ config: { address, port, weight }, activeConnections, inactiveConnections }) =>
          `  -> ${endpoint(address, port)}      Masq    ${weight}      ${activeConnections}          ${inactiveConnections}`,
      ),
    ];
  });
  return lines.map((line) => `${line}\n`).join('');
}

function endpoint(address: IpAddress, port: number): string {
  if (!isIPv6(address)) return `${hex(ipv4Number(address), 8)}:${hex(port, 4)}`;
  const groups = Buffer.from(addressBytes(address)).toString('hex').match(/.{4}/g) ?? [];
  return `[${groups.join(':')}]:${hex(port, 4)}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}
