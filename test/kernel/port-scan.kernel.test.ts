import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { IpAddress } from '../../src/model/address.ts';
import { ALL_PORTS, scan } from './connect-scan.ts';
import { UNHURRIED } from './host.ts';
import { CommandError, describeWithIpvs, isEmulated, run } from './probe.ts';
import { svcplaneOn } from './svcplane-on.ts';
import {
  clusterIPs,
  externalIPs,
  SERVICE_ROUTES,
  TARGET_PORT,
  type TestService,
  vips,
} from './test-services.ts';
import { addressPair, type DualStack, FAMILIES } from './traffic/dual-stack.ts';
import type { Attached } from './traffic/lab-plan.ts';
import { Sockets } from './traffic/sockets.ts';
import { createLab, type Lab, type LabNode } from './traffic/topology.ts';

const SILENCE_MS = isEmulated ? 60_000 : 10_000;

/** Ports of daemons that listen on every address of the node: some that kubelet and others have, and odd ones. */
const DAEMON_PORTS = [1, 22, 79, 81, 111, 8081, 10_250, 10_256, 30_999, 65_535] as const;
const SERVICE_PORTS = [80, 443, 9090] as const;

/** Every so many ports, and all where something listens. */
function spread(step: number): readonly number[] {
  const interesting = new Set<number>([...DAEMON_PORTS, ...SERVICE_PORTS, TARGET_PORT]);
  return ALL_PORTS.filter((port) => port % step === 0 || interesting.has(port));
}

/** Of each address, by family: an emulated processor would take an hour for all. */
const SCANNED: DualStack<readonly number[]> = isEmulated
  ? { IPv4: spread(331), IPv6: spread(997) }
  : { IPv4: ALL_PORTS, IPv6: spread(7) };
const UNSPECIFIED = addressPair('0.0.0.0', '::');
/** In the range of ClusterIPs, and no Service's. */
const UNUSED = addressPair('10.96.77.77', 'fd00:10:96::7777');

describeWithIpvs('ports of a Service address', () => {
  let lab: Lab;
  let node: LabNode;
  let sockets: Sockets;
  let clients: readonly Attached[];
  let web: TestService;
  let scanned = 0;

  beforeAll(async () => {
    lab = createLab({ nodes: 1, routes: SERVICE_ROUTES });
    sockets = new Sockets();
    const [first] = lab.nodes;
    const [endpoint, pod] = first?.pods ?? [];
    if (!first || !endpoint || !pod) throw new RangeError('the lab has no node with two pods');
    node = first;
    clients = [lab.outside, pod, node];
    for (const family of FAMILIES) {
      const address = endpoint.addresses[family];
      sockets.serve({ ...endpoint, address, port: TARGET_PORT, protocol: 'TCP' });
      for (const port of DAEMON_PORTS) {
        sockets.serve({ ...node, address: UNSPECIFIED[family], port, protocol: 'TCP' });
      }
    }
    web = {
      name: 'web',
      number: 1,
      vip: 1,
      external: true,
      ports: SERVICE_PORTS.map((port) => ({ protocol: 'TCP', port })),
      endpoints: [endpoint],
    };
    await svcplaneOn(lab, node, ['--cluster-ips', 'route']).apply([web]);
  }, UNHURRIED.timeout);

  afterAll(() => {
    const ports = FAMILIES.map((family) => `${SCANNED[family].length} ports of each address over ${family}`);
    console.log(`port scan: ${scanned} connections tried, ${ports.join(', ')}`);
    sockets?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  /** Every client finds exactly these of the ports open, and is refused at once at all others. */
  function expectOpen(address: IpAddress, ports: readonly number[], open: readonly number[]): void {
    for (const client of clients) {
      const found = scan(client.namespace, address, ports, SILENCE_MS);
      scanned += ports.length;
      expect(found, client.name).toEqual({ open, refused: ports.length - open.length, others: [] });
    }
  }

  it('scan() finds the daemons on the node itself', () => {
    for (const family of FAMILIES) {
      expectOpen(node.addresses[family], [...DAEMON_PORTS, ...SERVICE_PORTS], DAEMON_PORTS);
    }
  });

  const addresses: readonly { name: string; pair: DualStack<IpAddress>; open: readonly number[] }[] = [
    { name: 'load balancer VIP', pair: vips(1), open: SERVICE_PORTS },
    { name: 'externalIP', pair: externalIPs(1), open: SERVICE_PORTS },
    { name: 'ClusterIP', pair: clusterIPs(1), open: SERVICE_PORTS },
    { name: 'unused address of the ClusterIP range', pair: UNUSED, open: [] },
  ];

  describe.for(FAMILIES)('%s', UNHURRIED, (family) => {
    it.for(addresses)('only ports of the Service are open on the $name', ({ pair, open }) => {
      expectOpen(pair[family], SCANNED[family], open);
    });

    it.for(addresses)('the $name answers to ping', ({ pair }) => {
      const silent = clients.filter(({ namespace }) => !answersToPing(namespace, pair[family]));
      expect(silent.map(({ name }) => name)).toEqual([]);
    });
  });

  it('no others are open where ClusterIPs are bound one by one', UNHURRIED, async () => {
    await svcplaneOn(lab, node).apply([web]);
    for (const family of FAMILIES) {
      for (const pair of [vips(1), clusterIPs(1)]) expectOpen(pair[family], spread(997), SERVICE_PORTS);
    }
  });
});

function answersToPing(namespace: string, address: IpAddress): boolean {
  const wait = String(SILENCE_MS / 1000);
  try {
    run(['ip', 'netns', 'exec', namespace, 'busybox', 'ping', '-q', '-c', '1', '-W', wait, address]);
    return true;
  } catch (error) {
    if (error instanceof CommandError && error.status === 1) return false;
    throw error;
  }
}
