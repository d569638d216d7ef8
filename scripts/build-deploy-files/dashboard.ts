/** A panel with its queries: `$node` is what the user has picked. */
interface Panel {
  readonly title: string;
  readonly description: string;
  readonly type: 'timeseries' | 'stat';
  /** As Grafana names it. */
  readonly unit: string;
  /** Query by legend. */
  readonly queries: Readonly<Record<string, string>>;
}

const OF_NODE = 'instance=~"$node"';
const RATE = '[$__rate_interval]';

const PANELS: readonly Panel[] = [
  {
    title: 'Nodes ready',
    description: 'Nodes whose svcplane has completed a sync',
    type: 'stat',
    unit: 'none',
    queries: { ready: `sum(svcplane_synced{${OF_NODE}})` },
  },
  {
    title: 'Deletions held back',
    description: 'Nodes where the guard holds a plan that would delete too much: see kubectl get events',
    type: 'stat',
    unit: 'none',
    queries: { held: `sum(svcplane_guard_held{${OF_NODE}})` },
  },
  {
    title: 'Rejected objects',
    description: 'Parts of the input that are not served',
    type: 'stat',
    unit: 'none',
    queries: { rejected: `max(svcplane_rejected_objects{${OF_NODE}})` },
  },
  {
    title: 'Age of the last complete sync',
    description: 'It grows while nothing changes, too',
    type: 'timeseries',
    unit: 's',
    queries: {
      '{{instance}} {{ip_family}}': `time() - kubeproxy_sync_proxy_rules_last_timestamp_seconds{${OF_NODE}}`,
    },
  },
  {
    title: 'Time from the change of a pod to the kernel',
    description: 'From the time that the EndpointSlice controller notes',
    type: 'timeseries',
    unit: 's',
    queries: {
      p50: quantile(0.5, 'kubeproxy_network_programming_duration_seconds'),
      p99: quantile(0.99, 'kubeproxy_network_programming_duration_seconds'),
    },
  },
  {
    title: 'Time of a sync',
    description: 'Of those that look only at what has changed, and of those that look at everything',
    type: 'timeseries',
    unit: 's',
    queries: {
      'partial p99': quantile(0.99, 'kubeproxy_sync_partial_proxy_rules_duration_seconds'),
      'full p99': quantile(0.99, 'kubeproxy_sync_full_proxy_rules_duration_seconds'),
    },
  },
  {
    title: 'Oldest change not in the kernel',
    description: '0 where there is none',
    type: 'timeseries',
    unit: 's',
    queries: { '{{instance}}': `svcplane_queue_age_seconds{${OF_NODE}}` },
  },
  {
    title: 'Changes of the kernel',
    description: 'By operation; not_attempted are done by a later sync',
    type: 'timeseries',
    unit: 'ops',
    queries: {
      '{{op}} {{outcome}}': `sum by (op, outcome) (rate(svcplane_operations_total{${OF_NODE}}${RATE}))`,
    },
  },
  {
    title: 'Refusals and errors',
    description: 'What the kernel refuses, and failures of a channel to it',
    type: 'timeseries',
    unit: 'ops',
    queries: {
      'refused {{dataplane}} {{code}}': `sum by (dataplane, code) (rate(svcplane_operations_refused_total{${OF_NODE}}${RATE}))`,
      'channel {{code}}': `sum by (code) (rate(svcplane_netlink_errors_total{${OF_NODE}}${RATE}))`,
    },
  },
  {
    title: 'Drift found by audits',
    description: 'Somebody else changes what is ours',
    type: 'timeseries',
    unit: 'none',
    queries: { '{{class}}': `sum by (class) (increase(svcplane_drift_found_total{${OF_NODE}}${RATE}))` },
  },
  {
    title: 'Virtual and real servers',
    description: 'That are wanted on one node',
    type: 'timeseries',
    unit: 'none',
    queries: {
      'virtual servers {{ip_family}}': `max by (ip_family) (svcplane_virtual_servers{${OF_NODE}})`,
      'real servers {{ip_family}}': `max by (ip_family) (svcplane_real_servers{${OF_NODE}})`,
      draining: `max(svcplane_draining_real_servers{${OF_NODE}})`,
    },
  },
  {
    title: 'Sockets',
    description:
      'What the programs at the sockets of the node and its pods have done; a miss was for no Service',
    type: 'timeseries',
    unit: 'ops',
    queries: { '{{event}}': `sum by (event) (rate(svcplane_socket_events_total{${OF_NODE}}${RATE}))` },
  },
  {
    title: 'Nodes that cannot balance sockets',
    description: 'Though they are to: svcplane doctor says why; IPVS serves there',
    type: 'stat',
    unit: 'none',
    queries: { failed: `sum(svcplane_sockets_failed{${OF_NODE}})` },
  },
  {
    title: 'Watches of the API begun anew',
    description: 'Now and then is usual: the API server ends them',
    type: 'timeseries',
    unit: 'none',
    queries: {
      'watch {{kind}}': `sum by (kind) (increase(svcplane_api_watch_restarts_total{${OF_NODE}}${RATE}))`,
      'list {{kind}}': `sum by (kind) (increase(svcplane_api_relists_total{${OF_NODE}}${RATE}))`,
    },
  },
];

const COLUMNS = 3;
const WIDTH = 24 / COLUMNS;
const HEIGHT = 7;

/** A dashboard for Grafana 10 and newer, as JSON. */
export function dashboard(): string {
  const document = {
    uid: 'svcplane',
    title: 'svcplane',
    tags: ['kubernetes', 'network'],
    schemaVersion: 39,
    time: { from: 'now-3h', to: 'now' },
    refresh: '30s',
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus' },
        {
          name: 'node',
          type: 'query',
          datasource: { type: 'prometheus', uid: '$datasource' },
          query: 'label_values(svcplane_synced, instance)',
          refresh: 2,
          includeAll: true,
          multi: true,
        },
      ],
    },
    panels: PANELS.map(panel),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function panel({ title, description, type, unit, queries }: Panel, i: number): object {
  return {
    id: i + 1,
    title,
    description,
    type,
    datasource: { type: 'prometheus', uid: '$datasource' },
    gridPos: { x: (i % COLUMNS) * WIDTH, y: Math.floor(i / COLUMNS) * HEIGHT, w: WIDTH, h: HEIGHT },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    targets: Object.entries(queries).map(([legendFormat, expr], j) => ({
      refId: String.fromCharCode(65 + j),
      legendFormat,
      expr,
    })),
  };
}

function quantile(q: number, histogram: string): string {
  return `histogram_quantile(${q}, sum by (le) (rate(${histogram}_bucket{${OF_NODE}}${RATE})))`;
}
