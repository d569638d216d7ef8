import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ipAddress } from '../kernel/traffic/dual-stack.ts';
import { node, service, slice } from '../objects.ts';
import { A, B, type CliHarness, loadedCli } from './harness.ts';
import { addressesOn, CLUSTER_IP, linkNamesOf, tableOf } from './proxied-node.ts';

const FROM = ['import', '--from', 'kube-proxy'] as const;

let cli: CliHarness;
let manifests: string;
beforeEach(() => {
  ({ cli, manifests } = loadedCli());
});
afterEach(() => cli[Symbol.dispose]());

const importNode = (...args: readonly string[]) => cli.run(...FROM, '-f', manifests, ...args);
const table = () => tableOf(cli);
const linkNames = () => linkNamesOf(cli);
const addressesOf = (link: string) => addressesOn(cli, link);

/** kube-proxy has served the node by these files, and been stopped. */
async function kubeProxyServed(file = manifests, frontends = [CLUSTER_IP]): Promise<void> {
  const desired = JSON.parse((await cli.run('snapshot', '--desired', '-f', file, '-o', 'json')).out);
  for (const { address, port, protocol, realServers } of desired.virtualServers) {
    const identity = { kind: 'address', address, port, protocol } as const;
    const config = {
      scheduler: 'rr',
      flags: 0,
      persistenceTimeoutSeconds: null,
      netmask: null,
      persistenceEngine: null,
    } as const;
    await cli.ipvs.execute(
      [
        { command: 'newService', identity, config },
        ...realServers.map((each: { address: string; port: number }) => ({
          command: 'newDest',
          identity,
          realServer: { ...each, weight: 1, forwarding: 'masquerade', ...NO_LIMITS },
        })),
      ],
      cli.signal,
    );
  }
  await cli.kubeProxy.serve(frontends);
}
const NO_LIMITS = { upperThreshold: 0, lowerThreshold: 0, tunnel: null };

describe('import', () => {
  it('names the one proxy that it knows', async () => {
    expect(await cli.run('import', '-f', manifests)).toMatchObject({
      exit: 1,
      err: 'svcplane: Cannot import from nobody: give --from kube-proxy\n',
    });
    expect((await cli.run('import', '--from', 'cilium', '-f', manifests)).err).toContain('from cilium');
  });

  it('while kube-proxy runs: enters what is equal in the ledger, and changes nothing else', async () => {
    await kubeProxyServed();
    cli.kubeProxy.running = 'process 7';
    const before = await table();
    const { exit, out, err } = await importNode();
    expect({ exit, out }).toEqual({
      exit: 2,
      out: `equal   TCP 10.96.0.50:80  (Service web/front)
Import: 1 equal, 0 altered, 0 theirs, 0 ours, 0 foreign.
~ adoptVirtualServer TCP 10.96.0.50:80  owner foreign → Service web/front port http  (Service web/front port http)
Applied: 0 added, 1 changed, 0 deleted.
`,
    });
    expect(err).toContain('note: kube-proxy runs here (process 7): only the ledger is written');
    expect(await table()).toBe(before);
    expect(await linkNames()).toEqual(['lo', 'kube-ipvs0']);
    expect([...cli.ledger.read().virtualServers.keys()]).toEqual(['TCP 10.96.0.50:80']);
  });

  it('refuses to release what a kube-proxy that runs has made, before it does anything', async () => {
    await kubeProxyServed();
    cli.kubeProxy.running = 'process 7';
    expect(await importNode('--release')).toMatchObject({
      exit: 1,
      out: '',
      err: expect.stringContaining('while it runs here (process 7): stop it on this node'),
    });
    expect(cli.ledger.writes).toBe(0);
  });

  it('takes over, releases, and has nothing to do the second time', async () => {
    await kubeProxyServed();
    const dry = await importNode('--release', '--dry-run');
    expect(dry.exit).toBe(2);
    expect(await linkNames()).toEqual(['lo', 'kube-ipvs0']);
    const { exit, out } = await importNode();
    expect(exit).toBe(0);
    expect(out).not.toMatch(/[+-] \w+Server/);
    expect(await addressesOf('svcplane0')).toEqual(['10.96.0.50']);
    expect(await addressesOf('kube-ipvs0')).toEqual(['10.96.0.50']);
    const released = await importNode('--release');
    expect(released).toMatchObject({ exit: 0, err: '' });
    expect(released.out.split('\n').slice(2)).toEqual([
      '- deleteRules iptables-nft  chains nat KUBE-SERVICES, nat KUBE-POSTROUTING, nat KUBE-MARK-MASQ; 5 rules  (of kube-proxy)',
      '- deleteSet ipset KUBE-CLUSTER-IP  (of kube-proxy)',
      '- deleteLink link kube-ipvs0  (of kube-proxy)',
      'Applied: 0 added, 0 changed, 3 deleted.',
      '',
    ]);
    expect(await linkNames()).toEqual(['lo', 'svcplane0']);
    expect(cli.kubeProxy.nat).toContain('-A PREROUTING -j OTHERS');
    expect(cli.kubeProxy.nat).not.toContain('KUBE-');
    expect(cli.kubeProxy.sets).toContain('create others');
    expect((await importNode('--release')).out).toContain('Applied: 0 added, 0 changed, 0 deleted.');
    expect((await cli.run('apply', '-f', manifests)).out).toBe('Applied: 0 added, 0 changed, 0 deleted.\n');
  });

  it('changes in place what kube-proxy has made otherwise', async () => {
    const other = cli.file('other.json', [service(), slice({ endpoints: [A] }), node()]);
    await kubeProxyServed(other);
    const { exit, out } = await importNode();
    expect(exit).toBe(0);
    expect(out).toContain('altered TCP 10.96.0.50:80  +10.244.2.30:8080  (ipset KUBE-CLUSTER-IP lists it)\n');
    expect(out).toContain('+ addRealServer TCP 10.96.0.50:80 -> 10.244.2.30:8080');
    expect(await table()).toContain('-r 10.244.2.30:8080');
  });

  it('drains what is of no Service any more, and holds on to its address until then', async () => {
    const both = cli.file('both.json', [
      service(),
      service({ name: 'gone', spec: { clusterIP: '10.96.0.51' } }),
      slice({ endpoints: [A, B] }),
      slice({ service: 'gone', name: 'gone-1', endpoints: [A] }),
      node(),
    ]);
    await kubeProxyServed(both, [CLUSTER_IP, '10.96.0.51,tcp:80']);
    cli.ipvs.connect('TCP 10.96.0.51:80', '10.244.1.20:8080', 1);
    const { exit, out, err } = await importNode('--release');
    expect(exit).toBe(2);
    expect(out).toContain('theirs  TCP 10.96.0.51:80  1 real server  (ipset KUBE-CLUSTER-IP lists it)\n');
    expect(out).toContain('~ drainRealServer TCP 10.96.0.51:80 -> 10.244.1.20:8080');
    expect(err).toBe(
      'kept: address 10.96.0.51 of kube-ipvs0: virtual server TCP 10.96.0.51:80 has it, and no other link\n',
    );
    expect(await addressesOf('kube-ipvs0')).toEqual(['10.96.0.51']);
    cli.ipvs.disconnectAll();
    expect((await importNode('--release')).exit).toBe(0);
    expect(await linkNames()).toEqual(['lo', 'svcplane0']);
    expect(await table()).not.toContain('10.96.0.51');
  });

  it('does not delete most of what kube-proxy serves because too little was read', async () => {
    const others = Array.from({ length: 20 }, (_, i) =>
      service({ name: `other-${i}`, spec: { clusterIP: `10.96.1.${i}` } }),
    );
    const whole = cli.file('whole.json', [service(), slice({ endpoints: [A, B] }), node(), ...others]);
    const frontends = others.map((_, i) => `10.96.1.${i},tcp:80`);
    await kubeProxyServed(whole, [CLUSTER_IP, ...frontends]);
    const before = await table();
    expect(await importNode()).toMatchObject({
      exit: 1,
      err: expect.stringContaining('20 of its 21 virtual servers are of no Service that was read'),
    });
    expect(await table()).toBe(before);
    expect(await linkNames()).toEqual(['lo', 'kube-ipvs0']);
    expect((await importNode('--guard-max-delete-share', '1')).exit).toBe(0);
  });

  it('wants NodePorts on every address of the host, as kube-proxy and the daemon do', async () => {
    const eth0 = cli.links.foreignLink('eth0', null);
    const cni0 = cli.links.foreignLink('cni0', 'bridge');
    cli.links.foreignAddress(eth0, ipAddress('172.16.0.5'), 24);
    cli.links.foreignAddress(cni0, ipAddress('10.244.1.1'), 24);
    const ports = [{ name: 'http', port: 80, nodePort: 30_080 }];
    const file = cli.file('node-port.json', [
      service({ spec: { type: 'NodePort', ports } }),
      slice({ endpoints: [A, B] }),
      // Its object has one address.
      node(),
    ]);
    const { out } = await cli.run(...FROM, '-f', file, '--dry-run');
    expect(out.match(/^ours .*:30080 /gm)).toEqual([
      'ours    TCP 10.244.1.1:30080 ',
      'ours    TCP 172.16.0.5:30080 ',
    ]);
  });

  it('releases nothing where the take-over has failed', async () => {
    await kubeProxyServed();
    cli.links.hasDummy = false;
    const { exit, err } = await importNode('--release');
    expect(exit).toBe(2);
    expect(err).toContain('failed: Cannot add link svcplane0: EOPNOTSUPP');
    expect(err).toContain("note: kube-proxy's rules and link stay until all is taken over");
    expect(await linkNames()).toEqual(['lo', 'kube-ipvs0']);
  });

  it('releases nothing where kube-proxy has come back meanwhile', async () => {
    await kubeProxyServed();
    cli.kubeProxy.onAsked = () => {
      cli.kubeProxy.running = 'process 9';
    };
    const { exit, err } = await importNode('--release');
    expect(exit).toBe(2);
    expect(err).toBe("note: kube-proxy's rules and link stay for it runs again (process 9)\n");
    expect(await linkNames()).toEqual(['lo', 'kube-ipvs0', 'svcplane0']);
  });

  it('lists what could not be released, and goes on with the rest', async () => {
    await kubeProxyServed();
    cli.kubeProxy.refuses.add('restoreIptables');
    const { exit, out, err } = await importNode('--release');
    expect(exit).toBe(2);
    expect(err).toContain('failed: Cannot remove iptables-nft: chains nat KUBE-SERVICES');
    expect(err).toContain(
      'failed: Cannot remove ipset KUBE-CLUSTER-IP: Set cannot be destroyed: it is in use\n',
    );
    expect(out).toMatch(/- deleteLink link kube-ipvs0 .*\nApplied: .*, 2 failed\.\n$/);
  });

  it('says what it could not look at, and does not call that done', async () => {
    await kubeProxyServed();
    cli.kubeProxy.notes = ['not looked at: no ipset'];
    expect(await importNode()).toMatchObject({ exit: 0 });
    expect(await importNode('--release')).toMatchObject({
      exit: 2,
      err: expect.stringContaining('note: not looked at: no ipset\n'),
    });
  });
});
