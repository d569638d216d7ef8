import { beforeEach, describe, expect, test } from 'vitest';
import { NetlinkRequestError } from '../../src/netlink/results.ts';
import type { DaemonStatus } from '../../src/status/daemon-status.ts';
import { NO_CHANGES } from '../../src/status/records.ts';
import { desiredOf } from '../derive.ts';
import { node, service, slice } from '../objects.ts';
import {
  ADD,
  at,
  BALANCED,
  DELETE,
  daemonStatus,
  EMPTY_VIEW,
  operation,
  SET,
  START,
  syncRecord,
} from './status-build.ts';

let clock: { seconds: number };
let status: DaemonStatus;
beforeEach(() => {
  clock = { seconds: 0 };
  status = daemonStatus(clock);
});

/** The samples of one metric, without its name. */
async function samples(name: string, of = status): Promise<readonly string[]> {
  const { body } = await of.metrics();
  return body
    .split('\n')
    .flatMap((line) => (line.replace(/[{ ].*/, '') === name ? line.slice(name.length) : []));
}

describe('DaemonStatus.metrics(), as kube-proxy', () => {
  test('counts changes, which wait until a sync takes them up', async () => {
    clock.seconds = 5;
    status.changed({ services: 2, endpoints: 3, triggers: [] });
    expect(await samples('kubeproxy_sync_proxy_rules_service_changes_pending')).toEqual([' 2']);
    expect(await samples('kubeproxy_sync_proxy_rules_endpoint_changes_pending')).toEqual([' 3']);
    status.syncBegun();
    status.changed({ services: 1, endpoints: 0, triggers: [] });
    expect(await samples('kubeproxy_sync_proxy_rules_service_changes_pending')).toEqual([' 1']);
    expect(await samples('kubeproxy_sync_proxy_rules_service_changes_total')).toEqual([' 3']);
    expect(await samples('kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds')).toContain(
      `{ip_family="IPv4"} ${at(5) / 1000}`,
    );
  });

  test('takes the time of a sync, for both families, and of whole and scoped ones apart', async () => {
    status.synced(syncRecord([ADD]));
    const sum = await samples('kubeproxy_sync_proxy_rules_duration_seconds_sum');
    expect(sum).toEqual(['{ip_family="IPv4"} 0.25', '{ip_family="IPv6"} 0.25']);
    const buckets = await samples('kubeproxy_sync_proxy_rules_duration_seconds_bucket');
    expect(buckets.filter((line) => line.includes('IPv4'))).toHaveLength(16);
    expect(buckets).toContain('{le="16.384",ip_family="IPv4"} 1');
    expect(await samples('kubeproxy_sync_partial_proxy_rules_duration_seconds_count')).toHaveLength(2);
    expect(await samples('kubeproxy_sync_full_proxy_rules_duration_seconds_count')).toEqual([]);
    expect(await samples('kubeproxy_sync_proxy_rules_last_timestamp_seconds')).toContain(
      `{ip_family="IPv6"} ${at(10.25) / 1000}`,
    );
  });

  test('takes one network programming latency per trigger of this process, when a sync is complete', async () => {
    const triggers = [
      { family: 'IPv4', atMs: at(-1) },
      { family: 'IPv4', atMs: at(9) },
      { family: 'IPv6', atMs: at(4) },
    ] as const;
    status.changed({ services: 1, endpoints: 3, triggers });
    status.syncBegun();
    status.synced(syncRecord([], { refused: [ADD] }));
    expect(await samples('kubeproxy_network_programming_duration_seconds_count')).toEqual([]);
    status.syncBegun();
    status.synced(syncRecord([ADD], { endedAtMs: at(11) }));
    status.syncBegun();
    status.synced(syncRecord([]));
    expect(await samples('kubeproxy_network_programming_duration_seconds_sum')).toEqual([
      '{ip_family="IPv4"} 2',
      '{ip_family="IPv6"} 7',
    ]);
    const buckets = await samples('kubeproxy_network_programming_duration_seconds_bucket');
    const bounds = buckets.flatMap((line) => /le="([^"]+)",ip_family="IPv4"/.exec(line)?.[1] ?? []);
    expect(bounds.slice(0, 4)).toEqual(['0.25', '0.5', '1', '2']);
    expect(bounds.slice(-3)).toEqual(['270', '300', '+Inf']);
    expect(bounds).toHaveLength(81);
  });

  test('counts its answers', async () => {
    expect(status.answer('healthz').status).toBe(200);
    expect(status.answer('livez').status).toBe(200);
    status.eligible({ isBeingDeleted: true, hasDeletionTaint: false });
    expect(status.answer('healthz')).toMatchObject({ status: 503, type: 'application/json' });
    expect(await samples('kubeproxy_proxy_healthz_total')).toEqual(['{code="200"} 1', '{code="503"} 1']);
    expect(await samples('kubeproxy_proxy_livez_total')).toEqual(['{code="200"} 1']);
  });

  test('counts Service ports whose policy leaves nothing', async () => {
    const local = { internalTrafficPolicy: 'Local', externalTrafficPolicy: 'Local', type: 'NodePort' };
    const desired = desiredOf([
      service({ spec: { ...local, ports: [{ name: 'http', port: 80, nodePort: 30080 }] } }),
      slice({ endpoints: [{ address: '10.244.2.30', node: 'n1' }] }),
      node(),
    ]);
    const of = daemonStatus(clock, { view: () => ({ ...EMPTY_VIEW, desired }) });
    expect(await samples('kubeproxy_sync_proxy_rules_no_local_endpoints_total', of)).toEqual([
      '{ip_family="IPv4",traffic_policy="internal"} 1',
      '{ip_family="IPv4",traffic_policy="external"} 1',
      '{ip_family="IPv6",traffic_policy="internal"} 0',
      '{ip_family="IPv6",traffic_policy="external"} 0',
    ]);
  });
});

describe('DaemonStatus.metrics(), of svcplane', () => {
  test('counts operations by dataplane and end, and those of the last sync', async () => {
    status.synced(syncRecord([ADD, ADD, DELETE], { refused: [SET] }));
    expect(await samples('svcplane_operations_total')).toEqual([
      '{dataplane="ipvs",op="addRealServer",outcome="acknowledged"} 2',
      '{dataplane="addresses",op="deleteAddress",outcome="acknowledged"} 1',
      '{dataplane="ipvs",op="setRealServer",outcome="refused"} 1',
    ]);
    expect(await samples('svcplane_operations_refused_total')).toEqual(['{dataplane="ipvs",code="EPERM"} 1']);
    expect(await samples('svcplane_sync_last_operations')).toContain('{dataplane="ipvs",kind="add"} 2');
    status.synced(syncRecord([]));
    expect(await samples('svcplane_sync_last_operations')).toContain('{dataplane="ipvs",kind="add"} 0');
    expect(await samples('svcplane_syncs_total')).toEqual([
      '{kind="scoped",outcome="incomplete"} 1',
      '{kind="scoped",outcome="complete"} 1',
    ]);
  });

  test('tells what an audit found, by class', async () => {
    status.audited({
      atMs: at(30),
      ops: [ADD, SET, SET, DELETE, operation('drainRealServer')],
      isRepaired: true,
      foreign: ['a'],
    });
    status.audited({ atMs: at(60), ops: [SET], isRepaired: true, foreign: ['a'] });
    const classes = (...counts: number[]) =>
      ['missing', 'altered', 'stale', 'foreign'].map((name, i) => `{class="${name}"} ${counts[i]}`);
    expect(await samples('svcplane_drift')).toEqual(classes(0, 1, 0, 1));
    expect(await samples('svcplane_drift_found_total')).toEqual(classes(1, 3, 2).slice(0, 3));
    expect(await samples('svcplane_last_audit_timestamp_seconds')).toEqual([` ${at(60) / 1000}`]);
  });

  test('tells of the guard, and counts its trips', async () => {
    const guard = { reason: 'would delete 40 of 50', sinceMs: at(1), untilMs: null };
    expect(await samples('svcplane_guard_held')).toEqual([' 0']);
    expect(await samples('svcplane_guard_trips_total')).toEqual([' 0']);
    for (const each of [guard, guard, null, guard]) status.guarded(each);
    expect(await samples('svcplane_guard_held')).toEqual([' 1']);
    expect(await samples('svcplane_guard_trips_total')).toEqual([' 2']);
    expect(status.health.guardHeld).toBe(guard.reason);
  });

  test('counts failures of the channel to the kernel by errno', async () => {
    const refusal = { outcome: 'refused', errno: 1, code: 'EPERM' } as const;
    status.syncFailed('whole', new NetlinkRequestError('read the virtual servers of IPVS', refusal));
    status.syncFailed('whole', new TypeError('x'));
    expect(await samples('svcplane_netlink_errors_total')).toEqual([
      '{code="EPERM"} 1',
      '{code="TypeError"} 1',
    ]);
    expect(await samples('svcplane_syncs_total')).toEqual(['{kind="whole",outcome="error"} 2']);
    expect(status.health.failures).toEqual(['x']);
  });

  test('tells the age of the oldest change that is not in the kernel', async () => {
    clock.seconds = 10;
    status.changed(NO_CHANGES);
    clock.seconds = 13;
    expect(await samples('svcplane_queue_age_seconds')).toEqual([' 3']);
    status.syncBegun();
    expect(await samples('svcplane_queue_age_seconds')).toEqual([' 3']);
    status.synced(syncRecord([]));
    expect(await samples('svcplane_queue_age_seconds')).toEqual([' 0']);
  });

  test('tells how the watches are', async () => {
    status.watching({ kind: 'Service', state: 'watching', sinceMs: at(1), reason: '' });
    status.watching({ kind: 'Service', state: 'retrying', sinceMs: at(2), reason: 'ECONNREFUSED' });
    status.watching({ kind: 'Service', state: 'retrying', sinceMs: at(9), reason: 'ECONNRESET' });
    status.watched('Service', 'relist');
    status.watched('Service', 'restart');
    expect(await samples('svcplane_api_watch_state')).toEqual([
      '{kind="Service",state="listing"} 0',
      '{kind="Service",state="watching"} 0',
      '{kind="Service",state="retrying"} 1',
    ]);
    expect(await samples('svcplane_api_relists_total')).toEqual(['{kind="Service"} 1']);
    expect(await samples('svcplane_api_watch_restarts_total')).toEqual(['{kind="Service"} 1']);
    expect(status.health.api).toEqual([
      { kind: 'Service', state: 'retrying', sinceMs: at(2), reason: 'ECONNRESET' },
    ]);
  });

  test('counts what there is when asked', async () => {
    const desired = desiredOf([
      service({ spec: { clusterIPs: ['10.96.0.50', 'fd00::50'] } }),
      slice({ endpoints: [{ address: '10.244.2.30' }, { address: '10.244.2.31' }] }),
    ]);
    const view = {
      desired,
      foreign: ['TCP 192.0.2.1:80'],
      rejected: [{ subject: 'Service web/old', reason: 'no' }],
      ledger: { virtualServers: 2, addresses: 1 },
      draining: 3,
      deletedFlows: { IPv4: 4, IPv6: 0 },
      sockets: null,
      announcements: [],
    };
    const of = daemonStatus(clock, { view: () => view });
    expect(await samples('svcplane_virtual_servers', of)).toEqual([
      '{ip_family="IPv4"} 1',
      '{ip_family="IPv6"} 1',
    ]);
    expect(await samples('svcplane_real_servers', of)).toEqual([
      '{ip_family="IPv4"} 2',
      '{ip_family="IPv6"} 0',
    ]);
    expect(await samples('svcplane_foreign_objects', of)).toEqual([' 1']);
    expect(await samples('svcplane_rejected_objects', of)).toEqual([' 1']);
    expect(await samples('svcplane_draining_real_servers', of)).toEqual([' 3']);
    for (const _ of [1, 2]) {
      expect(await samples('kubeproxy_conntrack_reconciler_deleted_entries_total', of)).toEqual([
        '{ip_family="IPv4"} 4',
        '{ip_family="IPv6"} 0',
      ]);
    }
    expect(await samples('svcplane_ledger_entries', of)).toContain('{kind="virtualServers"} 2');
  });

  test('tells what becomes of sockets, with the sums of the kernel', async () => {
    expect(await samples('svcplane_sockets_balanced')).toEqual([' 0']);
    const of = daemonStatus(clock, { view: () => ({ ...EMPTY_VIEW, sockets: BALANCED }) });
    for (const _ of [1, 2]) {
      expect(await samples('svcplane_socket_events_total', of)).toEqual([
        '{event="hit"} 7',
        '{event="miss"} 90',
      ]);
    }
    expect(await samples('svcplane_socket_frontends', of)).toEqual(['{by="sockets"} 3', '{by="ipvs"} 1']);
    expect(await samples('svcplane_sockets_balanced', of)).toEqual([' 1']);
    expect(await samples('svcplane_sockets_failed', of)).toEqual([' 0']);
    const failed = { ...BALANCED, outcome: 'refused', cgroup: null, reason: 'no', events: null } as const;
    const without = daemonStatus(clock, { view: () => ({ ...EMPTY_VIEW, sockets: failed }) });
    expect(await samples('svcplane_sockets_failed', without)).toEqual([' 1']);
    expect(await samples('svcplane_socket_events_total', without)).toEqual([]);
  });

  test.each([
    { name: 'fail at a cgroup that was found', change: { outcome: 'refused', reason: 'no' }, failed: ' 1' },
    { name: 'are switched off', change: { mode: 'off' }, failed: ' 0' },
  ] as const)('does not count sockets as balanced that $name', async ({ change, failed }) => {
    const of = daemonStatus(clock, { view: () => ({ ...EMPTY_VIEW, sockets: { ...BALANCED, ...change } }) });
    expect(await samples('svcplane_sockets_balanced', of)).toEqual([' 0']);
    expect(await samples('svcplane_sockets_failed', of)).toEqual([failed]);
  });

  test('tells what the process costs, each time anew', async () => {
    await samples('process_cpu_seconds_total');
    expect(await samples('process_cpu_seconds_total')).toEqual([' 1.5']);
    expect(await samples('process_start_time_seconds')).toEqual([` ${START / 1000}`]);
    expect(await samples('process_open_fds')).toEqual([' 12']);
    expect(await samples('svcplane_build_info')).toEqual(['{version="1.2.3",node_version="v24.0.0"} 1']);
  });

  test('adds the counters of virtual servers, and does without where they can not be read', async () => {
    let fails = false;
    const render = async () => {
      if (fails) throw new Error('Cannot read the counters of IPVS: EPERM');
      return '# TYPE svcplane_virtual_server_bytes_total counter\nsvcplane_virtual_server_bytes_total{a="b"} 7\n';
    };
    const of = daemonStatus(clock, { traffic: { render } });
    expect(await samples('svcplane_virtual_server_bytes_total', of)).toEqual(['{a="b"} 7']);
    fails = true;
    expect(await samples('svcplane_virtual_server_bytes_total', of)).toEqual([]);
    expect(await samples('svcplane_netlink_errors_total', of)).toEqual(['{code="Error"} 2']);
  });
});
