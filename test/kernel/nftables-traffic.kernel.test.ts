import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { planNftables } from '../../src/dataplane/nftables/plan.ts';
import { project } from '../../src/dataplane/nftables/project.ts';
import { emptyRows } from '../../src/dataplane/nftables/rows.ts';
import { transactionText } from '../../src/dataplane/nftables/transaction.ts';
import { OPTIONS } from '../dataplane/nftables/build.ts';
import { desiredOf } from '../derive.ts';
import { node, service, slice } from '../objects.ts';
import { connect, createNamespace, describeWithIpvs, type NetworkNamespace } from './probe.ts';

/** The ruleset's claims that the kernel alone can prove, each where it could fail. IPVS is programmed by ipvsadm. */

const CLUSTER_IP = '10.96.0.50';
const UNUSED_CLUSTER_IP = '10.96.0.99';
const EMPTY_CLUSTER_IP = '10.96.0.60';
const VIP = '203.0.113.9';
const HOST = '192.0.2.1';
const CLIENT = '192.0.2.2';
const POD = '10.244.1.2';
const GATEWAY = '10.244.1.1';

const OBJECTS = [
  { ...node({ addresses: [HOST] }), spec: { podCIDRs: ['10.244.1.0/24'] } },
  service({
    spec: { clusterIP: CLUSTER_IP, type: 'LoadBalancer' },
    status: { loadBalancer: { ingress: [{ ip: VIP }] } },
  }),
  slice({ endpoints: [{ address: POD, node: 'n0' }] }),
  service({
    name: 'empty',
    spec: {
      clusterIP: EMPTY_CLUSTER_IP,
      ports: [
        { name: 'http', port: 80, protocol: 'TCP' },
        { name: 'dns', port: 53, protocol: 'UDP' },
      ],
    },
  }),
];

/** Says `NAME SOURCE` to each client that connects. */
const serve = (name: string, port: number) => `
  require('net').createServer((peer) => {
    peer.on('error', () => {});
    peer.end('${name} ' + peer.remoteAddress.replace('::ffff:', ''));
  }).listen(${port}, '0.0.0.0', () => console.log('ready'));`;

/** Connects `count` times, one after the other, and prints what came: what the server said, or an error's code. */
const ask = (address: string, port: number, count: number) => `
  const net = require('net');
  const one = () => new Promise((resolve) => {
    let said = '';
    const socket = net.connect(${port}, '${address}');
    socket.setTimeout(3000, () => { resolve('ETIMEDOUT'); socket.destroy(); });
    socket.on('data', (bytes) => { said += bytes; });
    socket.on('end', () => resolve(said));
    socket.on('error', ({ code }) => resolve(code));
  });
  (async () => { for (let i = 0; i < ${count}; i++) console.log(await one()); })();`;

/** Sends a datagram and prints the error that comes back. */
const askUdp = (address: string, port: number) => `
  const socket = require('dgram').createSocket('udp4');
  setTimeout(() => { console.log('ETIMEDOUT'); socket.close(); }, 3000).unref();
  socket.on('error', ({ code }) => { console.log(code); socket.close(); });
  socket.connect(${port}, '${address}', () => socket.send('hello'));`;

describeWithIpvs('traffic under the nftables ruleset', () => {
  let host: NetworkNamespace;
  let client: NetworkNamespace;
  let pod: NetworkNamespace;

  const evaluate = (where: NetworkNamespace, script: string): string[] =>
    where.run([process.execPath, '-e', script]).trim().split('\n');
  const tcp = (from: NetworkNamespace, address: string, port: number) =>
    evaluate(from, ask(address, port, 1)).join();
  const nft = (text: string) => void host.run(['nft', '-f', '-'], text);
  const retransmitted = (where: NetworkNamespace) =>
    Number(/TcpRetransSegs\s+(\d+)/.exec(where.run(['nstat', '-asz', 'TcpRetransSegs']))?.[1]);

  async function start(where: NetworkNamespace, script: string): Promise<void> {
    const { stdout } = where.start([process.execPath, '-e', script]);
    if (stdout) await once(createInterface(stdout), 'line');
  }

  const wanted = () => {
    const desired = desiredOf(OBJECTS, { serviceCIDRs: ['10.96.0.0/16'], clusterCIDRs: ['10.244.0.0/16'] });
    return project(desired, OPTIONS).rows;
  };
  const applyRules = () => nft(transactionText(planNftables(emptyRows(OPTIONS.table), wanted()).make));

  beforeAll(async () => {
    [host, client, pod] = [createNamespace('host'), createNamespace('client'), createNamespace('pod')];
    connect(
      { namespace: host, interface: 'uplink', addresses: [`${HOST}/24`] },
      { namespace: client, interface: 'eth0', addresses: [`${CLIENT}/24`] },
    );
    connect(
      { namespace: host, interface: 'veth0', addresses: [`${GATEWAY}/24`] },
      { namespace: pod, interface: 'eth0', addresses: [`${POD}/24`] },
    );
    client.run(['ip', 'route', 'add', 'default', 'via', HOST]);
    pod.run(['ip', 'route', 'add', 'default', 'via', GATEWAY]);
    // Where packets to no address of its own would go.
    host.run(['ip', 'route', 'add', 'default', 'via', CLIENT]);
    host.run(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.vs.conntrack=1']);
    host.run(['ip', 'link', 'add', 'svcplane0', 'type', 'dummy']);
    host.run(['ip', 'link', 'set', 'svcplane0', 'up']);
    for (const address of [CLUSTER_IP, EMPTY_CLUSTER_IP, VIP, UNUSED_CLUSTER_IP]) {
      host.run(['ip', 'address', 'add', `${address}/32`, 'dev', 'svcplane0']);
    }
    const servers = [CLUSTER_IP, VIP].flatMap((address) => [
      `-A -t ${address}:80 -s rr`,
      `-a -t ${address}:80 -r ${POD}:8080 -m`,
    ]);
    const empty = [`-A -t ${EMPTY_CLUSTER_IP}:80 -s rr`, `-A -u ${EMPTY_CLUSTER_IP}:53 -s rr`];
    host.run(['ipvsadm', '-R'], [...servers, ...empty, ''].join('\n'));
    await start(pod, serve('pod', 8080));
    await start(host, serve('host', 9999));
    applyRules();
  });

  afterAll(() => {
    for (const namespace of [host, client, pod]) namespace?.[Symbol.dispose]();
  });

  it('masquerades clients outside, this node and a pod that reaches itself', () => {
    const answers = {
      clientToVip: tcp(client, VIP, 80),
      clientToClusterIP: tcp(client, CLUSTER_IP, 80),
      nodeToVip: tcp(host, VIP, 80),
      nodeToClusterIP: tcp(host, CLUSTER_IP, 80),
      podToItselfByClusterIP: tcp(pod, CLUSTER_IP, 80),
      podToItselfByVip: tcp(pod, VIP, 80),
    };
    expect(answers).toEqual({
      clientToVip: `pod ${GATEWAY}`,
      clientToClusterIP: `pod ${GATEWAY}`,
      nodeToVip: `pod ${GATEWAY}`,
      nodeToClusterIP: `pod ${GATEWAY}`,
      podToItselfByClusterIP: `pod ${GATEWAY}`,
      podToItselfByVip: `pod ${GATEWAY}`,
    });
  });

  it('keepDestination: a host port of another table does not take what is for a Service', () => {
    nft(`table ip hostports {
      chain prerouting { type nat hook prerouting priority -100; fib daddr type local tcp dport 80 dnat to ${HOST}:9999; }
      chain output { type nat hook output priority -100; fib daddr type local tcp dport 80 dnat to ${HOST}:9999; }
    }`);
    try {
      const services = () =>
        [client, host].flatMap((from) => [VIP, CLUSTER_IP].map((to) => tcp(from, to, 80).split(' ')[0]));
      expect(services()).toEqual(['pod', 'pod', 'pod', 'pod']);
      expect(tcp(client, HOST, 80)).toBe(`host ${CLIENT}`);
      // The rule does take them where ours are not.
      nft('delete table inet svcplane');
      expect(services()).toEqual(['host', 'host', 'host', 'host']);
    } finally {
      applyRules();
      nft('delete table ip hostports');
    }
  });

  it.each([
    { name: 'a client', from: () => client },
    { name: 'a pod', from: () => pod },
    { name: 'this node', from: () => host },
  ])('a frontend without endpoints refuses 100 connects of $name in a row, and datagrams', ({ from }) => {
    const before = retransmitted(from());
    const started = performance.now();
    expect(new Set(evaluate(from(), ask(EMPTY_CLUSTER_IP, 80, 100)))).toEqual(new Set(['ECONNREFUSED']));
    process.stdout.write(`100 refusals in ${Math.round(performance.now() - started)} ms\n`);
    // A refusal that did not come would have made the first packet go out again.
    expect(retransmitted(from()) - before).toBe(0);
    expect(evaluate(from(), askUdp(EMPTY_CLUSTER_IP, 53))).toEqual(['ECONNREFUSED']);
  });

  it.each([
    { name: 'a VIP', address: VIP },
    { name: 'a ClusterIP', address: CLUSTER_IP },
    { name: 'an address of the range that no Service has', address: UNUSED_CLUSTER_IP },
    { name: 'one that is not local either', address: '10.96.0.98' },
  ])('a port of no Service is closed on $name, though the host listens', ({ address }) => {
    for (const from of [client, pod, host]) {
      expect(tcp(from, address, 9999)).toBe('ECONNREFUSED');
      expect(evaluate(from, askUdp(address, 9999))).toEqual(['ECONNREFUSED']);
    }
    expect(tcp(client, HOST, 9999)).toBe(`host ${CLIENT}`);
  });
});
