import { parseConfig } from '../../src/config.ts';
import { project as projectAddresses } from '../../src/dataplane/addresses/project.ts';
import { projectIpvs } from '../../src/dataplane/ipvs/project.ts';
import { project as projectNftables } from '../../src/dataplane/nftables/project.ts';
import { type IpAddress, parseIpAddress } from '../../src/model/address.ts';
import type { DesiredState } from '../../src/model/desired-state.ts';
import { parsePort, parseProtocol } from '../../src/model/port.ts';
import { parseVirtualServerKey } from '../../src/model/virtual-server.ts';
import type { Connection, Trace, TraceRows } from '../../src/trace/trace.ts';

/** The rows that all dataplanes want, with a configuration file's keys. */
export function traceRowsOf(desired: DesiredState, config: object = {}): TraceRows {
  const parsed = parseConfig(config, 'test');
  return {
    nftables: projectNftables(desired, { ...parsed, table: 'svcplane' }).rows,
    ipvs: projectIpvs(desired, { ...parsed, ipv6: true }).rows,
    addresses: projectAddresses(desired, parsed).rows,
    nodeAddresses: desired.nodeAddresses,
    markOptions: parsed,
  };
}

/** `TCP 192.0.2.7 -> 203.0.113.9:80`, with `host` in front if the node itself opens it. */
export function connectionOf(text: string, incomingLink?: string): Connection {
  const [, host, protocolName, sourceText, frontend] = /^(host )?(\w+) (\S+) -> (\S+)$/.exec(text) ?? [];
  const identity = parseVirtualServerKey(`${protocolName} ${frontend}`);
  const protocol = parseProtocol(protocolName);
  if (identity?.kind !== 'address' || !protocol) throw new SyntaxError(`not a connection: ${text}`);
  const { address: destination, port } = identity;
  if (parsePort(port) === undefined) throw new SyntaxError(`not a port: ${text}`);
  return {
    source: address(sourceText),
    destination,
    protocol,
    port,
    fromHost: host !== undefined,
    incomingLink,
  };
}

/** @throws SyntaxError if it is none */
export function address(text: string | undefined): IpAddress {
  const parsed = parseIpAddress(text);
  if (!parsed) throw new SyntaxError(`not an address: ${text}`);
  return parsed;
}

/**
 * A trace in one line: `balanced 10.244.1.20:8080 10.244.2.30:8080*`, with a `*` behind those that see the node's
 * address; `refused (no endpoint IPv4)`; `passed`.
 */
export function summary({ verdict, by, candidates }: Trace): string {
  const targets = candidates.map(({ address, port, masquerade, stoppedBy }) => {
    const end = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
    return `${end}${masquerade === null ? '' : '*'}${stoppedBy === null ? '' : '!'}`;
  });
  return [verdict, ...targets, ...(by === null ? [] : [`(${by})`])].join(' ');
}
