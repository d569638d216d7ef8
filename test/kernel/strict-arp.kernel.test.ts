import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { service, slice } from '../objects.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { connect, createNamespace, describeWithIpvs, type NetworkNamespace } from './probe.ts';

const VIP = '203.0.113.9';
const ARP = ['net.ipv4.conf.all.arp_ignore', 'net.ipv4.conf.all.arp_announce'] as const;
const LOAD_BALANCED = {
  spec: {
    type: 'LoadBalancer',
    clusterIP: '10.96.0.50',
    ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
  },
  status: { loadBalancer: { ingress: [{ ip: VIP }] } },
};

/** Manifests with the Service of type LoadBalancer, with its ClusterIP only, and of nothing. */
function writeManifests(host: Host) {
  const write = (name: string, items: readonly object[]) =>
    host.file(`${name}.json`, JSON.stringify({ kind: 'List', apiVersion: 'v1', items }));
  const slices = [slice({ endpoints: [{ address: '10.244.1.20' }] })];
  return {
    announced: write('announced', [service(LOAD_BALANCED), ...slices]),
    internal: write('internal', [service(), ...slices]),
  };
}

/** A client on one wire with the host, which takes the VIP to be on that wire, too. */
function clientOf(host: Host): NetworkNamespace {
  const client = createNamespace('arp-client');
  connect(
    { namespace: host.namespace, interface: 'n0', addresses: ['172.16.0.5/24'] },
    { namespace: client, interface: 'c0', addresses: ['172.16.0.9/24'] },
  );
  client.run(['ip', 'route', 'add', `${VIP}/32`, 'dev', 'c0']);
  return client;
}

/** Makes `client` ask with ARP who has `address`. @returns whether somebody has answered */
async function isAnswered(client: NetworkNamespace, address: string): Promise<boolean> {
  client.run(['ip', 'neigh', 'flush', 'all']);
  client.run(['bash', '-c', `echo >/dev/udp/${address}/9`]);
  for (;;) {
    const neighbour = client.run(['ip', 'neigh', 'show', address]);
    if (neighbour.includes('lladdr')) return true;
    if (neighbour.includes('FAILED')) return false;
    await sleep(50);
  }
}

const sysctlsOf = (host: Host) => host.state().sysctls.filter((line) => line.includes('.arp_'));

describeWithIpvs('strict ARP', () => {
  describe('apply', UNHURRIED, () => {
    it('lets the host answer for its own addresses only while it has one of a load balancer', async () => {
      using host = createHost('arp');
      using client = clientOf(host);
      const { announced, internal } = writeManifests(host);
      const apply = async (...args: readonly string[]) =>
        expect(await host.svcplane(['apply', ...args])).toMatchObject({ code: 0, stderr: '' });

      const lax = host.file('lax.yaml', 'strictARP: false\n');
      await apply('-f', announced, '--config', lax);
      expect(sysctlsOf(host)).toEqual(ARP.map((name) => `${name}=0`));
      expect(await isAnswered(client, VIP)).toBe(true);

      await apply('-f', announced);
      expect(sysctlsOf(host)).toEqual([`${ARP[0]}=1`, `${ARP[1]}=2`]);
      expect(await isAnswered(client, VIP)).toBe(false);
      expect(await isAnswered(client, '172.16.0.5')).toBe(true);

      await apply('-f', internal);
      expect(sysctlsOf(host)).toEqual(ARP.map((name) => `${name}=0`));
    });

    it('leaves a value alone that somebody has changed since', async () => {
      using host = createHost('arp');
      const { announced, internal } = writeManifests(host);
      await host.svcplane(['apply', '-f', announced]);
      host.setSysctl(ARP[0], '2');
      expect(await host.svcplane(['apply', '-f', internal])).toMatchObject({ code: 0, stderr: '' });
      expect(sysctlsOf(host)).toEqual([`${ARP[0]}=2`, `${ARP[1]}=0`]);
    });
  });
});
