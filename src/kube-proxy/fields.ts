/** How kube-proxy reads a value; with `?` it tells one that is not set from 0 and false. */
export type FieldType =
  | 'text'
  | 'boolean'
  | 'boolean?'
  | 'number'
  | 'number?'
  | 'duration'
  | 'duration?'
  | 'list'
  | 'map'
  /** Whatever is in it. */
  | 'any';

/** A field of KubeProxyConfiguration v1alpha1, and what it does here. */
export interface Field {
  /** From the document's root: `ipvs.scheduler`. */
  readonly path: string;
  readonly type: FieldType;
  readonly effect: FieldEffect;
}

/** What a field does in svcplane. */
export type FieldEffect =
  /** Its value is that of a key of ours. */
  | { readonly kind: 'key'; readonly key: string }
  /** Together with others; see configuration.ts. */
  | { readonly kind: 'combined'; readonly meaning: string }
  | { readonly kind: 'none'; readonly reason: string };

const key = (name: string): FieldEffect => ({ kind: 'key', key: name });
const combined = (meaning: string): FieldEffect => ({ kind: 'combined', meaning });
const none = (reason: string): FieldEffect => ({ kind: 'none', reason });

const WINDOWS = none('it is for Windows');
const SYNC_PERIOD = none(
  'nothing waits for a period: changes are applied as they come; audit.intervalSeconds paces the look at the kernel',
);
const MIN_SYNC_PERIOD = none('changes that come together are gathered for 10 to 100 ms by themselves');
const LOGGING = none('the log is one format, one line for each event; log.level sets how much');
const NFTABLES = none('it is of another mode of kube-proxy');
const CLIENT = none('objects are watched as JSON, and one watch for each kind needs no limit');
const REMOVED = none('kube-proxy has it no longer');
const conntrack = (sysctl: string): FieldEffect =>
  none(`connection tracking is left as the node has it: set the sysctl ${sysctl}`);
const ipvsTimeout = (place: string): FieldEffect =>
  none(
    `the kernel's timeouts are left as they are: ipvsadm --set sets them, this one as its ${place} argument`,
  );

/**
 * Every field of v1alpha1 up to Kubernetes 1.36, and those of older versions that files still have.
 * @see https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/
 */
export const FIELDS: readonly Field[] = [
  {
    path: 'mode',
    type: 'text',
    effect: combined('IPVS serves, whatever it is; other than `ipvs`: a warning'),
  },
  { path: 'hostnameOverride', type: 'text', effect: combined('`nodeName`, in lower case') },
  { path: 'clientConnection.kubeconfig', type: 'text', effect: key('kubeconfig') },
  { path: 'clientConnection.acceptContentTypes', type: 'text', effect: CLIENT },
  { path: 'clientConnection.contentType', type: 'text', effect: CLIENT },
  { path: 'clientConnection.qps', type: 'number', effect: CLIENT },
  { path: 'clientConnection.burst', type: 'number', effect: CLIENT },
  { path: 'ipvs.scheduler', type: 'text', effect: key('scheduler') },
  { path: 'ipvs.excludeCIDRs', type: 'list', effect: key('excludeCIDRs') },
  {
    path: 'ipvs.strictARP',
    type: 'boolean',
    effect: combined(
      '`true`: `strictARP: true`; `false` is what kubeadm writes for nothing: `strictARP: auto`',
    ),
  },
  { path: 'ipvs.syncPeriod', type: 'duration', effect: SYNC_PERIOD },
  { path: 'ipvs.minSyncPeriod', type: 'duration', effect: MIN_SYNC_PERIOD },
  { path: 'ipvs.tcpTimeout', type: 'duration', effect: ipvsTimeout('first') },
  { path: 'ipvs.tcpFinTimeout', type: 'duration', effect: ipvsTimeout('second') },
  { path: 'ipvs.udpTimeout', type: 'duration', effect: ipvsTimeout('third') },
  { path: 'iptables.masqueradeAll', type: 'boolean', effect: key('masqueradeAll') },
  {
    path: 'iptables.masqueradeBit',
    type: 'number?',
    effect: none("it is a bit of kube-proxy's packet mark; masqueradeBit is one of the connection mark"),
  },
  {
    path: 'iptables.localhostNodePorts',
    type: 'boolean?',
    effect: none("kube-proxy's IPVS mode has no NodePorts on localhost either"),
  },
  { path: 'iptables.syncPeriod', type: 'duration', effect: SYNC_PERIOD },
  { path: 'iptables.minSyncPeriod', type: 'duration', effect: MIN_SYNC_PERIOD },
  { path: 'detectLocalMode', type: 'text', effect: combined('`detectLocal`, with the two fields below') },
  { path: 'detectLocal.bridgeInterface', type: 'text', effect: combined('`detectLocal: bridge:NAME`') },
  {
    path: 'detectLocal.interfaceNamePrefix',
    type: 'text',
    effect: combined('`detectLocal: interfacePrefix:NAME`'),
  },
  { path: 'clusterCIDR', type: 'text', effect: combined('`clusterCIDRs`, split at the comma') },
  { path: 'nodePortAddresses', type: 'list', effect: key('nodePortAddresses') },
  {
    path: 'bindAddress',
    type: 'text',
    effect: combined(
      'nothing listens there; one of IPv6 makes `[::]:10256` and `[::1]:10249` the defaults of the next two',
    ),
  },
  { path: 'healthzBindAddress', type: 'text', effect: key('healthzBindAddress') },
  { path: 'metricsBindAddress', type: 'text', effect: key('metricsBindAddress') },
  {
    path: 'bindAddressHardFail',
    type: 'boolean',
    effect: none('Services are served without these ports, and a port that is taken is tried again'),
  },
  { path: 'enableProfiling', type: 'boolean', effect: none('profiles are of Go') },
  { path: 'showHiddenMetricsForVersion', type: 'text', effect: none('no metric is hidden') },
  {
    path: 'oomScoreAdj',
    type: 'number?',
    effect: none('whoever starts svcplane sets it: OOMScoreAdjust of systemd'),
  },
  {
    path: 'conntrack.maxPerCore',
    type: 'number?',
    effect: conntrack('net.netfilter.nf_conntrack_max'),
  },
  { path: 'conntrack.min', type: 'number?', effect: conntrack('net.netfilter.nf_conntrack_max') },
  {
    path: 'conntrack.tcpEstablishedTimeout',
    type: 'duration?',
    effect: conntrack('net.netfilter.nf_conntrack_tcp_timeout_established'),
  },
  {
    path: 'conntrack.tcpCloseWaitTimeout',
    type: 'duration?',
    effect: conntrack('net.netfilter.nf_conntrack_tcp_timeout_close_wait'),
  },
  {
    path: 'conntrack.tcpBeLiberal',
    type: 'boolean',
    effect: conntrack('net.netfilter.nf_conntrack_tcp_be_liberal'),
  },
  {
    path: 'conntrack.udpTimeout',
    type: 'duration',
    effect: conntrack('net.netfilter.nf_conntrack_udp_timeout'),
  },
  {
    path: 'conntrack.udpStreamTimeout',
    type: 'duration',
    effect: conntrack('net.netfilter.nf_conntrack_udp_timeout_stream'),
  },
  {
    path: 'configSyncPeriod',
    type: 'duration',
    effect: none('objects are not told again when they have not changed'),
  },
  { path: 'featureGates', type: 'map', effect: none("gates are of kube-proxy's own features") },
  {
    path: 'logging.verbosity',
    type: 'number',
    effect: combined('4 and more, where kube-proxy tells of each sync: `log.level: debug`'),
  },
  { path: 'logging.format', type: 'text', effect: LOGGING },
  { path: 'logging.flushFrequency', type: 'any', effect: LOGGING },
  { path: 'logging.vmodule', type: 'any', effect: LOGGING },
  { path: 'logging.options', type: 'any', effect: LOGGING },
  { path: 'nftables.masqueradeBit', type: 'number?', effect: NFTABLES },
  { path: 'nftables.masqueradeAll', type: 'boolean', effect: NFTABLES },
  { path: 'nftables.syncPeriod', type: 'duration', effect: NFTABLES },
  { path: 'nftables.minSyncPeriod', type: 'duration', effect: NFTABLES },
  { path: 'winkernel.networkName', type: 'text', effect: WINDOWS },
  { path: 'winkernel.sourceVip', type: 'text', effect: WINDOWS },
  { path: 'winkernel.enableDSR', type: 'boolean', effect: WINDOWS },
  { path: 'winkernel.rootHnsEndpointName', type: 'text', effect: WINDOWS },
  { path: 'winkernel.forwardHealthCheckVip', type: 'boolean', effect: WINDOWS },
  { path: 'windowsRunAsService', type: 'boolean', effect: WINDOWS },
  { path: 'portRange', type: 'text', effect: none('it was of the userspace mode') },
  { path: 'conntrack.max', type: 'number?', effect: REMOVED },
  { path: 'resourceContainer', type: 'text', effect: REMOVED },
  { path: 'udpIdleTimeout', type: 'duration', effect: REMOVED },
];
