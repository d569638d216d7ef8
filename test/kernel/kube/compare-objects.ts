import type { NetworkNamespace } from '../probe.ts';
import { CLUSTER_CIDRS, type LabPlan } from '../traffic/lab-plan.ts';
import { objectsOf } from '../traffic/services.ts';
import type { LabNode } from '../traffic/topology.ts';
import { type ApiAccess, wireToApi } from './api-server.ts';
import { type KubeProxy, startKubeProxy } from './kube-proxy.ts';

/**
 * The objects of the lab as far as they are about IPv4 and TCP.
 * @param without externalIPs that no Service gets
 */
export function ipv4TcpObjects(lab: LabPlan, without: readonly string[]): readonly unknown[] {
  return objectsOf(lab)
    .filter(({ addressType }) => addressType !== 'IPv6')
    .map((object) => (object.kind === 'Node' ? object : withoutElements(object, isForeign(without))));
}

/** Lists in a Service and a slice are of addresses, families, ports, or records with one of them. */
function isForeign(without: readonly string[]): (element: unknown) => boolean {
  return (element) => {
    if (typeof element === 'string') {
      return element === 'IPv6' || element.includes(':') || without.includes(element);
    }
    if (typeof element !== 'object' || element === null) return false;
    if ('protocol' in element) return element.protocol !== 'TCP';
    return 'ip' in element && isForeign(without)(element.ip);
  };
}

/** A value without those elements of its lists, at any depth. */
function withoutElements(value: unknown, isLeftOut: (element: unknown) => boolean): unknown {
  const rest = (element: unknown) => withoutElements(element, isLeftOut);
  if (Array.isArray(value)) return value.filter((element) => !isLeftOut(element)).map(rest);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, rest(field)]));
}

/** Starts kube-proxy on a node of the lab that reaches the API server, and waits until it has programmed it. */
export async function proxyNode(node: LabNode, apiServer: ApiAccess): Promise<KubeProxy> {
  return startKubeProxy({
    namespace: namespaceOf(node),
    nodeName: node.name,
    apiServer,
    clusterCIDR: Object.values(CLUSTER_CIDRS).join(','),
    // Nothing changes that it would have to mend meanwhile, and it would start a hundred programs each time.
    config: { ipvs: { syncPeriod: '1h' } },
  });
}

/** Lets a node of the lab reach the API server. */
export function wireNodeToApi(node: LabNode): void {
  // What kube-proxy connects from must not be a port that a request of sockets.ts is to come from.
  node.run(['sh', '-c', 'echo 20000 29999 >/proc/sys/net/ipv4/ip_local_port_range']);
  wireToApi(namespaceOf(node), node.addresses.IPv4);
}

/** The namespace of a node; the lab disposes of it. */
export function namespaceOf({ namespace: name, run, start }: LabNode): NetworkNamespace {
  return { name, run, start, [Symbol.dispose]: () => undefined };
}
