import type { KernelRequest } from '../../src/dataplane/ipvs/kernel.ts';
import { type IpAddress, parseIpAddress } from '../../src/model/address.ts';
import { parseScheduler } from '../../src/model/scheduler.ts';
import type { VirtualServerIdentity } from '../../src/model/virtual-server.ts';

const PROTOCOLS = { '-t': 'TCP', '-u': 'UDP', '--sctp-service': 'SCTP' } as const;
const FORWARDING = { '-m': 'masquerade', '-g': 'direct', '-i': 'tunnel' } as const;

/**
 * A line as `ipvsadm -R` reads it, as far as scenarios write them: `-A -t 192.0.2.9:80 -s wlc`, then
 * `-a -t 192.0.2.9:80 -r 192.0.2.10:80 -g -w 1`.
 * @throws SyntaxError at anything else
 */
export function parseIpvsadmLine(line: string): KernelRequest {
  const [command, protocol, virtualServer, option, value, forwarding, , weight] = line.split(' ');
  const { address, port } = parseEndpoint(virtualServer, line);
  const identity: VirtualServerIdentity = {
    kind: 'address',
    address,
    port,
    protocol: lookUp(PROTOCOLS, protocol, line),
  };
  if (command === '-A' && option === '-s') {
    const scheduler = parseScheduler(value ?? '');
    if (scheduler === undefined) throw problem(line);
    const config = { scheduler, flags: 0, persistenceTimeoutSeconds: null } as const;
    return { command: 'newService', identity, config: { ...config, netmask: null, persistenceEngine: null } };
  }
  if (command !== '-a' || option !== '-r') throw problem(line);
  const realServer = {
    ...parseEndpoint(value, line),
    weight: Number(weight),
    forwarding: lookUp(FORWARDING, forwarding, line),
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnel: null,
  };
  return { command: 'newDest', identity, realServer };
}

function parseEndpoint(text: string | undefined, line: string): { address: IpAddress; port: number } {
  const [, host = '', port] = /^(.+):(\d+)$/.exec(text ?? '') ?? [];
  const address = parseIpAddress(host.replace(/^\[(.+)\]$/, '$1'));
  if (!address) throw problem(line);
  return { address, port: Number(port) };
}

function lookUp<Value>(table: Readonly<Record<string, Value>>, key: string | undefined, line: string): Value {
  const value = table[key ?? ''];
  if (value === undefined) throw problem(line);
  return value;
}

function problem(line: string): SyntaxError {
  return new SyntaxError(`Cannot read the ipvsadm line "${line}"`);
}
