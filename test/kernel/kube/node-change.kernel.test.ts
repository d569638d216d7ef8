import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommandError, run } from '../probe.ts';
import {
  answers,
  describeWithCluster,
  GATEWAY,
  type GuideCluster,
  guideObjects,
  KUBERNETES,
  NODE_ADDRESS,
  START_MS,
  servedAt,
  startGuideCluster,
  WAIT,
} from './guide-cluster.ts';
import { GUIDE_PODS, nodeObject, podObject } from './guide-pods.ts';

const POD_CIDR = '10.244.1.0/24';
const { web1, web2, shop1, shop2 } = GUIDE_PODS;
const SHOPS = ['10.244.1.27:8080', '10.244.1.28:8080'];
const SECOND = '172.30.0.31';
/** An externalIP that is nobody's at first. */
const EXTERNAL = '172.30.0.50';

const SPREAD = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    clusterIP: '10.96.0.10',
    selector: web1.labels,
    trafficDistribution: 'PreferSameZone',
    ports: [{ name: 'http', port: 80, targetPort: 8080 }],
  },
};
const withExternalIP = (externalIP: string) =>
  guideObjects('04-external-ips.yaml').map((object) => {
    const spec = 'spec' in object ? Object(object.spec) : {};
    return { ...object, spec: { ...spec, externalIPs: [externalIP] } };
  });
const webRows = (...hosts: readonly number[]) =>
  servedAt(
    ['10.96.0.10:80'],
    hosts.map((host) => `10.244.1.${host}:8080`),
  );

describeWithCluster('a node that changes', () => {
  let cluster: GuideCluster;
  let pid: number;
  /** The link that leads out of the node. */
  let uplink = 'eth0';

  /** All that is served, with NodePorts on these addresses and `web` on these pods. */
  const servesOn = (addresses: readonly string[], ...web: readonly number[]) =>
    cluster.serves([
      ...KUBERNETES,
      ...webRows(...web),
      ...servedAt(['10.96.0.30:80', ...addresses.map((address) => `${address}:30080`)], SHOPS),
      ...servedAt(['10.96.0.40:80', `${EXTERNAL}:80`], SHOPS),
    ]);
  const address = (verb: 'add' | 'del', ip: string) =>
    cluster.node.run(['ip', 'address', verb, `${ip}/24`, 'dev', uplink]);
  const bound = () => cluster.node.run(['ip', '-brief', '-4', 'address', 'show', 'svcplane0']);
  /** Milliseconds until NodePort 30080 is, or is no more, on an address, as the kernel's own table has it. */
  const untilNodePort = async (ip: string, isThere: boolean): Promise<number> => {
    const startedMs = performance.now();
    const row = `${ip.split('.').map(hexByte).join('')}:${(30080).toString(16)}`.toUpperCase();
    await expect.poll(() => cluster.daemon.table().includes(row), { ...WAIT, interval: 2 }).toBe(isThere);
    return performance.now() - startedMs;
  };
  /** Whom a server of `web` sees, or one behind the NodePort. */
  const seenFrom = (from: string, url: string) => answers(from, `${url}cgi-bin/source`, 1);

  beforeAll(async () => {
    const nodes = [
      nodeObject('n0', { address: NODE_ADDRESS, zone: 'zone-a' }),
      nodeObject('n1', { address: '172.30.0.41', zone: 'zone-a' }),
      nodeObject('n2', { address: '172.30.0.42', zone: 'zone-b' }),
    ];
    // Where they are is a matter of the API alone.
    const pods = [{ ...web1, nodeName: 'n1' }, { ...web2, nodeName: 'n2' }, shop1, shop2];
    cluster = await startGuideCluster({ objects: [...nodes, ...pods.map((pod) => podObject(pod))] });
    ({ pid } = cluster.daemon);
    cluster.kubectl.apply([SPREAD, ...guideObjects('03-nodeport.yaml'), ...withExternalIP(EXTERNAL)]);
  }, START_MS);

  afterAll(() => cluster?.[Symbol.asyncDispose]());

  it('serves all Services on a node without podCIDR, by the hints for its zone', async () => {
    await servesOn([NODE_ADDRESS, GATEWAY], 20);
  });

  it('serves NodePorts on an address from when a link gets it until it loses it', async () => {
    address('add', SECOND);
    const added = await untilNodePort(SECOND, true);
    await servesOn([NODE_ADDRESS, GATEWAY, SECOND], 20);
    expect(answers('outside', `http://${SECOND}:30080/`, 2)).toEqual(['shop-1', 'shop-2']);
    address('del', SECOND);
    const removed = await untilNodePort(SECOND, false);
    await servesOn([NODE_ADDRESS, GATEWAY], 20);
    const inMs = [added, removed].map((ms) => `${ms.toFixed(0)} ms`);
    console.log(
      `node change: NodePort on a new address after ${inMs[0]}, off a removed one after ${inMs[1]}`,
    );
  });

  it('binds an externalIP unless, and while, it is the address of another link', async () => {
    await expect.poll(bound, WAIT).toContain(`${EXTERNAL}/32`);
    address('add', EXTERNAL);
    await expect.poll(bound, WAIT).not.toContain(`${EXTERNAL}/32`);
    await servesOn([NODE_ADDRESS, GATEWAY, EXTERNAL], 20);
    expect(answers('outside', `http://${EXTERNAL}/`, 2)).toEqual(['shop-1', 'shop-2']);
    address('del', EXTERNAL);
    await expect.poll(bound, WAIT).toContain(`${EXTERNAL}/32`);
    await servesOn([NODE_ADDRESS, GATEWAY], 20);
  });

  it('takes up a podCIDR that is set late: clients outside are masqueraded, pods are not', async () => {
    expect(seenFrom('outside', 'http://10.96.0.10/')).toEqual(['172.30.0.100']);
    const patch = JSON.stringify({ spec: { podCIDR: POD_CIDR, podCIDRs: [POD_CIDR] } });
    cluster.kubectl(['patch', 'node', 'n0', '--type=merge', '-p', patch]);
    await expect.poll(() => seenFrom('outside', 'http://10.96.0.10/'), WAIT).toEqual([GATEWAY]);
    expect(seenFrom('client', 'http://10.96.0.10/')).toEqual(['10.244.1.40']);
  });

  it('takes up the podCIDR of a Node that was made again with another one', async () => {
    const again = (podCIDR: string) => nodeObject('n0', { address: NODE_ADDRESS, podCIDR, zone: 'zone-a' });
    const change = async (podCIDR: string) => {
      cluster.kubectl(['delete', 'node', 'n0']);
      await cluster.api.apply([again(podCIDR)]);
    };
    await change('10.244.9.0/24');
    await expect.poll(() => seenFrom('client', 'http://10.96.0.10/'), WAIT).toEqual([GATEWAY]);
    await change(POD_CIDR);
    await expect.poll(() => seenFrom('client', 'http://10.96.0.10/'), WAIT).toEqual(['10.244.1.40']);
    await servesOn([NODE_ADDRESS, GATEWAY], 20);
  });

  it('follows the hints for its zone when its label changes', async () => {
    const label = (zone: string) => cluster.kubectl(['label', 'node', 'n0', '--overwrite', zone]);
    expect(answers('client', 'http://10.96.0.10/', 2)).toEqual(['web-1', 'web-1']);
    label('topology.kubernetes.io/zone=zone-b');
    await servesOn([NODE_ADDRESS, GATEWAY], 21);
    expect(answers('client', 'http://10.96.0.10/', 2)).toEqual(['web-2', 'web-2']);
    label('topology.kubernetes.io/zone-');
    await servesOn([NODE_ADDRESS, GATEWAY], 20, 21);
    label('topology.kubernetes.io/zone=zone-a');
    await servesOn([NODE_ADDRESS, GATEWAY], 20);
  });

  it('goes on when its uplink gets another name', async () => {
    rename('uplink0');
    address('add', SECOND);
    await untilNodePort(SECOND, true);
    for (const ip of [NODE_ADDRESS, SECOND])
      expect(answers('outside', `http://${ip}:30080/`, 2)).toEqual(['shop-1', 'shop-2']);
    address('del', SECOND);
    await servesOn([NODE_ADDRESS, GATEWAY], 20);
  });

  it('does all of that as one process, which shows what is there', () => {
    const { bySvcplane, byIpvsadm } = cluster.shown();
    expect(bySvcplane).toEqual(byIpvsadm);
    expect(cluster.daemon.pid).toBe(pid);
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).not.toMatch(/\) [ZX] /);
  });

  describe('with nodePortAddresses: primary', () => {
    it("follows the Node object's addresses", async () => {
      await cluster.daemon.stop();
      const file = join(cluster.daemon.directory, 'config.yaml');
      const config = { ...JSON.parse(readFileSync(file, 'utf8')), nodePortAddresses: ['primary'] };
      writeFileSync(file, JSON.stringify(config));
      await cluster.daemon.start();
      await servesOn([NODE_ADDRESS], 20);
      const { pid: before } = cluster.daemon;

      const patchAddresses = (...addresses: readonly string[]) => {
        const status = { addresses: addresses.map((ip) => ({ type: 'InternalIP', address: ip })) };
        const patch = ['--type=merge', '-p', JSON.stringify({ status })];
        cluster.kubectl(['patch', 'node', 'n0', '--subresource=status', ...patch]);
      };
      address('add', SECOND);
      patchAddresses(NODE_ADDRESS, SECOND);
      await servesOn([NODE_ADDRESS, SECOND], 20);
      expect(answers('outside', `http://${SECOND}:30080/`, 2)).toEqual(['shop-1', 'shop-2']);
      patchAddresses(NODE_ADDRESS);
      await servesOn([NODE_ADDRESS], 20);
      expect(cluster.daemon.pid).toBe(before);
    });
  });

  /** As `ip link set eth0 name NAME` does, after which the old name is nobody's. */
  function rename(name: string): void {
    const ip = ['ip', '-n', cluster.node.name, 'link', 'set', uplink];
    try {
      run([...ip, 'name', name]);
    } catch (error) {
      // Before Linux 6.2 a link that is up keeps its name: EBUSY. Down, it loses its routes, but not its addresses.
      if (!(error instanceof CommandError)) throw error;
      run([...ip, 'down']);
      run([...ip, 'name', name, 'up']);
    }
    uplink = name;
  }
});

function hexByte(text: string): string {
  return Number(text).toString(16).padStart(2, '0');
}
