import { type Config, configKeys } from '../config.ts';

/** What a changed configuration means to a daemon that runs. */
export interface ReloadPlan {
  /** Keys that have changed, and count from the next sync on. */
  readonly immediate: readonly string[];
  /** Keys that have changed, and count after a restart only. */
  readonly restart: readonly { readonly key: string; readonly reason: string }[];
  /** What to run with until then: the new values of the former, the old ones of the latter. */
  readonly config: Config;
}

type Reload = 'immediate' | { readonly restart: string };

const restart = (reason: string): Reload => ({ restart: reason });
const CONNECTION = restart('the connection to the API server was opened with it');
const MARKS = restart('connections carry the marks of the old one');

/** For each key, what it takes to change it; for a group, all keys in it. */
const RELOADS = {
  apiVersion: 'immediate',
  kind: 'immediate',
  nodeName: restart('the Node of that name is watched, and endpoints are local by it'),
  nodeAddresses: 'immediate',
  kubeconfig: CONNECTION,
  apiServer: CONNECTION,
  manifests: restart('other files are watched'),
  interface: restart('addresses are bound to the old one, which would be left behind'),
  stateDirectory: restart('the ledger in the old one says what is ours'),
  scheduler: 'immediate',
  clusterIPs: restart('it changes how every ClusterIP is bound'),
  serviceCIDRs: 'immediate',
  clusterCIDRs: 'immediate',
  detectLocal: 'immediate',
  nftablesTable: restart('rules are in the old one, which would be left behind'),
  masqueradeAll: 'immediate',
  masqueradeBit: MARKS,
  firewallMarkBase: MARKS,
  externalIPs: 'immediate',
  nodePortAddresses: 'immediate',
  excludeCIDRs: 'immediate',
  strictARP: 'immediate',
  socketLoadBalancer: 'immediate',
  vrrp: 'immediate',
  connectionSync: 'immediate',
  keepSourceCIDRs: 'immediate',
  loadBalancer: 'immediate',
  drainTimeoutSeconds: 'immediate',
  drainDeletedServices: 'immediate',
  audit: 'immediate',
  guard: 'immediate',
  healthzBindAddress: 'immediate',
  metricsBindAddress: 'immediate',
  metrics: 'immediate',
  socket: restart('whoever asks there holds the old one'),
  events: 'immediate',
  log: 'immediate',
} as const satisfies Readonly<Record<keyof Config, Reload>>;

/** Those that take something else than their group. */
const LEAF_RELOADS: Readonly<Record<string, Reload>> = {
  'socketLoadBalancer.cgroup': restart('programs are attached to the old one'),
  'vrrp.directory': restart('keepalived runs with the old one'),
  'vrrp.program': restart('keepalived runs already'),
};

/** Which keys have changed, and which of them can count at once. */
export function reloadPlan(before: Config, after: Config): ReloadPlan {
  const changed = leafKeys().filter((key) => !equal(valueAt(before, key), valueAt(after, key)));
  const immediate: string[] = [];
  const later: { key: string; reason: string }[] = [];
  for (const key of changed) {
    const reload: Reload = LEAF_RELOADS[key] ?? RELOADS[groupOf(key)];
    if (reload === 'immediate') immediate.push(key);
    else later.push({ key, reason: reload.restart });
  }
  const config = later.reduce((kept, { key }) => withValueOf(kept, key, before), after);
  return { immediate, restart: later, config };
}

/** `into` with what `from` has at this key, be it a configuration or what was written of one. */
export function withValueOf<Values extends object>(into: Values, key: string, from: Values): Values {
  const [head = '', name] = key.split('.');
  const [group, old] = [Object(into)[head], Object(from)[head]];
  return { ...into, [head]: name === undefined ? old : { ...group, [name]: Object(old)[name] } };
}

/** Keys with values of their own: of a group, those in it. */
function leafKeys(): readonly string[] {
  const keys = configKeys();
  return keys.filter((key) => !keys.some((other) => other.startsWith(`${key}.`)));
}

function groupOf(key: string): keyof Config {
  const [head = ''] = key.split('.');
  return head as keyof Config;
}

function valueAt(config: Config, key: string): unknown {
  const [, name] = key.split('.');
  const value: unknown = config[groupOf(key)];
  return name === undefined ? value : Object(value)[name];
}

function equal(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
