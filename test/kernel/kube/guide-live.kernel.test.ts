import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../probe.ts';
import {
  answers,
  describeWithCluster,
  GATEWAY,
  type GuideCluster,
  guideObjects,
  KUBERNETES,
  keepAsking,
  NODE_ADDRESS,
  START_MS,
  servedAt,
  startGuideCluster,
  WAIT,
} from './guide-cluster.ts';
import { GUIDE_PODS, nodeObject, podObject } from './guide-pods.ts';

const FOREIGN = ['-A -t 192.0.2.9:443 -s wlc', '-a -t 192.0.2.9:443 -r 192.0.2.10:443 -g -w 3'];
const { web1, web2, web3, web4, ...others } = GUIDE_PODS;
const SHOPS = ['10.244.1.27:8080', '10.244.1.28:8080'];
const webRows = (...hosts: readonly number[]) =>
  servedAt(
    ['10.96.0.10:80'],
    hosts.map((host) => `10.244.1.${host}:8080`),
  );
const nodePort = (port: number) => [NODE_ADDRESS, GATEWAY].map((address) => `${address}:${port}`);

describeWithCluster('the guide, live', () => {
  let cluster: GuideCluster;
  /** What has to be in the table of the node, by case: cases come one upon the other. */
  const served = new Map([
    ['foreign', FOREIGN],
    ['kubernetes', KUBERNETES],
  ]);
  const nowServes = async (name: string, rows: readonly string[]): Promise<void> => {
    served.set(name, rows);
    await cluster.serves([...served.values()].flat());
    const { bySvcplane, byIpvsadm } = cluster.shown();
    expect(bySvcplane).toEqual(byIpvsadm);
  };
  const bound = () => {
    const shown = cluster.node.run(['ip', '-brief', '-4', 'address', 'show', 'svcplane0']);
    return [...shown.matchAll(/(\S+)\/32/g)].map(([, address]) => address).sort();
  };
  const apply = (file: string) => cluster.kubectl.apply(guideObjects(file));

  beforeAll(async () => {
    const node = nodeObject('n0', { address: NODE_ADDRESS, podCIDR: '10.244.1.0/24', zone: 'zone-a' });
    const pods = [web1, web2, web3, ...Object.values(others)].map((pod) => podObject(pod));
    cluster = await startGuideCluster({ objects: [node, ...pods] });
    cluster.node.run(['ipvsadm', '--restore'], `${FOREIGN.join('\n')}\n`);
  }, START_MS);

  afterAll(() => cluster?.[Symbol.asyncDispose]());

  describe('case 9, the Service kubernetes', () => {
    it('is there before anybody makes another one, and its VIP is the API server', async () => {
      await nowServes('kubernetes', KUBERNETES);
      const { caFile, token } = cluster.api;
      const ask = ['curl', '--silent', '--show-error', '--max-time', '20', '--cacert', caFile];
      const url = ['-H', `Authorization: Bearer ${token}`, 'https://10.96.0.1/readyz'];
      expect(cluster.node.run([...ask, ...url])).toBe('ok');
      expect(run(['ip', 'netns', 'exec', 'client', ...ask, ...url])).toBe('ok');
    });
  });

  describe('case 1, a ClusterIP with three pods', () => {
    it('serves them at the ClusterIP, to pods and to the node', async () => {
      apply('01-clusterip.yaml');
      await nowServes('web', webRows(20, 21, 22));
      for (const from of ['client', cluster.node.name])
        expect(answers(from, 'http://10.96.0.10/', 3)).toEqual(['web-1', 'web-2', 'web-3']);
    });

    it('keeps the VIP while a pod is replaced, and a client that asks all the time never fails', async () => {
      using client = keepAsking('client', 'http://10.96.0.10/');
      const countOf = (name: string) => client.soFar().answered.get(name) ?? 0;
      await expect.poll(() => countOf('web-2'), WAIT).toBeGreaterThan(2);

      // Its kubelet would now tell it to end: it is terminating, and goes on answering for a while.
      cluster.kubectl(['delete', 'pod', 'web-2', '--wait=false']);
      await nowServes('web', webRows(20, 22));
      await cluster.api.apply([podObject(web4, false)]);
      cluster.kubectl(['delete', 'pod', 'web-2', '--grace-period=0', '--force']);
      for (const pid of run(['ip', 'netns', 'pids', 'web-2']).split('\n').filter(Boolean))
        process.kill(Number(pid));
      const before = client.soFar();
      await cluster.serves([...served.values()].flat());
      await cluster.api.patchStatus(podObject(web4));
      await nowServes('web', webRows(20, 22, 23));

      await expect.poll(() => countOf('web-4'), WAIT).toBeGreaterThan(2);
      const { answered, failures } = client.soFar();
      expect(failures).toEqual([]);
      expect(answered.get('web-2')).toBe(before.answered.get('web-2'));
      expect(bound()).toContain('10.96.0.10');
      expect(cluster.kubectl(['get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}'])).toBe(
        '10.96.0.10',
      );
    });
  });

  describe('case 2, targetPort', () => {
    it('by number is that of the pod', async () => {
      apply('02-target-port.yaml');
      await nowServes('target ports', [
        ...servedAt(['10.96.0.20:80'], ['10.244.1.26:9376']),
        ...servedAt(['10.96.0.21:80'], ['10.244.1.24:80', '10.244.1.25:8081']),
      ]);
      expect(answers('client', 'http://10.96.0.20/', 1)).toEqual(['myapp-1']);
    });

    it('by name is the number that each pod gives it', () => {
      expect(answers('client', 'http://10.96.0.21/', 2)).toEqual(['nginx-1', 'nginx-2']);
    });
  });

  describe('case 3, a NodePort', () => {
    it('is served on the addresses of the node, to whoever can reach them', async () => {
      apply('03-nodeport.yaml');
      await nowServes('NodePort', servedAt(['10.96.0.30:80', ...nodePort(30080)], SHOPS));
      for (const from of ['outside', 'client', cluster.node.name])
        expect(answers(from, `http://${NODE_ADDRESS}:30080/`, 2)).toEqual(['shop-1', 'shop-2']);
    });
  });

  describe('case 4, externalIPs', () => {
    it("that are the node's own address are served, and not bound again", async () => {
      apply('04-external-ips.yaml');
      await nowServes('externalIPs', servedAt(['10.96.0.40:80', `${NODE_ADDRESS}:80`], SHOPS));
      expect(answers('outside', `http://${NODE_ADDRESS}/`, 2)).toEqual(['shop-1', 'shop-2']);
      expect(bound()).not.toContain(NODE_ADDRESS);
    });
  });

  describe('case 5, a LoadBalancer', () => {
    it('is served at its address as soon as the controller has written it into the status', async () => {
      apply('05-load-balancer.yaml');
      const inside = ['10.96.0.50:80', ...nodePort(31562)];
      await nowServes('LoadBalancer', servedAt(inside, SHOPS));
      const status = { loadBalancer: { ingress: [{ ip: '10.10.0.5', ipMode: 'VIP' }] } };
      const patch = ['--type=merge', '-p', JSON.stringify({ status })];
      cluster.kubectl(['patch', 'service', 'shop-lb', '--subresource=status', ...patch]);
      await nowServes('LoadBalancer', servedAt([...inside, '10.10.0.5:80'], SHOPS));
      for (const from of ['outside', 'client', cluster.node.name])
        expect(answers(from, 'http://10.10.0.5/', 2)).toEqual(['shop-1', 'shop-2']);
      expect(bound()).toContain('10.10.0.5');
    });
  });

  describe('case 6, a Service without selector', () => {
    it('leads to the address outside that hand-made Endpoints name, and mirrored slices have', async () => {
      apply('06-outside-server.yaml');
      await nowServes('outside', servedAt(['10.96.0.60:80'], ['172.30.0.200:8088']));
      const slices = ['get', 'endpointslices', '-l', 'kubernetes.io/service-name=legacy', '-o', 'json'];
      expect(JSON.parse(cluster.kubectl(slices)).items).toMatchObject([
        {
          metadata: {
            labels: {
              'endpointslice.kubernetes.io/managed-by': 'endpointslicemirroring-controller.k8s.io',
            },
          },
          endpoints: [{ addresses: ['172.30.0.200'] }],
        },
      ]);
      for (const from of ['client', cluster.node.name])
        expect(answers(from, 'http://10.96.0.60/', 1)).toEqual(['outside-server']);
    });
  });

  describe('case 7, headless and ExternalName', () => {
    it('put nothing on the node, which says why', async () => {
      const before = bound();
      apply('07-headless-and-external-name.yaml');
      const why = ['headless (clusterIP None): DNS', 'type ExternalName is a DNS alias'];
      for (const reason of why) await expect.poll(() => cluster.daemon.log(), WAIT).toContain(reason);
      const snapshot = JSON.parse(cluster.svcplane('snapshot', '--desired', '-o', 'json'));
      expect(snapshot.rejected).toMatchObject([
        { subject: 'Service default/database', reason: expect.stringContaining('headless') },
        { subject: 'Service default/mail', reason: expect.stringContaining('ExternalName') },
      ]);
      await cluster.serves([...served.values()].flat());
      expect(bound()).toEqual(before);
    });
  });

  describe('case 8, sessionAffinity ClientIP', () => {
    it('is 10800 s unless somebody says otherwise, and a client stays with its pod', async () => {
      const objects = guideObjects('08-session-affinity.yaml').map((object) => {
        const { sessionAffinityConfig: _, ...spec } = 'spec' in object ? Object(object.spec) : {};
        return { ...object, spec };
      });
      cluster.kubectl.apply(objects);
      await nowServes('affinity', servedAt(['10.96.0.80:80'], SHOPS, ' -p 10800'));
      for (const from of ['client', 'outside'])
        expect(new Set(answers(from, 'http://10.96.0.80/', 4)).size).toBe(1);
    });
  });

  describe('case 10, a Service of another namespace', () => {
    it('is served to a pod at the same VIP', async () => {
      apply('10-other-namespace.yaml');
      await nowServes('other namespace', servedAt(['10.96.0.100:80'], ['10.244.1.29:8080']));
      expect(answers('client', 'http://10.96.0.100/', 1)).toEqual(['api-1']);
    });
  });

  describe('all deleted', () => {
    const files = ['01-clusterip', '02-target-port', '03-nodeport', '04-external-ips', '05-load-balancer'];
    const rest = ['06-outside-server', '07-headless-and-external-name', '08-session-affinity'];
    const rules = () => cluster.node.run(['nft', '-s', 'list', 'ruleset']);

    it('is held by the guard, which says so in an Event', async () => {
      expect(rules()).toContain('10.10.0.5');
      const all = [...files, ...rest, '10-other-namespace'];
      cluster.kubectl.delete(all.flatMap((file) => guideObjects(`${file}.yaml`)));
      const events = ['get', 'events', '--field-selector', 'reason=SvcplaneGuardHeld,involvedObject.name=n0'];
      await expect.poll(() => cluster.kubectl([...events, '-o', 'name']), WAIT).toMatch(/^event\//);
    });

    it('leaves the node as it was, but for the Service kubernetes and what somebody else has', async () => {
      cluster.svcplane('guard', 'release');
      await cluster.serves([...FOREIGN, ...KUBERNETES]);
      const { bySvcplane, byIpvsadm } = cluster.shown();
      expect(bySvcplane).toEqual(byIpvsadm);
      await expect.poll(bound, WAIT).toEqual(['10.96.0.1']);
      await expect.poll(rules, WAIT).not.toMatch(/10\.10\.0\.5|10\.244\.1\.2\d/);
    });
  });
});
