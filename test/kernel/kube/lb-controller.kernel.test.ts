import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ADDRESSES_ANNOTATION } from '../../../src/load-balancer/decode-service.ts';
import { lbControllerComponent } from '../../deploy/deploy-objects.ts';
import { UNHURRIED } from '../host.ts';
import { run } from '../probe.ts';
import { type ApiServer, startApiServer } from './api-server.ts';
import { describeWithKube } from './binaries.ts';
import { ADDRESS } from './control-plane.ts';
import { type Kubectl, openKubectl } from './kubectl.ts';
import {
  type AddressStatus,
  addressStatuses,
  eventually,
  type LbController,
  LbControllers,
} from './lb-controllers.ts';
import { inTrouble } from './trouble.ts';

const CLASS = 'svcplane.io/load-balancer';
const ACCOUNT = '/api/v1/namespaces/kube-system/serviceaccounts/svcplane-lb-controller/token';
const MAIN = { name: 'main', addresses: ['10.10.0.0/26'], namespaces: ['web'] };
const TINY = { name: 'tiny', addresses: ['10.10.1.0/30'], namespaces: ['tiny'] };
/** So that a test need not wait long for somebody who is dead. */
const LEASE = { leaseDurationSeconds: 3 };
const BURST = inTrouble({ some: 12, all: 50 });

describeWithKube('svcplane lb-controller on a real API server', ['kube-apiserver', 'kubectl'], () => {
  let parts: AsyncDisposableStack;
  let api: ApiServer;
  let kubectl: Kubectl;
  let controllers: LbControllers;
  let one: LbController;
  let two: LbController;

  beforeAll(async () => {
    parts = new AsyncDisposableStack();
    // There is RBAC where there are users.
    api = parts.use(await startApiServer({ users: ['nobody'] }));
    kubectl = parts.use(openKubectl(api));
    await api.apply(lbControllerComponent());
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
    const { token } = Object(await api.request('POST', ACCOUNT, body)).status;
    controllers = parts.use(
      new LbControllers({ server: api.server, caFile: api.caFile, token: String(token) }),
    );
    controllers.configure({ ...LEASE, pools: [MAIN, TINY] });
    [one, two] = await Promise.all([controllers.start(), controllers.start()]);
  }, 600_000);

  afterAll(() => parts?.disposeAsync());

  const logs = () => `${one.log()}\n${two.log()}`;
  const both = (): readonly LbController[] => [one, two];

  /** Waits until the status of a Service is as wanted. */
  const status = (key: string, isWanted: (status: AddressStatus) => boolean) =>
    eventually(async () => {
      const found = (await addressStatuses(api)).get(key);
      return found && isWanted(found) ? found : undefined;
    }, logs);
  const hasReason = (key: string, reason: string) => status(key, (found) => found.reason === reason);
  const leader = () =>
    eventually(async () => {
      const leads = await Promise.all(both().map((each) => each.leads()));
      return leads.filter(Boolean).length === 1 ? both()[leads.indexOf(true)] : undefined;
    }, logs);
  const otherThan = (controller: LbController) => (controller === one ? two : one);

  async function noneIsTwice(): Promise<void> {
    const given = [...(await addressStatuses(api)).values()].flatMap(({ addresses }) => addresses);
    expect(new Set(given).size).toBe(given.length);
  }

  async function eventReasons(namespace: string, name: string): Promise<readonly string[]> {
    const { items } = Object(
      await api.request('GET', `/apis/events.k8s.io/v1/namespaces/${namespace}/events`),
    );
    const events: readonly { reason: string; regarding: { name: string } }[] = items;
    return events.filter(({ regarding }) => regarding.name === name).map(({ reason }) => reason);
  }

  it('gives a Service an address of the pool, which kubectl shows', UNHURRIED, async () => {
    await api.apply([
      lbService('web', 'front'),
      lbService('web', 'other', { spec: { loadBalancerClass: 'example.com/x' } }),
    ]);
    const { addresses, ipModes } = await hasReason('web/front', 'AddressAssigned');
    expect([addresses, ipModes]).toEqual([['10.10.0.1'], ['VIP']]);
    expect(kubectl(['get', 'svc', '-n', 'web', 'front'])).toMatch(/LoadBalancer +\S+ +10\.10\.0\.1 +80:/);
    expect((await addressStatuses(api)).get('web/other')).toMatchObject({ addresses: [], reason: '' });
  });

  it('says of each Service without an address why, in its condition and in Events', UNHURRIED, async () => {
    await api.apply(['a', 'b', 'c'].map((name) => lbService('tiny', name)));
    await api.apply([
      lbService('web', 'outside', { annotations: { [ADDRESSES_ANNOTATION]: '192.0.2.77' } }),
      lbService('web', 'taken', { spec: { loadBalancerIP: '10.10.0.1' } }),
    ]);
    const { message } = await hasReason('web/outside', 'AddressOutsidePools');
    expect(message).toBe('asks for 192.0.2.77: in no pool that is for this Service');
    expect((await hasReason('web/taken', 'AddressConflict')).message).toContain('Service web/front has it');
    await eventually(async () => {
      const all = await addressStatuses(api);
      const reasons = ['a', 'b', 'c'].map((name) => all.get(`tiny/${name}`)?.reason).sort();
      return reasons.join() === 'AddressAssigned,AddressAssigned,AddressPoolExhausted' ? true : undefined;
    }, logs);
  });

  it(
    'keeps what was given when its pool is gone, and what is in force when pools overlap',
    UNHURRIED,
    async () => {
      const [[key = '', before] = []] = [...(await addressStatuses(api))].filter(
        ([each, { addresses }]) => each.startsWith('tiny/') && addresses.length > 0,
      );
      controllers.configure({ ...LEASE, pools: [MAIN] });
      const shrunk = await hasReason(key, 'AddressPoolShrunk');
      expect(shrunk.addresses).toEqual(before?.addresses);
      controllers.configure({ ...LEASE, pools: [MAIN, { name: 'twice', addresses: ['10.10.0.32/27'] }] });
      await eventually(async () => {
        const said = both().map((each) =>
          each.log().includes('10.10.0.32/27 of pool twice overlaps 10.10.0.0/26 of pool main'),
        );
        return said.every(Boolean) || undefined;
      }, logs);
      await api.apply([lbService('web', 'later')]);
      await hasReason('web/later', 'AddressAssigned');
      await noneIsTwice();
      // Who is started anew would not start with it.
      controllers.configure({ ...LEASE, pools: [MAIN] });
    },
  );

  it('has one leader: where it is killed amid its work the other takes over', UNHURRIED, async () => {
    const first = await leader();
    const names = Array.from({ length: BURST }, (_, i) => `burst-${i}`);
    const created = api.apply(names.map((name) => lbService('web', name)));
    await first.stop('SIGKILL');
    const killedMs = performance.now();
    await created;
    await eventually(async () => (await otherThan(first).leads()) || undefined, logs);
    console.log(`lb-controller: led again after ${Math.round(performance.now() - killedMs)} ms`);
    for (const name of names) await hasReason(`web/${name}`, 'AddressAssigned');
    await noneIsTwice();
    await first.start();
  });

  it('writes nothing after it was stopped for longer than its Lease', UNHURRIED, async () => {
    const first = await leader();
    process.kill(first.pid, 'SIGSTOP');
    await eventually(async () => (await otherThan(first).leads()) || undefined, logs);
    await api.apply([lbService('web', 'meanwhile')]);
    await hasReason('web/meanwhile', 'AddressAssigned');
    process.kill(first.pid, 'SIGCONT');
    await eventually(
      async () => ((await first.ask('/healthz')) === 'ok: another one leads\n' ? true : undefined),
      logs,
    );
    await noneIsTwice();
  });

  it('keeps everything while the API server is gone, and goes on when it is back', UNHURRIED, async () => {
    const before = await addressStatuses(api);
    await outage(api);
    await leader();
    await api.apply([lbService('web', 'after')]);
    await hasReason('web/after', 'AddressAssigned');
    const after = await addressStatuses(api);
    for (const [key, { addresses }] of before)
      expect([key, after.get(key)?.addresses]).toEqual([key, addresses]);
    await noneIsTwice();
  });

  it('gives a freed address again, gives the Lease back, and was forbidden nothing', UNHURRIED, async () => {
    await api.request('DELETE', '/api/v1/namespaces/web/services/front');
    // Who has waited for it gets it.
    expect((await hasReason('web/taken', 'AddressAssigned')).addresses).toEqual(['10.10.0.1']);
    const last = await leader();
    expect(await last.ask('/metrics')).toMatch(/svcplane_lb_pool_addresses\{pool="main",family="IPv4"\} 62/);
    // Nobody waits for Events: they come when they come.
    await eventually(async () => {
      const reasons = await eventReasons('web', 'taken');
      const wanted = ['SvcplaneAddressConflict', 'SvcplaneAddressAssigned'];
      return wanted.every((reason) => reasons.includes(reason)) || undefined;
    }, logs);
    const next = otherThan(last);
    const stoppedMs = performance.now();
    await last.stop();
    await eventually(async () => (await next.leads()) || undefined, logs);
    // Without waiting for the Lease to run out.
    console.log(`lb-controller: handed over within ${Math.round(performance.now() - stoppedMs)} ms`);
    expect(last.log()).toContain('does not lead any more');
    expect(logs()).not.toMatch(/forbidden|403/);
  });
});

/** To be started anew costs it a third of a minute of the processor: most often it is only cut off. */
async function outage(api: ApiServer): Promise<void> {
  const ms = inTrouble({ some: 4000, all: 60_000 });
  if (ms === 60_000) {
    await api.kill();
    await sleep(ms);
    await api.start();
    return;
  }
  run(['ip', 'address', 'del', `${ADDRESS}/32`, 'dev', 'lo']);
  await sleep(ms);
  run(['ip', 'address', 'add', `${ADDRESS}/32`, 'dev', 'lo']);
}

function lbService(
  namespace: string,
  name: string,
  { annotations, spec }: { readonly annotations?: object; readonly spec?: object } = {},
) {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name, ...(annotations && { annotations }) },
    spec: {
      type: 'LoadBalancer',
      loadBalancerClass: CLASS,
      selector: { app: name },
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      ...spec,
    },
  };
}
