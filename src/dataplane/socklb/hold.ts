import { familyOf } from '../../model/address.ts';
import { specialAddress } from '../../model/cidr.ts';
import type { VirtualServerKey } from '../../model/virtual-server.ts';
import type { Unwanted } from '../dataplane.ts';
import { keyOf, type ServiceRow, type SocklbRows } from './rows.ts';

/** `wanted` with all that there is now of frontends that are not wanted any more, but held. */
export function holdUnwantedSockets(
  observed: SocklbRows,
  wanted: SocklbRows,
  { frontends }: Pick<Unwanted, 'frontends'>,
): SocklbRows {
  const services = new Map(wanted.services);
  const keys = new Set<VirtualServerKey>();
  const ports = new Set<string>();
  for (const { address, port, protocol } of frontends) {
    if (protocol === 'SCTP') continue;
    keys.add(keyOf({ address, port, protocol }));
    ports.add(portText({ address, port, protocol }));
  }
  // That of a loopback address belongs to the NodePort.
  const isHeld = (row: ServiceRow) =>
    keys.has(row.key) || (specialAddress(row.address) === 'loopback' && ports.has(portText(row)));
  for (const [key, row] of observed.services) {
    if (!services.has(key) && isHeld(row)) services.set(key, row);
  }
  return { ...wanted, services };
}

function portText({ address, port, protocol }: Pick<ServiceRow, 'address' | 'port' | 'protocol'>): string {
  return `${familyOf(address)} ${protocol} ${port}`;
}
