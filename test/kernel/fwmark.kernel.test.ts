import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { service, slice } from '../objects.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { connect, createNamespace, describeWithIpvs, type NetworkNamespace } from './probe.ts';

const VIP = '203.0.113.9';
const HERE = '10.244.1.20';
const ELSEWHERE = '10.244.2.30';
const FRONTEND = `-A -t ${VIP}:80 -s rr`;
const LOCAL_SERVER = `-a -t ${VIP}:80 -r ${HERE}:8080 -m -w 1`;

/** Manifests of a Service of type LoadBalancer with one endpoint here and one elsewhere, by its external policy. */
function writeManifests(host: Host) {
  const ports = [{ name: 'http', port: 80, protocol: 'TCP' }];
  const write = (name: string, externalTrafficPolicy?: string) => {
    const spec = { type: 'LoadBalancer', clusterIP: '10.96.0.50', ports, externalTrafficPolicy };
    const status = { loadBalancer: { ingress: [{ ip: VIP }] } };
    const endpoints = [
      { address: HERE, node: 'n0' },
      { address: ELSEWHERE, node: 'n1' },
    ];
    const items = [service({ spec, status }), slice({ endpoints })];
    return host.file(`${name}.json`, JSON.stringify({ kind: 'List', apiVersion: 'v1', items }));
  };
  return { local: write('local', 'Local'), cluster: write('cluster', 'Cluster') };
}

/** The rows of the frontend and of all marks. */
const external = (host: Host) =>
  host.state().table.filter((line) => line.includes(VIP) || line.includes(' -f '));

/** The one mark that the table has. */
function markIn(host: Host): string {
  const [, mark = ''] = /^-A -f (\d+)/m.exec(host.run(['ipvsadm', '-Sn'])) ?? [];
  return mark;
}

const GREETER = `require('node:net').createServer((peer) => peer.on('error', () => {}).end(process.argv[1]))
  .listen(8080, process.argv[1], () => console.log('up'));`;

async function startEndpoint(host: Host, address: string): Promise<void> {
  host.run(['ip', 'address', 'add', `${address}/32`, 'dev', 'lo']);
  const { stdout } = host.namespace.start([process.execPath, '--eval', GREETER, address]);
  if (stdout) await once(stdout, 'data');
}

/** A client on one wire with the host, which is its way to everywhere. */
function outsideOf(host: Host): NetworkNamespace {
  const client = createNamespace('mark-client');
  connect(
    { namespace: host.namespace, interface: 'n0', addresses: ['172.16.0.5/24'] },
    { namespace: client, interface: 'c0', addresses: ['172.16.0.9/24'] },
  );
  client.run(['ip', 'route', 'add', 'default', 'via', '172.16.0.5']);
  return client;
}

/** Who answers two connections to the frontend, one after the other; sorted. */
const askTwice = (client: NetworkNamespace) =>
  [1, 2].map(() => client.run(['bash', '-c', `exec 3<>/dev/tcp/${VIP}/80; cat <&3`])).sort();

describeWithIpvs('firewall marks', () => {
  describe('apply', UNHURRIED, () => {
    it('gives inside clients all endpoints of a frontend with policy Local, and outside ones the local ones', async () => {
      using host = createHost('mark');
      using outside = outsideOf(host);
      const { local } = writeManifests(host);
      await startEndpoint(host, HERE);
      await startEndpoint(host, ELSEWHERE);
      expect(await host.svcplane(['apply', '-f', local])).toMatchObject({ code: 0 });
      const mark = markIn(host);
      expect(external(host)).toEqual([
        `-A -f ${mark} -s rr`,
        FRONTEND,
        `-a -f ${mark} -r ${HERE}:8080 -m -w 1`,
        `-a -f ${mark} -r ${ELSEWHERE}:8080 -m -w 1`,
        LOCAL_SERVER,
      ]);
      expect(askTwice(outside)).toEqual([HERE, HERE]);
      expect(askTwice(host.namespace)).toEqual([HERE, ELSEWHERE]);
    });

    it('keeps, drops and cleans up the rows for inside clients like any other', async () => {
      using host = createHost('mark');
      const { local, cluster } = writeManifests(host);
      const before = host.state();
      await host.svcplane(['apply', '-f', local]);
      const mark = markIn(host);
      expect(await host.svcplane(['apply', '-f', local])).toMatchObject({
        stdout: 'Applied: 0 added, 0 changed, 0 deleted.\n',
      });
      expect(await host.svcplane(['verify', '-f', local])).toMatchObject({
        code: 0,
        stdout: 'Verify: 0 missing, 0 altered, 0 stale, 0 foreign.\n',
      });
      host.run(['ipvsadm', '-d', '-f', mark, '-r', `${ELSEWHERE}:8080`]);
      const repaired = await host.svcplane(['apply', '-f', local]);
      expect(repaired.stdout).toMatch(
        new RegExp(`addRealServer FWM4 ${mark} -> ${ELSEWHERE}:8080 .*inside clients of TCP ${VIP}:80`),
      );
      await host.svcplane(['apply', '-f', cluster]);
      expect(external(host)).toEqual([
        FRONTEND,
        LOCAL_SERVER,
        `-a -t ${VIP}:80 -r ${ELSEWHERE}:8080 -m -w 1`,
      ]);
      await host.svcplane(['apply', '-f', local]);
      expect(markIn(host)).toBe(mark);
      expect(await host.svcplane(['cleanup'])).toMatchObject({ code: 0 });
      expect(host.state()).toEqual(before);
    });
  });
});
