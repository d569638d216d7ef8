import { unreachable } from '../model/brand.ts';
import { canonicalSnapshot, identityOf } from './canonical.ts';
import {
  ipvsadmEndpoint,
  ipvsadmFlags,
  ipvsadmForwarding,
  ipvsadmMark,
  ipvsadmServiceOption,
} from './ipvsadm-text.ts';
import type { Snapshot, SnapshotRealServer, SnapshotVirtualServer, Tunnel } from './snapshot.ts';

/**
 * What `ipvsadm -S -n` (1.31) prints for this state, each line ended by a newline, in canonical order: each
 * `-A` followed by its `-a` lines. ipvsadm itself prints in an order of its own; sorted, both are equal. It
 * leaves out thresholds, and prints marks from 2^31 on as negative numbers, which `ipvsadm -R` refuses.
 */
export function renderIpvsadmSave(snapshot: Snapshot): string {
  return canonicalSnapshot(snapshot).virtualServers.map(renderVirtualServer).join('');
}

function renderVirtualServer(virtualServer: SnapshotVirtualServer): string {
  const service = renderService(virtualServer);
  return [
    `-A ${service} -s ${virtualServer.scheduler}${renderOptions(virtualServer)}\n`,
    ...virtualServer.realServers.map((realServer) => `-a ${service} -r ${renderRealServer(realServer)}\n`),
  ].join('');
}

function renderService(virtualServer: SnapshotVirtualServer): string {
  const identity = identityOf(virtualServer);
  switch (identity.kind) {
    case 'address':
      return `${ipvsadmServiceOption(identity.protocol)} ${ipvsadmEndpoint(identity.address, identity.port)}`;
    case 'firewallMark':
      return `-f ${ipvsadmMark(identity.firewallMark)}${identity.family === 'IPv6' ? ' -6' : ''}`;
    default:
      return unreachable(identity);
  }
}

function renderOptions(virtualServer: SnapshotVirtualServer): string {
  const { persistenceTimeoutSeconds, persistenceNetmask, persistenceEngine, onePacket } = virtualServer;
  const flags = ipvsadmFlags(virtualServer);
  let text = '';
  if (persistenceTimeoutSeconds !== null) {
    text += ` -p ${persistenceTimeoutSeconds}`;
    if (persistenceNetmask) text += ` -M ${persistenceNetmask}`;
    if (persistenceEngine) text += ` --pe ${persistenceEngine}`;
  }
  if (onePacket) text += ' -o';
  if (flags !== undefined) text += ` -b ${flags}`;
  return text;
}

function renderRealServer(realServer: SnapshotRealServer): string {
  const { address, port, weight, forwarding, tunnel } = realServer;
  const { option } = ipvsadmForwarding(forwarding);
  const encapsulation = forwarding === 'tunnel' ? renderTunnel(tunnel) : '';
  return `${ipvsadmEndpoint(address, port)} ${option} -w ${weight}${encapsulation}`;
}

function renderTunnel(tunnel: Tunnel | undefined): string {
  if (!tunnel || tunnel.type === 'ipip') return ' --tun-type ipip';
  const port = tunnel.type === 'gue' ? ` --tun-port ${tunnel.port}` : '';
  return ` --tun-type ${tunnel.type}${port} --tun-${tunnel.checksum === 'none' ? 'nocsum' : tunnel.checksum}`;
}
