import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NETLINK_GENERIC, NETLINK_NETFILTER, NetlinkSocket } from '../../native-bindings/netlink-socket.ts';
import { NetlinkIpvsKernel } from '../../src/dataplane/ipvs/client.ts';
import { NetlinkFlowKernel } from '../../src/dataplane/ipvs/flow-client.ts';
import { createIpvsDataplane } from '../../src/dataplane/ipvs/index.ts';
import type { StaleFlows } from '../../src/dataplane/ipvs/kernel.ts';
import { GenlClient } from '../../src/netlink/client.ts';
import { ConntrackClient } from '../../src/netlink/conntrack-client.ts';
import { IPVS_GENL_NAME } from '../../src/netlink/uapi/ipvs.ts';
import { ALL_OPTIONS, desiredState, endpointOf, ip, virtualServer } from '../dataplane/ipvs/build.ts';
import { MemoryLedger } from '../fakes/ledger.ts';
import { createNamespace, describeWithIpvs, type NetworkNamespace, run } from './probe.ts';

const never = new AbortController().signal;
const VIP = '10.96.0.10';
const DNS = `UDP ${VIP}:53`;
const ONE = '172.16.2.2:5353';
const TWO = '172.16.3.2:5353';

interface FlowShape {
  readonly protocol?: 'udp' | 'sctp';
  readonly client: string;
  readonly to: string;
  readonly from: string;
}

/** Makes conntrack track a client of TO port 53 whom FROM port 5353 answers. */
function track({ protocol = 'udp', client, to, from }: FlowShape): void {
  const ports = ['--sport', '4000', '--dport', '53', '--reply-port-src', '5353', '--reply-port-dst', '4000'];
  const state =
    protocol === 'sctp' ? ['--state', 'ESTABLISHED', '--orig-vtag', '1', '--reply-vtag', '2'] : [];
  // It says on its standard error what it has done.
  run([
    'conntrack',
    '-I',
    '-p',
    protocol,
    '-s',
    client,
    '-d',
    to,
    '-r',
    from,
    '-q',
    client,
    ...ports,
    '-t',
    '300',
    ...state,
  ]);
}

/** Source addresses of the tracked flows, sorted. */
function tracked(family: 'ipv4' | 'ipv6' = 'ipv4'): readonly string[] {
  return [...run(['conntrack', '-L', '-f', family]).matchAll(/^\S+ .*? src=(\S+)/gm)]
    .map(([, source = '']) => source)
    .sort();
}

function openFlows() {
  const socket = NetlinkSocket.open(NETLINK_NETFILTER);
  const client = new ConntrackClient(socket);
  const flows = new NetlinkFlowKernel(client);
  return { socket, client, flows, [Symbol.dispose]: () => socket[Symbol.dispose]() };
}

const stale = (
  address: string,
  keep: readonly string[],
  protocol: StaleFlows['protocol'] = 'UDP',
): StaleFlows => ({
  protocol,
  address: ip(address),
  port: 53,
  keep: keep.map((endpoint) => ({ address: ip(endpoint), port: 5353 })),
});

const forget = () => void spawnSync('conntrack', ['-F']);

describeWithIpvs('flows of conntrack', () => {
  describe('deleteFlows()', () => {
    beforeEach(forget);
    afterEach(forget);

    it('deletes the flows of one destination that no endpoint of it answers', async () => {
      track({ client: '10.0.0.1', to: VIP, from: '10.1.0.1' });
      track({ client: '10.0.0.2', to: VIP, from: '10.1.0.2' });
      track({ client: '10.0.0.3', to: '10.96.0.11', from: '10.1.0.2' });
      track({ client: '10.0.0.4', to: VIP, from: '10.1.0.2', protocol: 'sctp' });
      using conntrack = openFlows();
      expect(await conntrack.flows.deleteFlows([stale(VIP, ['10.1.0.1'])], never)).toEqual([
        { outcome: 'ok' },
      ]);
      expect(tracked()).toEqual(['10.0.0.1', '10.0.0.3', '10.0.0.4']);
      await conntrack.flows.deleteFlows([stale(VIP, [], 'SCTP')], never);
      expect(tracked()).toEqual(['10.0.0.1', '10.0.0.3']);
      // Two of the four flows to the address went; since Linux 5.8 no other was ever sent to us.
      expect(conntrack.client.traffic()).toEqual({ dumps: 2, flowsRead: 3, deletions: 2 });
    });

    it('deletes IPv6 flows', async () => {
      track({ client: 'fd00::1', to: 'fd00::10', from: 'fd01::1' });
      track({ client: 'fd00::2', to: 'fd00::10', from: 'fd01::2' });
      track({ client: 'fd00::3', to: 'fd00::11', from: 'fd01::2' });
      using conntrack = openFlows();
      await conntrack.flows.deleteFlows([stale('fd00::10', ['fd01::1'])], never);
      expect(tracked('ipv6')).toEqual(['fd00::1', 'fd00::3']);
    });

    it('reads the flows of a protocol once for many destinations', async () => {
      for (let i = 1; i <= 9; i++)
        track({ client: `10.0.0.${i}`, to: `10.96.0.${i}`, from: `10.1.0.${i % 2}` });
      using conntrack = openFlows();
      const all = Array.from({ length: 100 }, (_, i) => stale(`10.96.0.${i + 2}`, ['10.1.0.1']));
      expect(new Set(await conntrack.flows.deleteFlows(all, never))).toEqual(new Set([{ outcome: 'ok' }]));
      expect(tracked()).toEqual([1, 3, 5, 7, 9].map((i) => `10.0.0.${i}`));
      expect(conntrack.client.traffic()).toEqual({ dumps: 1, flowsRead: 9, deletions: 4 });
    });
  });

  describe('a client that keeps its source port', () => {
    it('reaches an endpoint with the very next datagram when its own has gone', async () => {
      await using node = await createNode();
      await node.sync([ONE]);
      expect(await node.ask(2)).toEqual(['one', 'one']);
      await node.sync([TWO]);
      expect(await node.ask(2)).toEqual(['two', 'two']);
      await node.sync([ONE, TWO]);
      await node.sync([ONE]);
      expect(await node.ask(2)).toEqual(['one', 'one']);
    });

    it('reaches an endpoint with the very next datagram after there was none', async () => {
      await using node = await createNode();
      await node.sync([ONE]);
      expect(await node.ask(1)).toEqual(['one']);
      await node.sync([]);
      expect(await node.ask(1)).toEqual(['nobody']);
      await node.sync([TWO]);
      expect(await node.ask(2)).toEqual(['two', 'two']);
    });

    it('reaches an endpoint with the very next datagram after the Service was deleted and made again', async () => {
      await using node = await createNode();
      await node.sync([ONE]);
      expect(await node.ask(1)).toEqual(['one']);
      await node.sync(null);
      await node.sync([TWO]);
      expect(await node.ask(2)).toEqual(['two', 'two']);
    });
  });
});

const SERVER = `const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (_, { address, port }) => socket.send(process.argv[1], port, address));
socket.bind(5353, () => console.log('up'));`;

/** Sends a datagram for each line of its input, always from one port, and prints the answer. */
const CLIENT = `const socket = require('node:dgram').createSocket('udp4');
let answer = () => {};
socket.on('message', (text) => answer(String(text)));
require('node:readline').createInterface({ input: process.stdin }).on('line', () => {
  const timer = setTimeout(() => answer('nobody'), 2000);
  answer = (text) => { clearTimeout(timer); answer = () => {}; console.log(text); };
  socket.send('?', 53, '${VIP}');
});
socket.bind(4000, () => console.log('up'));`;

async function startNode(namespace: NetworkNamespace, source: string, name = ''): Promise<ChildProcess> {
  const child = namespace.start([process.execPath, '--eval', source, name]);
  expect(await lineOf(child)).toBe('up');
  return child;
}

async function lineOf({ stdout }: ChildProcess): Promise<string> {
  const [text] = stdout ? await once(stdout, 'data') : [''];
  return String(text).trim();
}

const RULES = `table inet svcplane-test {
  chain postrouting { type nat hook postrouting priority srcnat; ct original ip daddr ${VIP} masquerade; }
}`;

/** A namespace behind this one, on 172.16.NUMBER.0/24. */
function attach(label: string, number: number): NetworkNamespace {
  const namespace = createNamespace(label);
  const link = `ct${number}`;
  run(['ip', 'link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace.name]);
  run(['ip', 'address', 'add', `172.16.${number}.1/24`, 'dev', link]);
  run(['ip', 'link', 'set', link, 'up']);
  namespace.run(['ip', 'address', 'add', `172.16.${number}.2/24`, 'dev', 'eth0']);
  namespace.run(['ip', 'link', 'set', 'eth0', 'up']);
  namespace.run(['ip', 'route', 'add', 'default', 'via', `172.16.${number}.1`]);
  return namespace;
}

/** This network namespace as a node that masquerades, with a client and two endpoints behind it. */
async function createNode() {
  using resources = new DisposableStack();
  const [behind, first, second] = ['client', 'one', 'two'].map((label, i) =>
    resources.use(attach(`ct-${label}`, i + 1)),
  );
  if (!behind || !first || !second) return expect.unreachable();
  run(['ip', 'address', 'add', `${VIP}/32`, 'dev', 'lo']);
  resources.defer(() => void run(['ip', 'address', 'del', `${VIP}/32`, 'dev', 'lo']));
  run(['nft', '-f', '-'], RULES);
  resources.defer(() => void run(['nft', 'delete', 'table', 'inet', 'svcplane-test']));
  await startNode(first, SERVER, 'one');
  await startNode(second, SERVER, 'two');
  const client = await startNode(behind, CLIENT);
  const conntrack = resources.use(openFlows());
  const socket = resources.use(NetlinkSocket.open(NETLINK_GENERIC));
  const kernel = new NetlinkIpvsKernel(GenlClient.open(socket, IPVS_GENL_NAME));
  const nowMs = Date.now;
  const dataplane = createIpvsDataplane(
    { kernel, flows: conntrack.flows, ledger: new MemoryLedger(), nowMs },
    ALL_OPTIONS,
  );
  const kept = resources.move();
  return {
    /** Makes these the endpoints of the Service; null deletes it. */
    async sync(endpoints: readonly string[] | null): Promise<void> {
      const servers = endpoints && [
        virtualServer(DNS, { realServers: endpoints.map((text) => endpointOf(text)) }),
      ];
      const wanted = dataplane.project(desiredState(servers ?? [])).rows;
      const { make, break: breaking } = dataplane.plan(await dataplane.observe(never), wanted);
      for (const ops of [make, breaking]) {
        expect(await dataplane.apply(ops, never)).toMatchObject({ refused: [], notAttempted: [] });
      }
    },
    /** Sends so many datagrams, one after the other. @returns who has answered each */
    async ask(count: number): Promise<readonly string[]> {
      const answers: string[] = [];
      while (answers.length < count) {
        client.stdin?.write('\n');
        answers.push(await lineOf(client));
      }
      return answers;
    },
    async [Symbol.asyncDispose]() {
      const { break: ops } = dataplane.teardown(await dataplane.observe(never));
      await dataplane.apply(ops, never);
      kept.dispose();
    },
  };
}
