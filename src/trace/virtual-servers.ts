import {
  type IpvsRows,
  type RealServerRow,
  sortedRealServers,
  type VirtualServerRow,
} from '../dataplane/ipvs/rows.ts';
import { type VirtualServerKey, virtualServerKey } from '../model/virtual-server.ts';
import type { Packet } from './packet.ts';

/** What IPVS does with the first packet of a connection. */
export type Scheduling =
  | { readonly row: VirtualServerRow; readonly realServers: readonly ScheduledRealServer[] }
  /** It answers with an ICMP error. */
  | { readonly row: VirtualServerRow; readonly realServers: readonly []; readonly refusal: string };

/** One that the scheduler may choose. */
export interface ScheduledRealServer {
  readonly row: RealServerRow;
  /** Where the packet goes to, which is not always the real server's own port. */
  readonly port: number;
}

/** @returns undefined if IPVS leaves the packet alone */
export type Schedule = (packet: Packet) => Scheduling | undefined;

/** include/net/ip_vs.h FTPPORT, FTPDATA */
const FTP = 21;
const FTP_DATA = 20;
/** net.ipv4.ip_unprivileged_port_start, unless somebody changed it. */
const UNPRIVILEGED = 1024;

/** A {@link Schedule} over the virtual servers of `rows`. @see net/netfilter/ipvs/ip_vs_core.c ip_vs_schedule() */
export function scheduler({ virtualServers }: IpvsRows): Schedule {
  const find = virtualServerFinder(virtualServers);
  return (packet) => {
    const row = find(packet);
    if (!row) return undefined;
    const frontendPort = row.identity.kind === 'address' ? row.identity.port : 0;
    const persistent = row.config.persistenceTimeoutSeconds !== null;
    const isForOtherPort = row.identity.kind === 'address' && packet.port !== frontendPort;
    const usable = sortedRealServers(row).filter(({ config }) => config.weight > 0);
    if (usable.length === 0 || (isForOtherPort && !persistent)) {
      // ip_vs_leave(): other ports than FTP's own are not IPVS's to refuse.
      if (isForOtherPort && frontendPort === FTP) return undefined;
      const refusal = usable.length === 0 ? 'no real server' : 'every port needs persistence';
      return { row, realServers: [], refusal: `IPVS: ${refusal}` };
    }
    // ip_vs_sched_persist(): a firewall mark has port 0, so that packets for it keep their port.
    const keepsPort = persistent && packet.port !== frontendPort;
    return {
      row,
      realServers: usable.map((realServer) => {
        const own = realServer.config.port;
        return { row: realServer, port: keepsPort || own === 0 ? packet.port : own };
      }),
    };
  };
}

type FindVirtualServer = (packet: Packet) => VirtualServerRow | undefined;

/** @see net/netfilter/ipvs/ip_vs_ctl.c ip_vs_service_find() */
function virtualServerFinder(rows: ReadonlyMap<VirtualServerKey, VirtualServerRow>): FindVirtualServer {
  const ports = new Set(
    [...rows.values()].map(({ identity }) => (identity.kind === 'address' ? identity.port : null)),
  );
  return ({ family, mark, destination, protocol, port }) => {
    const at = (atPort: number) =>
      rows.get(virtualServerKey({ kind: 'address', address: destination, port: atPort, protocol }));
    const isFtpData = protocol === 'TCP' && (port === FTP_DATA || port >= UNPRIVILEGED);
    return (
      (mark === 0
        ? undefined
        : rows.get(virtualServerKey({ kind: 'firewallMark', family, firewallMark: mark }))) ??
      at(port) ??
      (isFtpData && ports.has(FTP) ? at(FTP) : undefined) ??
      (ports.has(0) ? at(0) : undefined)
    );
  };
}
