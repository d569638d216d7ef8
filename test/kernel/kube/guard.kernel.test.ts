import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { messagesOf } from '../../log-text.ts';
import { describeWithKube } from './binaries.ts';
import { CONTENT_NAMESPACE, clusterContent } from './cluster-content.ts';
import { createContent, inParallel } from './load.ts';
import { metricSum } from './svcplane-metrics.ts';
import { startTroubledNode, type TroubledNode } from './troubled-node.ts';

const START_MS = 900_000;
const LONG_MS = 900_000;
const SERVICES = 30;
/** Of a Service that comes while others are held. */
const LATE = { services: 1, endpoints: 1, first: 90 };
const WAIT = { timeout: 120_000, interval: 200 };
const COLLECTION = `/api/v1/namespaces/${CONTENT_NAMESPACE}/services`;

describeWithKube('svcplane run when Services vanish', ['kube-apiserver'], () => {
  let troubled: TroubledNode;
  let content: Parameters<typeof createContent>[1];
  let backup: string;
  let saidBefore = '';
  let trips = 0;

  beforeAll(async () => {
    const config = { audit: { intervalSeconds: 2 } };
    troubled = await startTroubledNode({ services: 1, endpoints: 1, config });
    // Of a time when there was next to nothing.
    backup = await troubled.api.backup();
    content = clusterContent({ services: SERVICES, endpoints: 2, first: 10 });
    await createContent(troubled.api, content);
  }, START_MS);

  beforeEach(() => {
    saidBefore = troubled.daemon.log();
  });

  afterAll(() => troubled?.[Symbol.asyncDispose]());

  const said = () => messagesOf(troubled.daemon.log().slice(saidBefore.length));
  const metric = async (name: string) => metricSum(await troubled.daemon.metrics(), `svcplane_${name}`);
  const readyz = async () => {
    const { status, body } = await troubled.daemon.health('/readyz');
    return { status, checks: (JSON.parse(body) as { readonly checks: readonly object[] }).checks };
  };

  /** The guard has noticed, and from then on nothing is deleted, though audits come and go. @returns the rows it keeps */
  async function held(
    says = /^guard: held: \d+ of \d+ virtual servers \(\d+ %\) are not wanted any more/m,
  ): Promise<readonly string[]> {
    await expect.poll(() => metric('guard_held'), WAIT).toBe(1);
    trips += 1;
    expect(await metric('guard_trips_total')).toBe(trips);
    const rows = troubled.rows();
    const audited = await metric('last_audit_timestamp_seconds');
    await expect.poll(() => metric('last_audit_timestamp_seconds'), WAIT).toBeGreaterThan(audited);
    expect(troubled.rows()).toEqual(rows);
    expect(said()).toMatch(says);
    // It goes on with its work: that it waits for somebody makes it no worse a proxy.
    const { status, checks } = await readyz();
    expect(status).toBe(200);
    const reason = expect.stringContaining('svcplane guard release');
    expect(checks).toContainEqual({ name: 'guard', ok: false, decides: false, reason });
    expect(await troubled.daemon.svcplane(['status'])).toMatch(/^guard +HELD for /m);
    await troubled.clients.asked();
    expect(troubled.clients.report().lost).toEqual([]);
    return rows;
  }

  it(
    'keeps all of them while a label hides them, and lets go when they are back',
    async () => {
      await troubled.converged();
      const rows = troubled.rows();
      const label = (value: string | null) => async (object: { metadata: { name: string } }) =>
        troubled.api.request(
          'PATCH',
          `${COLLECTION}/${object.metadata.name}`,
          { metadata: { labels: { 'service.kubernetes.io/service-proxy-name': value } } },
          'application/merge-patch+json',
        );
      const services = content.map(({ service }) => service);
      // Seen one by one, up to half of them might go; the list of one that starts has none of them at once.
      await troubled.daemon.stop();
      await inParallel(services, label('nobody'));
      await troubled.daemon.start();
      trips = 0;
      expect(await held()).toEqual(rows);
      // What is not in doubt goes on.
      await createContent(troubled.api, clusterContent(LATE));
      await expect.poll(() => troubled.rows().length, WAIT).toBe(rows.length + 2);
      await inParallel(services, label(null));
      await expect.poll(() => metric('guard_held'), WAIT).toBe(0);
      await troubled.converged();
      expect(said()).toContain('guard: holds nothing back any more');
    },
    LONG_MS,
  );

  it(
    'keeps them when the API server was restored from an old backup, until they were made again',
    async () => {
      await troubled.converged();
      const rows = troubled.rows();
      await troubled.api.restore(backup);
      expect(await held()).toEqual(rows);
      await createContent(troubled.api, [...content, ...clusterContent(LATE)]);
      await expect.poll(() => metric('guard_held'), WAIT).toBe(0);
      await troubled.converged();
      expect(troubled.rows()).toEqual(expect.arrayContaining([...rows]));
    },
    LONG_MS,
  );

  it(
    'keeps the endpoints of all Services while their slices are gone',
    async () => {
      await troubled.converged();
      const rows = troubled.rows();
      const slices = `/apis/discovery.k8s.io/v1/namespaces/${CONTENT_NAMESPACE}/endpointslices`;
      await troubled.daemon.stop();
      await troubled.api.request('DELETE', slices);
      await troubled.daemon.start();
      trips = 0;
      expect(await held(/^guard: held: \d+ of \d+ Services with endpoints/m)).toEqual(rows);
      await inParallel(
        [...troubled.content, ...content, ...clusterContent(LATE)].flatMap((each) => each.slices),
        (slice) => troubled.api.request('POST', slices, slice),
      );
      await expect.poll(() => metric('guard_held'), WAIT).toBe(0);
      await troubled.converged();
      expect(troubled.rows()).toEqual(rows);
    },
    LONG_MS,
  );

  it(
    'keeps the Services of a namespace that was wiped, and tells of it in an Event, until they are released',
    async () => {
      const servers = (rows: readonly string[]) => rows.filter((row) => row.startsWith('-A ')).length;
      await troubled.converged();
      const before = servers(troubled.rows());
      // What Kubernetes' controller of namespaces does; they go one by one, and the guard counts.
      await troubled.api.request('DELETE', COLLECTION);
      expect(servers(await held())).toBeGreaterThanOrEqual(before / 2);
      const events = async () => {
        const list = await troubled.api.request('GET', '/apis/events.k8s.io/v1/events');
        return (list as { readonly items: readonly object[] }).items;
      };
      await expect.poll(events, WAIT).toContainEqual(
        expect.objectContaining({
          reason: 'SvcplaneGuardHeld',
          type: 'Warning',
          regarding: expect.objectContaining({ kind: 'Node', name: troubled.node.name }),
        }),
      );
      expect(await troubled.daemon.svcplane(['guard', 'release'])).toMatch(/^guard: released/);
      await troubled.converged();
      expect(await metric('guard_held')).toBe(0);
      expect(await troubled.daemon.svcplane(['guard', 'release'])).toBe('guard: nothing is held back\n');
      expect(await troubled.daemon.svcplane(['status'])).toMatch(/^guard +holds nothing back$/m);
    },
    LONG_MS,
  );

  it(
    'leaves the kernel as it is where the API server does not answer at its start, and says so',
    async () => {
      const { api, daemon } = troubled;
      await createContent(api, clusterContent({ services: 5, endpoints: 2, first: 200 }));
      await troubled.converged();
      const rows = troubled.rows();
      await daemon.stop('SIGKILL');
      troubled.proxy.set('refuse');
      await api.kill();
      await daemon.start();
      await expect.poll(async () => (await daemon.health('/readyz')).status, WAIT).toBe(503);
      const { checks } = await readyz();
      expect(checks).toContainEqual({
        name: 'synced',
        ok: false,
        decides: true,
        reason: expect.stringContaining('no sync has been complete yet'),
      });
      await expect.poll(said, WAIT).toMatch(/^api: Service: .*ECONN/m);
      expect(await daemon.svcplane(['status'])).toMatch(/^(API)? +Service +retrying for /m);
      expect(troubled.rows()).toEqual(rows);
      await api.start();
      troubled.proxy.set('pass');
      await expect.poll(async () => (await readyz()).status, WAIT).toBe(200);
      await troubled.converged();
      await troubled.clients.asked();
      expect(troubled.clients.report().lost).toEqual([]);
    },
    LONG_MS,
  );

  it(
    'tells of a Service that is not served in an Event',
    async () => {
      const { node, api } = troubled;
      // Somebody else has made it before.
      node.run(['ipvsadm', '-A', '-t', '10.96.1.250:80', '-s', 'sh']);
      await createContent(api, clusterContent({ services: 1, endpoints: 1, first: 250 }));
      const events = async () => {
        const list = await api.request('GET', '/apis/events.k8s.io/v1/events');
        return (list as { readonly items: readonly object[] }).items;
      };
      await expect.poll(events, WAIT).toContainEqual(
        expect.objectContaining({
          reason: 'SvcplaneRejected',
          note: expect.stringContaining('belongs to somebody else'),
          regarding: expect.objectContaining({ kind: 'Service', name: 'service-00250' }),
        }),
      );
      expect(await troubled.daemon.svcplane(['status'])).toContain('Service load/service-00250: ');
      expect(node.run(['ipvsadm', '-Sn'])).toContain('-A -t 10.96.1.250:80 -s sh');
    },
    LONG_MS,
  );
});
