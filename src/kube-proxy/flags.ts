/** A flag of kube-proxy, and what it does here. */
export interface KubeProxyFlag {
  /** As commander writes it: `--ipvs-scheduler <name>`; `[bool]` where it may stand alone. */
  readonly flags: string;
  readonly effect: FlagEffect;
}

/** What a flag does in svcplane. */
export type FlagEffect =
  /** It is a flag of svcplane, which means the same. */
  | { readonly kind: 'own' }
  /** The same as a field of KubeProxyConfiguration. */
  | { readonly kind: 'field'; readonly path: string }
  /** Its value is that of a key of ours, for which KubeProxyConfiguration has no field. */
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'none'; readonly reason: string }
  /** kube-proxy would do something else than serve, and a daemon instead would surprise. */
  | { readonly kind: 'refused'; readonly reason: string };

const OWN: FlagEffect = { kind: 'own' };
const field = (path: string): FlagEffect => ({ kind: 'field', path });
const key = (name: string): FlagEffect => ({ kind: 'key', key: name });
const none = (reason: string): FlagEffect => ({ kind: 'none', reason });
const refused = (reason: string): FlagEffect => ({ kind: 'refused', reason });

const LOGGING = none('the log is one format, one line for each event; log.level sets how much');
const IDENTITY = none('nothing is told of by the identity of the machine or its boot');

/** Every flag of kube-proxy 1.36, and those of older versions that manifests still have. */
export const FLAGS: readonly KubeProxyFlag[] = [
  { flags: '--config <file>', effect: OWN },
  { flags: '--kubeconfig <file>', effect: OWN },
  { flags: '--masquerade-all [bool]', effect: OWN },
  { flags: '--healthz-bind-address <address>', effect: OWN },
  { flags: '--metrics-bind-address <address>', effect: OWN },
  { flags: '--master <url>', effect: key('apiServer') },
  { flags: '--hostname-override <name>', effect: field('hostnameOverride') },
  { flags: '--proxy-mode <mode>', effect: field('mode') },
  { flags: '--ipvs-scheduler <name>', effect: field('ipvs.scheduler') },
  { flags: '--ipvs-exclude-cidrs <cidrs>', effect: field('ipvs.excludeCIDRs') },
  { flags: '--ipvs-strict-arp [bool]', effect: field('ipvs.strictARP') },
  { flags: '--ipvs-sync-period <duration>', effect: field('ipvs.syncPeriod') },
  { flags: '--ipvs-min-sync-period <duration>', effect: field('ipvs.minSyncPeriod') },
  { flags: '--ipvs-tcp-timeout <duration>', effect: field('ipvs.tcpTimeout') },
  { flags: '--ipvs-tcpfin-timeout <duration>', effect: field('ipvs.tcpFinTimeout') },
  { flags: '--ipvs-udp-timeout <duration>', effect: field('ipvs.udpTimeout') },
  { flags: '--iptables-masquerade-bit <n>', effect: field('iptables.masqueradeBit') },
  { flags: '--iptables-localhost-nodeports [bool]', effect: field('iptables.localhostNodePorts') },
  { flags: '--iptables-sync-period <duration>', effect: field('iptables.syncPeriod') },
  { flags: '--iptables-min-sync-period <duration>', effect: field('iptables.minSyncPeriod') },
  { flags: '--cluster-cidr <cidrs>', effect: field('clusterCIDR') },
  { flags: '--detect-local-mode <mode>', effect: field('detectLocalMode') },
  { flags: '--pod-bridge-interface <name>', effect: field('detectLocal.bridgeInterface') },
  { flags: '--pod-interface-name-prefix <prefix>', effect: field('detectLocal.interfaceNamePrefix') },
  { flags: '--nodeport-addresses <cidrs>', effect: field('nodePortAddresses') },
  { flags: '--bind-address <ip>', effect: field('bindAddress') },
  { flags: '--bind-address-hard-fail [bool]', effect: field('bindAddressHardFail') },
  { flags: '--healthz-port <n>', effect: none('kube-proxy has deprecated it for --healthz-bind-address') },
  { flags: '--metrics-port <n>', effect: none('kube-proxy has deprecated it for --metrics-bind-address') },
  { flags: '--conntrack-max-per-core <n>', effect: field('conntrack.maxPerCore') },
  { flags: '--conntrack-min <n>', effect: field('conntrack.min') },
  {
    flags: '--conntrack-tcp-timeout-established <duration>',
    effect: field('conntrack.tcpEstablishedTimeout'),
  },
  { flags: '--conntrack-tcp-timeout-close-wait <duration>', effect: field('conntrack.tcpCloseWaitTimeout') },
  { flags: '--conntrack-tcp-be-liberal [bool]', effect: field('conntrack.tcpBeLiberal') },
  { flags: '--conntrack-udp-timeout <duration>', effect: field('conntrack.udpTimeout') },
  { flags: '--conntrack-udp-timeout-stream <duration>', effect: field('conntrack.udpStreamTimeout') },
  { flags: '--config-sync-period <duration>', effect: field('configSyncPeriod') },
  { flags: '--kube-api-content-type <type>', effect: field('clientConnection.contentType') },
  { flags: '--kube-api-qps <n>', effect: field('clientConnection.qps') },
  { flags: '--kube-api-burst <n>', effect: field('clientConnection.burst') },
  { flags: '--oom-score-adj <n>', effect: field('oomScoreAdj') },
  { flags: '--profiling [bool]', effect: field('enableProfiling') },
  { flags: '--feature-gates <gates>', effect: field('featureGates') },
  { flags: '--show-hidden-metrics-for-version <version>', effect: field('showHiddenMetricsForVersion') },
  { flags: '--proxy-port-range <range>', effect: field('portRange') },
  { flags: '--boot-id-file <files>', effect: IDENTITY },
  { flags: '--machine-id-file <files>', effect: IDENTITY },
  {
    flags: '--cleanup [bool]',
    effect: refused(
      'svcplane cleanup removes what is of svcplane; kube-proxy --cleanup what is of kube-proxy',
    ),
  },
  {
    flags: '--init-only [bool]',
    effect: refused('svcplane needs no container that runs before it: leave that one out'),
  },
  {
    flags: '--write-config-to <file>',
    effect: refused('svcplane config convert prints the configuration'),
  },
  { flags: '-v, --v <level>', effect: field('logging.verbosity') },
  { flags: '--vmodule <patterns>', effect: field('logging.vmodule') },
  { flags: '--logging-format <format>', effect: field('logging.format') },
  { flags: '--log-flush-frequency <duration>', effect: field('logging.flushFrequency') },
  { flags: '--log-json-info-buffer-size <size>', effect: LOGGING },
  { flags: '--log-json-split-stream [bool]', effect: LOGGING },
  { flags: '--log-text-info-buffer-size <size>', effect: LOGGING },
  { flags: '--log-text-split-stream [bool]', effect: LOGGING },
  { flags: '--add-dir-header [bool]', effect: LOGGING },
  { flags: '--alsologtostderr [bool]', effect: LOGGING },
  { flags: '--log-backtrace-at <place>', effect: LOGGING },
  { flags: '--log-dir <dir>', effect: LOGGING },
  { flags: '--log-file <file>', effect: LOGGING },
  { flags: '--log-file-max-size <size>', effect: LOGGING },
  { flags: '--logtostderr [bool]', effect: LOGGING },
  { flags: '--one-output [bool]', effect: LOGGING },
  { flags: '--skip-headers [bool]', effect: LOGGING },
  { flags: '--skip-log-headers [bool]', effect: LOGGING },
  { flags: '--stderrthreshold <level>', effect: LOGGING },
];

/** The long name alone: `--ipvs-scheduler`. */
export function nameOfFlag({ flags }: KubeProxyFlag): string {
  return /--[a-z-]+/.exec(flags)?.[0] ?? flags;
}
