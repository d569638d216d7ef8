import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EMPTY_LEDGER } from '../../src/dataplane/ledger.ts';
import { node, service, slice } from '../objects.ts';
import { A, B, type CliHarness, loadedCli } from './harness.ts';
import { addressesOn, CLUSTER_IP, linkNamesOf, tableOf } from './proxied-node.ts';

const HAND_BACK = ['cleanup', '--hand-back-to', 'kube-proxy'] as const;

let cli: CliHarness;
let manifests: string;
beforeEach(() => {
  ({ cli, manifests } = loadedCli());
});
afterEach(() => cli[Symbol.dispose]());

const table = () => tableOf(cli);
const linkNames = () => linkNamesOf(cli);
const addressesOf = (link: string) => addressesOn(cli, link);

describe('cleanup --hand-back-to', () => {
  /** svcplane has taken over, and kube-proxy serves the node again. */
  async function servedByBoth(file = manifests, frontends = [CLUSTER_IP]): Promise<void> {
    await cli.run('apply', '-f', file);
    cli.kubeProxy.running = 'process 7';
    await cli.kubeProxy.serve(frontends);
  }

  it('leaves kube-proxy its virtual servers, and takes all else of ours', async () => {
    await servedByBoth();
    const before = await table();
    const dry = await cli.run(...HAND_BACK, '--dry-run');
    expect(dry.exit).toBe(2);
    expect(await addressesOf('svcplane0')).toEqual(['10.96.0.50']);
    expect(await cli.run(...HAND_BACK)).toEqual({
      exit: 0,
      out: `- deleteAddress address 10.96.0.50  dev svcplane0  (clean-up)
- deleteLink link svcplane0  (clean-up)
- deleteTable nft table inet svcplane  (clean-up)
Applied: 0 added, 0 changed, 3 deleted.
`,
      err: 'left: 1 virtual server, to kube-proxy\n',
    });
    expect(await table()).toBe(before);
    expect(await linkNames()).toEqual(['lo', 'kube-ipvs0']);
    expect(cli.ledger.read()).toEqual(EMPTY_LEDGER);
    expect(await cli.run(...HAND_BACK)).toEqual({
      exit: 0,
      out: 'Applied: 0 added, 0 changed, 0 deleted.\n',
      err: '',
    });
  });

  it.each([
    {
      name: 'it does not run',
      running: null,
      frontends: [CLUSTER_IP],
      says: 'it does not run here: start it',
    },
    {
      name: 'it has not bound all ClusterIPs',
      running: 'process 7',
      frontends: ['10.96.0.1,tcp:443'],
      says: 'it has not bound ClusterIP 10.96.0.50 to kube-ipvs0: wait until it has synced',
    },
  ])('changes nothing while $name', async ({ running, frontends, says }) => {
    await servedByBoth(manifests, frontends);
    cli.kubeProxy.running = running;
    expect(await cli.run(...HAND_BACK)).toMatchObject({
      exit: 1,
      out: '',
      err: expect.stringContaining(says),
    });
    expect(await addressesOf('svcplane0')).toEqual(['10.96.0.50']);
  });

  it('changes nothing while its rules are not there', async () => {
    await servedByBoth();
    cli.kubeProxy.nat = '*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n';
    expect(await cli.run(...HAND_BACK)).toMatchObject({
      exit: 1,
      err: expect.stringContaining('it has not written its rules for IPv4: wait until it has synced'),
    });
  });

  it('moves external addresses, which kube-proxy does not bind beside us', async () => {
    const external = cli.file('external.json', [
      service({ spec: { externalIPs: ['198.51.100.7'] } }),
      slice({ endpoints: [A, B] }),
      node(),
    ]);
    await servedByBoth(external);
    const { exit, out } = await cli.run(...HAND_BACK);
    expect(exit).toBe(0);
    expect(out).toMatch(/^~ moveAddress address 198.51.100.7 {2}dev svcplane0 → kube-ipvs0 {2}\(/);
    expect(await addressesOf('kube-ipvs0')).toEqual(['10.96.0.50', '198.51.100.7']);
    expect(cli.links.changes.filter((change) => change.includes('198.51.100.7')).slice(-2)).toEqual([
      'deleteAddress 198.51.100.7',
      'addAddress 198.51.100.7',
    ]);
  });

  /** With a frontend of policy Local. @returns the virtual server of its inside clients */
  async function servedWithMark(): Promise<string> {
    const local = cli.file('local.json', [
      service({
        spec: {
          type: 'NodePort',
          externalTrafficPolicy: 'Local',
          ports: [{ name: 'http', port: 80, nodePort: 30_080 }],
        },
      }),
      slice({ endpoints: [A, B] }),
      node(),
    ]);
    await servedByBoth(local);
    const [mark = ''] = [...cli.ledger.read().virtualServers.keys()].filter((key) => key.startsWith('FWM'));
    return mark;
  }

  it('deletes the virtual servers of firewall marks when nothing marks any more', async () => {
    const mark = await servedWithMark();
    const { exit, out } = await cli.run(...HAND_BACK);
    expect(exit).toBe(0);
    const done = out.split('\n').map((line) => line.split(' ').slice(1, 4).join(' '));
    const [rules, server] = ['deleteTable nft table', `deleteVirtualServer ${mark}`];
    expect(done.filter((line) => line === rules || line === server)).toEqual([rules, server]);
  });

  it('waits for connections that open through a firewall mark', async () => {
    const mark = await servedWithMark();
    cli.ipvs.connect(mark, '10.244.1.20:8080', 0, 1);
    cli.kubeProxy.onWait = () => cli.ipvs.connect(mark, '10.244.1.20:8080', 1);
    expect(await cli.run(...HAND_BACK)).toMatchObject({
      exit: 2,
      err: expect.stringContaining(`kept: ${mark} for 1 connection: run this again later\n`),
    });
  });

  it('does not wait long for those that close', async () => {
    const mark = await servedWithMark();
    cli.ipvs.connect(mark, '10.244.1.20:8080', 0, 1);
    expect((await cli.run(...HAND_BACK)).exit).toBe(0);
  });

  it('keeps firewall marks that have connections, as ours, until these have ended', async () => {
    const mark = await servedWithMark();
    cli.ipvs.connect(mark, '10.244.1.20:8080', 2);
    const { exit, err } = await cli.run(...HAND_BACK);
    expect(exit).toBe(2);
    expect(err).toContain(`kept: ${mark} for 2 connections: run this again later\n`);
    expect([...cli.ledger.read().virtualServers.keys()]).toEqual([mark]);
    cli.ipvs.disconnectAll();
    expect((await cli.run(...HAND_BACK)).exit).toBe(0);
    expect(await table()).not.toContain('-f ');
    expect(cli.ledger.read()).toEqual(EMPTY_LEDGER);
  });
});
