import type { IpAddress } from '../../model/address.ts';
import { parsePort } from '../../model/port.ts';
import {
  compareRealServers,
  type RealServer,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import type { Served } from '../dataplane.ts';
import { frontendOf, type IpvsRows, type VirtualServerRow } from './rows.ts';

/** The frontends of ours that give their clients an endpoint: one that drains gets no new ones. */
export function servedFrontends({ virtualServers }: IpvsRows): Served {
  const rows = new Map<VirtualServerKey, VirtualServerRow[]>();
  for (const row of virtualServers.values()) {
    const frontend = row.owner === 'svcplane' && takesClients(row) ? frontendOf(row) : null;
    if (!frontend) continue;
    const key = virtualServerKey({ ...frontend, kind: 'address' });
    rows.set(key, [...(rows.get(key) ?? []), row]);
  }
  return {
    has: (key) => rows.has(key),
    endpoints: (key) => {
      const of = (kind: VirtualServerRow['identity']['kind']) =>
        endpointsOf(rows.get(key)?.find(({ identity }) => identity.kind === kind));
      return { realServers: of('address'), inside: of('firewallMark') };
    },
  };
}

function takesClients({ realServers }: VirtualServerRow): boolean {
  for (const { config } of realServers.values()) if (config.weight > 0) return true;
  return false;
}

function endpointsOf(row: VirtualServerRow | undefined): readonly RealServer[] {
  const found: RealServer[] = [];
  for (const { config } of row?.realServers.values() ?? []) {
    const { address, weight } = config;
    const port = parsePort(config.port);
    if (weight > 0 && port !== undefined) found.push(heldRealServer(address, port, weight));
  }
  return found.sort(compareRealServers);
}

/** Which object named it is not in the kernel, nor whether it is local: no row depends on that. */
function heldRealServer(address: IpAddress, port: RealServer['port'], weight: number): RealServer {
  return { address, port, weight, local: false, origin: 'as it is, held by the guard' };
}
