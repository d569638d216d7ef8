import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { node, service, slice } from '../../objects.ts';
import { createNamespace, type NetworkNamespace } from '../probe.ts';
import { connectToApi } from './api-client.ts';
import { type ApiServer, startApiServer, wireToApi } from './api-server.ts';
import { describeWithKube } from './binaries.ts';
import { type KubeProxy, startKubeProxy } from './kube-proxy.ts';

const START_MS = 900_000;
const NODE = '172.16.0.5';
const VIP = '203.0.113.9';
const FRONTENDS = ['10.96.0.50:80', `${NODE}:30080`, `${VIP}:80`];
/** Of the Service default/kubernetes, which the API server itself makes. */
const KUBERNETES = ['-A -t 10.96.0.1:443 -s rr', '-a -t 10.96.0.1:443 -r 192.0.2.10:6443 -m -w 1'];

const front = service({
  spec: { type: 'LoadBalancer', ports: [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30080 }] },
  status: { loadBalancer: { ingress: [{ ip: VIP }] } },
});
const frontWith = (...endpoints: readonly string[]) =>
  slice({ endpoints: endpoints.map((address) => ({ address })) });

/** The rows of kube-proxy's table for these endpoints. */
const table = (...endpoints: readonly string[]): readonly string[] =>
  [
    ...KUBERNETES,
    ...FRONTENDS.flatMap((frontend) => [
      `-A -t ${frontend} -s rr`,
      ...endpoints.map((address) => `-a -t ${frontend} -r ${address}:8080 -m -w 1`),
    ]),
  ].sort();

describeWithKube('kube-proxy', ['kube-apiserver', 'kube-proxy'], () => {
  let parts: AsyncDisposableStack;
  let namespace: NetworkNamespace;
  let api: ApiServer;
  let proxy: KubeProxy;

  beforeAll(async () => {
    parts = new AsyncDisposableStack();
    namespace = parts.use(createNamespace('n0'));
    namespace.run(['ip', 'link', 'add', 'eth0', 'type', 'dummy']);
    namespace.run(['ip', 'address', 'add', `${NODE}/24`, 'dev', 'eth0']);
    namespace.run(['ip', 'link', 'set', 'eth0', 'up']);
    wireToApi(namespace, NODE);
    api = parts.use(await startApiServer({ users: ['stranger'] }));
    await api.apply([node({ addresses: [NODE] }), front, frontWith('10.244.1.20', '10.244.2.30')]);
    const clusterCIDR = '10.244.0.0/16';
    proxy = parts.use(await startKubeProxy({ namespace, nodeName: 'n0', apiServer: api, clusterCIDR }));
  }, START_MS);

  afterAll(() => parts.disposeAsync());

  const rows = () => namespace.run(['ipvsadm', '-Sn']).split('\n').filter(Boolean).sort();

  describe('startKubeProxy()', () => {
    it('waits until ClusterIP, NodePort and VIP are in the table of its namespace', () => {
      expect(rows(), proxy.log()).toEqual(table('10.244.1.20', '10.244.2.30'));
    });

    it('follows what the API server is told', async () => {
      await api.apply([front, frontWith('10.244.2.30', '10.244.3.40')]);
      await expect.poll(rows, { timeout: 60_000 }).toEqual(table('10.244.2.30', '10.244.3.40'));
    });
  });

  describe('ApiServer.accessOf()', () => {
    it('is that of a user without any right', async () => {
      const { server, caFile, token } = api.accessOf('stranger');
      using stranger = connectToApi(server, readFileSync(caFile, 'utf8'), token);
      await expect(stranger.request('GET', '/api/v1/services')).rejects.toMatchObject({ status: 403 });
    });
  });

  describe('ApiServer.delete()', () => {
    it('takes an object away, twice if need be', async () => {
      await api.delete([front]);
      await api.delete([front]);
      await expect.poll(rows, { timeout: 60_000 }).toEqual(KUBERNETES);
    });
  });
});
