import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { messagesOf } from '../../log-text.ts';
import { clusterIPs } from '../test-services.ts';
import { describeWithKube } from './binaries.ts';
import { metricSum } from './svcplane-metrics.ts';
import { startTroubledNode, type TroubledNode } from './troubled-node.ts';

const START_MS = 900_000;
const LONG_MS = 300_000;
const AUDIT_SECONDS = 2;
/** One interval, the audit itself, and a processor that has other things to do. */
const FOUND = { timeout: AUDIT_SECONDS * 1000 + 20_000, interval: 100 };

/** Of a Service whose clients are connected to its pod. */
const VIP = clusterIPs(51).IPv4;
const POD = '10.244.0.20:8080';

/** What somebody does to the node, as a command on it, and how that is found. */
const OURS = [
  {
    name: 'a real server that was deleted',
    by: `ipvsadm -d -t 10.96.1.5:80 -r 100.64.0.40:8080`,
    class: 'missing',
    told: /^drift: missing TCP 10\.96\.1\.5:80 -> 100\.64\.0\.40:8080/m,
  },
  {
    name: 'a virtual server that was deleted',
    by: 'ipvsadm -D -t 10.96.1.6:80',
    class: 'missing',
    told: /^drift: missing TCP 10\.96\.1\.6:80/m,
  },
  {
    name: 'a weight that was changed',
    by: `ipvsadm -e -t ${VIP}:80 -r ${POD} -m -w 5`,
    class: 'altered',
    told: /^drift: altered TCP 10\.96\.0\.51:80 -> 10\.244\.0\.20:8080: weight 5 → 1$/m,
  },
  {
    name: 'a scheduler that was changed',
    by: 'ipvsadm -E -t 10.96.1.7:80 -s wlc',
    class: 'altered',
    told: /^drift: altered TCP 10\.96\.1\.7:80: scheduler wlc → rr$/m,
  },
  {
    name: 'an address that was removed',
    by: 'ip address del 10.96.1.8/32 dev svcplane0',
    class: 'missing',
    told: /^drift: missing address 10\.96\.1\.8/m,
  },
  {
    name: 'a link that was deleted',
    by: 'ip link del svcplane0',
    class: 'missing',
    told: /^drift: missing link svcplane0/m,
  },
  {
    name: 'rules that were flushed',
    by: 'nft flush chain inet svcplane postrouting',
    class: 'altered',
    told: /^drift: altered nft chain inet svcplane /m,
  },
  {
    name: 'a table that was deleted',
    by: 'nft delete table inet svcplane',
    class: 'missing',
    told: /^drift: missing nft table inet svcplane/m,
  },
] as const;

describeWithKube('svcplane run where somebody else changes what is in the kernel', ['kube-apiserver'], () => {
  let troubled: TroubledNode;
  let rules: string;
  let saidBefore = '';

  beforeAll(async () => {
    const config = { audit: { intervalSeconds: AUDIT_SECONDS } };
    troubled = await startTroubledNode({ services: 12, endpoints: 3, config });
    rules = ourRules();
  }, START_MS);

  beforeEach(() => {
    saidBefore = troubled.daemon.log();
  });

  afterAll(() => troubled?.[Symbol.asyncDispose]());

  /** In this test so far. */
  const said = () => messagesOf(troubled.daemon.log().slice(saidBefore.length));
  const ourRules = () => troubled.node.run(['nft', '-s', 'list', 'table', 'inet', 'svcplane']);
  const byHand = (command: string) => troubled.node.run(command.split(' '));
  const metric = async (name: string, labels = {}) =>
    metricSum(await troubled.daemon.metrics(), `svcplane_${name}`, labels);

  /** Once more, from now on. */
  async function audited(): Promise<void> {
    const last = () => metric('last_audit_timestamp_seconds');
    await expect.poll(last, FOUND).toBeGreaterThan(await last());
  }

  /** Those of steady clients, and of others. */
  async function nobodyIsHurt(): Promise<void> {
    await troubled.clients.asked();
    expect(troubled.clients.report().lost.filter((what) => !/weight/.test(what))).toEqual([]);
    expect(troubled.foreign()).toEqual(troubled.foreignBefore);
  }

  it.each(OURS)(
    'finds $name, says so, and repairs it',
    async ({ by, class: driftClass, told }) => {
      const found = await metric('drift_found_total', { class: driftClass });
      byHand(by);
      await troubled.converged(FOUND.timeout);
      await expect.poll(said, FOUND).toMatch(told);
      await expect.poll(() => ourRules(), FOUND).toBe(rules);
      expect(await metric('drift_found_total', { class: driftClass })).toBeGreaterThan(found);
      await nobodyIsHurt();
    },
    LONG_MS,
  );

  it(
    'finds what is foreign, counts it, names it in its status, and leaves it alone',
    async () => {
      const before = await metric('foreign_objects');
      byHand('ipvsadm -A -t 192.0.2.99:80 -s sh');
      byHand('ip address add 192.0.2.99/32 dev svcplane0');
      await expect.poll(() => metric('foreign_objects'), FOUND).toBe(before + 2);
      await expect.poll(() => metric('drift', { class: 'foreign' }), FOUND).toBe(before + 2);
      const status = await troubled.daemon.svcplane(['status']);
      expect(status).toMatch(/^(foreign)? +TCP 192\.0\.2\.99:80$/m);
      expect(status).toMatch(/ 192\.0\.2\.99/);
      await audited();
      expect(troubled.rows()).toContain('-A -t 192.0.2.99:80 -s sh');
      expect(troubled.addresses()).toContain('192.0.2.99');
      byHand('ipvsadm -D -t 192.0.2.99:80');
      byHand('ip address del 192.0.2.99/32 dev svcplane0');
      await expect.poll(() => metric('foreign_objects'), FOUND).toBe(before);
      await nobodyIsHurt();
    },
    LONG_MS,
  );

  it(
    'only tells of drift while its configuration says so, and repairs it when that has changed',
    async () => {
      troubled.daemon.configure({ audit: { intervalSeconds: AUDIT_SECONDS, repair: false } });
      await expect.poll(said, FOUND).toContain('configuration: in force: audit.repair');
      // The sync that follows a change of the configuration would repair it.
      await audited();
      await audited();
      byHand('ipvsadm -e -t 10.96.1.9:80 -r 100.64.0.72:8080 -m -w 7');
      await expect
        .poll(said, FOUND)
        .toMatch(/^drift: altered TCP 10\.96\.1\.9:80 -> 100\.64\.0\.72:8080: weight 7 → 1$/m);
      expect(said()).toContain('drift: 0 missing, 1 altered, 0 stale, left as it is');
      expect(troubled.rows()).toContain('-a -t 10.96.1.9:80 -r 100.64.0.72:8080 -m -w 7');
      expect(await troubled.daemon.svcplane(['status'])).toMatch(
        /1 altered, 0 stale, \d+ foreign, not repaired/,
      );
      troubled.daemon.configure({ audit: { intervalSeconds: AUDIT_SECONDS } });
      await troubled.converged(FOUND.timeout);
      await nobodyIsHurt();
    },
    LONG_MS,
  );

  it(
    'takes over a scheduler, and masqueradeAll, without a restart and without touching anything else',
    async () => {
      const { daemon } = troubled;
      const { pid } = daemon;
      const rows = troubled.rows();
      const flows = () =>
        troubled.node
          .run(['ipvsadm', '-Lcn'])
          .split('\n')
          .filter((line) => / ESTABLISHED /.test(line)).length;
      const established = flows();
      daemon.configure({ scheduler: 'wlc' });
      const wlc = rows.map((row) => row.replace(' -s rr', ' -s wlc'));
      await expect.poll(() => troubled.rows(), FOUND).toEqual(wlc);
      expect(ourRules()).toBe(rules);
      expect(flows()).toBe(established);

      daemon.configure({ scheduler: 'wlc', masqueradeAll: true });
      await expect.poll(() => ourRules(), FOUND).not.toBe(rules);
      expect(troubled.rows()).toEqual(wlc);
      daemon.configure({ scheduler: 'rr', masqueradeAll: false });
      await expect.poll(() => ourRules(), FOUND).toBe(rules);
      await troubled.converged(FOUND.timeout);
      expect(flows()).toBe(established);

      daemon.configure({ scheduler: 'no such' });
      await expect.poll(said, FOUND).toContain('what was read before stays in force');
      daemon.configure({ scheduler: 'rr', interface: 'other0' });
      await expect.poll(said, FOUND).toContain('interface counts after a restart');
      await troubled.converged(FOUND.timeout);
      expect(daemon.pid).toBe(pid);
      await nobodyIsHurt();
    },
    LONG_MS,
  );
});
