import type { EndpointSliceFacts, ServiceFacts, ServicePortFacts } from '../cluster/facts.ts';
import { familyOf, type IpAddress, type IpFamily } from '../model/address.ts';
import { type Cidr, cidrContains, specialAddress } from '../model/cidr.ts';
import type { HealthCheck, PodRanges } from '../model/desired-state.ts';
import type { Port } from '../model/port.ts';
import type { Scheduler } from '../model/scheduler.ts';
import { type Exposure, type VirtualServer, virtualServerKey } from '../model/virtual-server.ts';
import { candidatesOf, chooseEndpoints, type EndpointChoice, type Locality } from './endpoints.ts';
import type { ExternalIPPolicy } from './options.ts';

/** What every Service's frontends depend on besides the Service; keep its identity while nothing in it changes. */
export interface NodeContext extends Locality {
  readonly scheduler: Scheduler;
  readonly externalIPs: ExternalIPPolicy;
  readonly serviceCIDRs: readonly Cidr[];
  /** Addresses that serve NodePorts. */
  readonly nodePortAddresses: readonly IpAddress[];
  /** Ranges that were named to serve NodePorts and reach loopback, where IPVS can't. */
  readonly loopbackRanges: readonly Cidr[];
  /** Addresses that other links than ours have: served, never bound. */
  readonly ownAddresses: ReadonlySet<IpAddress>;
  /** See DesiredState.hostAddresses. */
  readonly hostAddresses: ReadonlySet<IpAddress> | null;
  /** Names of other nodes by their addresses: made local here, those nodes would be out of reach. */
  readonly otherNodes: ReadonlyMap<IpAddress, string>;
  readonly podRanges: PodRanges;
  readonly firewallMarkBase: number;
}

/** One Service on this node, before it is compared with the others. */
export interface ServiceFrontends {
  readonly virtualServers: readonly VirtualServer[];
  readonly healthCheck: HealthCheck | null;
  /** Reasons why parts of the Service are not served. */
  readonly refused: readonly string[];
}

interface Frontend {
  readonly exposure: Exposure;
  readonly address: IpAddress;
  readonly port: Port;
}

/** Derives the virtual servers of one Service, looking at nothing but it, its slices and the node. */
export function frontendsOf(
  service: ServiceFacts,
  slices: readonly EndpointSliceFacts[],
  context: NodeContext,
): ServiceFrontends {
  const virtualServers = new Map<string, VirtualServer>();
  const refused: string[] = [];
  const externalIPs = service.externalIPs.filter((address) =>
    allowed(refuseExternalIP(address, context), refused),
  );
  const ingress = service.ingressAddresses.filter((address) => allowed(refuseIngress(address), refused));
  let localReady = 0;
  for (const servicePort of service.ports) {
    const choices = new Map<IpFamily, EndpointChoice>();
    for (const family of service.clusterIPs.map(familyOf)) {
      const choice = chooseEndpoints(candidatesOf(slices, servicePort, family, context.node), context);
      choices.set(family, choice);
      localReady = Math.max(localReady, choice.localReady);
    }
    const claimed = claimsOf(service, servicePort, externalIPs, ingress, context);
    for (const frontend of claimed) {
      const choice = choices.get(familyOf(frontend.address));
      if (!choice) continue;
      const virtualServer = virtualServerOf(service, servicePort, frontend, choice, context);
      const present = virtualServers.get(virtualServer.key);
      if (!present) virtualServers.set(virtualServer.key, virtualServer);
      else if (present.servicePort !== servicePort.name) {
        refused.push(
          `port ${portLabel(servicePort)}: ${virtualServer.key} is already its port ${present.servicePort || present.port}`,
        );
      }
    }
  }
  return {
    virtualServers: [...virtualServers.values()],
    healthCheck: healthCheckOf(service, localReady),
    refused,
  };
}

function allowed(reason: string | undefined, refused: string[]): boolean {
  if (reason !== undefined) refused.push(reason);
  return reason === undefined;
}

/** The load balancer before externalIPs: an address that is both keeps the source ranges, and can't be refused. */
function claimsOf(
  service: ServiceFacts,
  { port, nodePort }: ServicePortFacts,
  externalIPs: readonly IpAddress[],
  ingress: readonly IpAddress[],
  context: NodeContext,
): readonly Frontend[] {
  const families = new Set(service.clusterIPs.map(familyOf));
  const nodeAddresses = context.nodePortAddresses.filter((address) => families.has(familyOf(address)));
  return [
    ...service.clusterIPs.map((address) => ({ exposure: 'ClusterIP', address, port }) as const),
    ...ingress.map((address) => ({ exposure: 'LoadBalancer', address, port }) as const),
    ...externalIPs.map((address) => ({ exposure: 'ExternalIP', address, port }) as const),
    ...(nodePort === null
      ? []
      : nodeAddresses.map((address) => ({ exposure: 'NodePort', address, port: nodePort }) as const)),
  ];
}

function virtualServerOf(
  service: ServiceFacts,
  servicePort: ServicePortFacts,
  { exposure, address, port }: Frontend,
  choice: EndpointChoice,
  context: NodeContext,
): VirtualServer {
  const internal = exposure === 'ClusterIP';
  const trafficPolicy = internal ? service.internalTrafficPolicy : service.externalTrafficPolicy;
  const { protocol } = servicePort;
  const isOwn = context.ownAddresses.has(address);
  const otherNode = internal || isOwn ? null : (context.otherNodes.get(address) ?? null);
  return {
    key: virtualServerKey({ kind: 'address', address, port, protocol }),
    address,
    port,
    protocol,
    scheduler: service.scheduler ?? context.scheduler,
    persistenceTimeoutSeconds: service.persistenceTimeoutSeconds,
    drainTimeoutSeconds: service.drainTimeoutSeconds,
    socketLoadBalancer: service.socketLoadBalancer,
    exposure,
    bindAddress: exposure !== 'NodePort' && !isOwn && otherNode === null,
    otherNode,
    service: `${service.namespace}/${service.name}`,
    servicePort: servicePort.name,
    trafficPolicy,
    realServers: trafficPolicy === 'Local' ? choice.local : choice.cluster,
    insideRealServers: !internal && otherNode === null && trafficPolicy === 'Local' ? choice.cluster : null,
    sourceRanges: exposure === 'LoadBalancer' ? sourceRangesFor(service, familyOf(address)) : null,
    origin: `Service ${service.namespace}/${service.name} port ${portLabel(servicePort)}`,
  };
}

function portLabel({ name, port }: ServicePortFacts): string {
  return name === '' ? String(port) : name;
}

/** A /0 lifts the filter of its family; ranges of the other family alone admit nobody of this one. */
function sourceRangesFor(service: ServiceFacts, family: IpFamily): readonly Cidr[] | null {
  const ranges = service.loadBalancerSourceRanges?.filter((range) => range.family === family) ?? null;
  return ranges?.some(({ prefixLength }) => prefixLength === 0) ? null : ranges;
}

function refuseExternalIP(address: IpAddress, context: NodeContext): string | undefined {
  const special = specialAddress(address);
  if (special) return `externalIP ${address} is ${special}: nobody may claim it`;
  if (context.serviceCIDRs.some((cidr) => cidrContains(cidr, address))) {
    return `externalIP ${address} lies in the ClusterIP range: nobody may claim it`;
  }
  const { policy, ranges } = context.externalIPs;
  if (policy === 'deny') return `externalIP ${address}: the configuration denies externalIPs`;
  if (policy === 'allowList' && !ranges.some((range) => cidrContains(range, address))) {
    return `externalIP ${address} is in none of the configured externalIPs ranges`;
  }
  return undefined;
}

function refuseIngress(address: IpAddress): string | undefined {
  const special = specialAddress(address);
  // Link-local VIPs exist (cloud metadata services); the others can't be served from a dummy interface.
  return special && special !== 'link-local' ? `load balancer address ${address} is ${special}` : undefined;
}

function healthCheckOf(service: ServiceFacts, localEndpoints: number): HealthCheck | null {
  if (service.healthCheckNodePort === null) return null;
  return {
    service: `${service.namespace}/${service.name}`,
    port: service.healthCheckNodePort,
    localEndpoints,
  };
}
