import { spawnSync } from 'node:child_process';
import type { SocklbRows } from '../../src/dataplane/socklb/rows.ts';
import { wantedOf } from '../../test/dataplane/socklb/build.ts';
import { TRAFFIC, type Traffic } from '../../test/dataplane/socklb/traffic-process.ts';
import { createNamespace, type NetworkNamespace, run } from '../../test/kernel/probe.ts';
import { WAYS, type Way } from './sockets-figures.ts';

/** Where servers are: a port for each kind of traffic, on every address. */
export const PORTS: Readonly<Record<Traffic, number>> = { connect: 8081, echo: 8082, udp: 8083 };
/** Addresses of endpoints: every way has all three, but for nft, whose map has the first. */
export const ENDPOINTS = ['10.244.1.1', '10.244.1.2', '10.244.1.3'];
/** Of the Service with the endpoints. */
export const VIP = '10.200.0.1';

/** Frontends of the Service, for the socket balancer. */
export const OWN_ROWS = wantedOf(
  TRAFFIC.map((kind) => {
    const to = ENDPOINTS.map((address) => `${address}:${PORTS[kind]}`).join(' ');
    return `${protocolOf(kind)} ${VIP}:${PORTS[kind] + 1000} random ${to}`;
  }),
);

/** Where a way's client is to connect to. */
export function targetOf(way: Way, kind: Traffic): string {
  return way === 'direct' ? `${ENDPOINTS[0]}:${PORTS[kind]}` : `${VIP}:${PORTS[kind] + 1000}`;
}

/**
 * A network namespace with the addresses of endpoints and Service, and what leads from one to the other. Direct
 * traffic and the socket balancer share one in which nothing looks at packets.
 * @param rows so many Services nft knows as well
 */
export function createWay(way: Way, rows: SocklbRows): NetworkNamespace {
  const namespace = createNamespace('bench');
  for (const address of [...ENDPOINTS, VIP]) {
    run(['ip', '-n', namespace.name, 'address', 'add', `${address}/32`, 'dev', 'lo']);
  }
  if (way === 'nft DNAT') namespace.run(['nft', '-f', '-'], rulesOf(rows));
  if (way === 'IPVS') namespace.run(['ipvsadm', '-R'], tableOf());
  return namespace;
}

/** The ways that this kernel has. */
export function usableWays(): readonly Way[] {
  const hasIpvs = spawnSync('ipvsadm', ['-Ln']).status === 0;
  return WAYS.filter((way) => way !== 'IPVS' || hasIpvs);
}

function protocolOf(kind: Traffic): 'TCP' | 'UDP' {
  return kind === 'udp' ? 'UDP' : 'TCP';
}

/** The least that nft can do: one map, one endpoint. */
function rulesOf({ services }: SocklbRows): string {
  const elements = [...services.values(), ...OWN_ROWS.services.values()].flatMap(
    ({ address, protocol, port, backends }) => {
      const [backend] = backends.values();
      const name = protocol.toLowerCase();
      return backend ? [`${address} . ${name} . ${port} : ${backend.address} . ${backend.port}`] : [];
    },
  );
  return `table ip bench {
  map services {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    elements = { ${elements.join(',\n')} }
  }
  chain output {
    type nat hook output priority -100
    dnat to ip daddr . ip protocol . th dport map @services
  }
}\n`;
}

function tableOf(): string {
  const lines = TRAFFIC.flatMap((kind) => {
    const service = `${protocolOf(kind) === 'UDP' ? '-u' : '-t'} ${VIP}:${PORTS[kind] + 1000}`;
    const servers = ENDPOINTS.map((address) => `-a ${service} -r ${address}:${PORTS[kind]} -m -w 1`);
    return [`-A ${service} -s rr`, ...servers];
  });
  return `${lines.join('\n')}\n`;
}
