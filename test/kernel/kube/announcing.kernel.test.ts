import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UNHURRIED } from '../host.ts';
import type { Lan } from '../lan.ts';
import { needsKeepalived } from '../probe.ts';
import { AnnouncingLan, type AnnouncingNode, balancedObjects, NAMESPACE } from './announcing-lan.ts';
import { type ApiServer, startApiServer } from './api-server.ts';
import { describeWithKube } from './binaries.ts';
import { type Kubectl, openKubectl } from './kubectl.ts';
import { addressStatuses, eventually, type LbController, LbControllers } from './lb-controllers.ts';

const POOL = { name: 'main', addresses: ['10.10.0.0/26'] };
/** Three adverts, and up to one more by priority; the rest is for a machine that has more to do. */
const TAKE_OVER_MS = 10_000;

describeWithKube('announced addresses of lb-controller', ['kube-apiserver', 'kubectl'], () => {
  let parts: AsyncDisposableStack;
  let api: ApiServer;
  let kubectl: Kubectl;
  let controller: LbController;

  beforeAll(async () => {
    parts = new AsyncDisposableStack();
    api = parts.use(await startApiServer());
    kubectl = parts.use(openKubectl(api));
    kubectl(['create', 'namespace', NAMESPACE]);
    const controllers = parts.use(new LbControllers(api));
    controllers.configure({ pools: [POOL] });
    controller = await controllers.start();
  }, 600_000);

  afterAll(() => parts?.disposeAsync());

  /** Waits until it is so. */
  const soon = (what: string, isSo: () => boolean | Promise<boolean>) =>
    eventually(
      async () => (await isSo()) || undefined,
      () => `${what}: ${controller.log()}`,
    );
  /** What `kubectl get svc` has in the column EXTERNAL-IP, once that is an address. */
  const externalIp = (name: string) =>
    eventually(
      async () => {
        const [, , , shown] = kubectl(['get', 'svc', '-n', NAMESPACE, name, '--no-headers']).split(/ +/);
        return shown?.startsWith('<') ? undefined : shown;
      },
      () => controller.log(),
    );
  const used = async () =>
    /pool_addresses_used\{pool="main",family="IPv4"\} (\d+)/.exec(await controller.ask('/metrics'))?.[1];

  /** The one of the living that has the address and answers for it, once each of them says so. */
  async function announcer(lan: Lan, alive: ReadonlySet<AnnouncingNode>, address: string) {
    const holders = () => [...alive].filter(({ host }) => lan.holders(address).includes(host));
    await soon('one node holds it', () => holders().length === 1);
    await soon('it is answered', () => lan.isAnswered(address));
    const [holder] = holders();
    if (!holder) throw new Error(`nobody holds ${address}`);
    for (const node of alive) await soon('each says who has it', () => saysWho(node, node === holder));
    return holder;
  }

  describe.each([2, 3])('on %i nodes', needsKeepalived(), (count) => {
    it('are reached from outside, also after a node that has one has died', UNHURRIED, async () => {
      await using cluster = await AnnouncingLan.start(api, count);
      const { lan, nodes } = cluster;
      kubectl.apply(balancedObjects('front'));
      const address = await externalIp('front');
      expect((await addressStatuses(api)).get(`${NAMESPACE}/front`)).toMatchObject({
        addresses: ['10.10.0.1'],
        reason: 'AddressAssigned',
      });
      expect(address).toBe('10.10.0.1');
      const alive = new Set(nodes);
      const gaps: number[] = [];
      while (alive.size > 1) {
        const holder = await announcer(lan, alive, address);
        const diedMs = performance.now();
        await holder.die();
        alive.delete(holder);
        await soon('it is answered again', () => lan.isAnswered(address));
        gaps.push(Math.round(performance.now() - diedMs));
      }
      await announcer(lan, alive, address);
      console.log(`announcing: ${count} nodes, unanswered after deaths for ${gaps.join(', ')} ms`);
      expect(Math.max(...gaps)).toBeLessThan(TAKE_OVER_MS);

      expect(await used()).toBe('1');
      kubectl(['delete', 'svc', '-n', NAMESPACE, 'front']);
      const deletedMs = performance.now();
      const has = ({ host }: AnnouncingNode) => host.run(['ip', 'address']).includes(` ${address}/`);
      await soon('no node has it', () => ![...alive].some(has));
      await soon('it is free', async () => (await used()) === '0');
      console.log(`announcing: gone ${Math.round(performance.now() - deletedMs)} ms after its Service`);
    });
  });
});

/** Whether a node says of the Service who has its address, since when and why, in both places. */
async function saysWho({ daemon }: AnnouncingNode, isHere: boolean): Promise<boolean> {
  const where = isHere ? 'here' : 'at another node';
  const since = String.raw`since \d{4}-\d\d-\d\dT\S+Z`;
  const status = await daemon.svcplane(['status']);
  const explained = await daemon.svcplane(['explain', 'svc/front', '-n', NAMESPACE]);
  return (
    new RegExp(
      `^VRRP +IPv4 group \\d+: ${where}, ${since} \\(.*\\); in order n\\d, .*: 10\\.10\\.0\\.1`,
      'm',
    ).test(status) &&
    new RegExp(`announced by VRRP group \\d+, first by n\\d, then n\\d.*, ${where} ${since}`).test(explained)
  );
}
