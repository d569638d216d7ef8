import { Option } from 'commander';
import { type Config, parseConfig } from '../config.ts';

type SettingKind = 'text' | 'number' | 'boolean' | 'list' | 'primaryOrList' | 'autoOrBoolean';

interface Setting {
  /** Path in the configuration file. */
  readonly key: string;
  readonly flags: string;
  readonly env: string;
  readonly kind: SettingKind;
  readonly help: string;
}

/** Every key that makes sense as a flag: flag beats environment beats file beats default. */
export const SETTINGS: readonly Setting[] = [
  {
    key: 'manifests',
    flags: '-f, --filename <path>',
    env: 'SVCPLANE_FILENAME',
    kind: 'list',
    help: 'YAML or JSON file, directory, or - for standard input (repeatable)',
  },
  {
    key: 'nodeName',
    flags: '--node <name>',
    env: 'SVCPLANE_NODE',
    kind: 'text',
    help: 'name of this node (else NODE_NAME, else the host name)',
  },
  {
    key: 'nodeAddresses',
    flags: '--node-address <ip>',
    env: 'SVCPLANE_NODE_ADDRESS',
    kind: 'list',
    help: "replaces the Node object's addresses (repeatable)",
  },
  {
    key: 'interface',
    flags: '--interface <name>',
    env: 'SVCPLANE_INTERFACE',
    kind: 'text',
    help: 'dummy interface that holds the addresses',
  },
  {
    key: 'stateDirectory',
    flags: '--state-directory <dir>',
    env: 'SVCPLANE_STATE_DIRECTORY',
    kind: 'text',
    help: 'where the ledger of what is ours is kept',
  },
  {
    key: 'scheduler',
    flags: '--scheduler <name>',
    env: 'SVCPLANE_SCHEDULER',
    kind: 'text',
    help: 'default IPVS scheduler',
  },
  {
    key: 'clusterIPs',
    flags: '--cluster-ips <how>',
    env: 'SVCPLANE_CLUSTER_IPS',
    kind: 'text',
    help: 'bind: one address each; route: one local route per ServiceCIDR',
  },
  {
    key: 'serviceCIDRs',
    flags: '--service-cidrs <cidrs>',
    env: 'SVCPLANE_SERVICE_CIDRS',
    kind: 'list',
    help: 'ranges of ClusterIPs (else the ServiceCIDR objects)',
  },
  {
    key: 'clusterCIDRs',
    flags: '--cluster-cidrs <cidrs>',
    env: 'SVCPLANE_CLUSTER_CIDRS',
    kind: 'list',
    help: "pod ranges (else the Node's podCIDRs)",
  },
  {
    key: 'detectLocal',
    flags: '--detect-local <how>',
    env: 'SVCPLANE_DETECT_LOCAL',
    kind: 'text',
    help: 'clusterCIDR, nodeCIDR, interfacePrefix:NAME or bridge:NAME',
  },
  {
    key: 'nftablesTable',
    flags: '--nftables-table <name>',
    env: 'SVCPLANE_NFTABLES_TABLE',
    kind: 'text',
    help: 'our nftables table of family inet',
  },
  {
    key: 'masqueradeAll',
    flags: '--masquerade-all [bool]',
    env: 'SVCPLANE_MASQUERADE_ALL',
    kind: 'boolean',
    help: 'masquerade all traffic to ClusterIPs',
  },
  {
    key: 'masqueradeBit',
    flags: '--masquerade-bit <n>',
    env: 'SVCPLANE_MASQUERADE_BIT',
    kind: 'number',
    help: 'bit of the connection mark (0 to 31) for what is masqueraded',
  },
  {
    key: 'firewallMarkBase',
    flags: '--firewall-mark-base <n>',
    env: 'SVCPLANE_FIREWALL_MARK_BASE',
    kind: 'number',
    help: 'upper byte of the packet marks for inside clients of frontends with policy Local',
  },
  {
    key: 'externalIPs.policy',
    flags: '--external-ips-policy <policy>',
    env: 'SVCPLANE_EXTERNAL_IPS_POLICY',
    kind: 'text',
    help: 'allowAll, allowList or deny',
  },
  {
    key: 'externalIPs.ranges',
    flags: '--external-ips-ranges <cidrs>',
    env: 'SVCPLANE_EXTERNAL_IPS_RANGES',
    kind: 'list',
    help: 'what allowList allows',
  },
  {
    key: 'nodePortAddresses',
    flags: '--node-port-addresses <cidrs>',
    env: 'SVCPLANE_NODE_PORT_ADDRESSES',
    kind: 'primaryOrList',
    help: 'ranges of node addresses that serve NodePorts, or primary',
  },
  {
    key: 'excludeCIDRs',
    flags: '--exclude-cidrs <cidrs>',
    env: 'SVCPLANE_EXCLUDE_CIDRS',
    kind: 'list',
    help: 'never program virtual servers in these ranges',
  },
  {
    key: 'strictARP',
    flags: '--strict-arp [bool]',
    env: 'SVCPLANE_STRICT_ARP',
    kind: 'autoOrBoolean',
    help: 'answer ARP only for addresses of the asked link: auto, true or false',
  },
  {
    key: 'drainTimeoutSeconds',
    flags: '--drain-timeout-seconds <n>',
    env: 'SVCPLANE_DRAIN_TIMEOUT_SECONDS',
    kind: 'number',
    help: 'how long connections to a vanished endpoint may last',
  },
  {
    key: 'drainDeletedServices',
    flags: '--drain-deleted-services [bool]',
    env: 'SVCPLANE_DRAIN_DELETED_SERVICES',
    kind: 'boolean',
    help: 'let connections to a deleted Service end',
  },
];

const NAME_OF_CONFIG = 'svcplaneConfig';

/** The commander options of every setting, and `--config` itself. */
export function settingOptions(): Option[] {
  const config = new Option('--config <file>', 'configuration file').env('SVCPLANE_CONFIG');
  config.attributeName = () => NAME_OF_CONFIG;
  return [config, ...SETTINGS.map(optionOf)];
}

function optionOf(setting: Setting): Option {
  const option = new Option(setting.flags, setting.help).env(setting.env);
  // The configuration path is the name under which the value arrives.
  option.attributeName = () => setting.key;
  if (setting.kind === 'list' || setting.kind === 'primaryOrList') {
    option.argParser((value: string, before: string[] | undefined) => [
      ...(before ?? []),
      ...value.split(',').filter((part) => part !== ''),
    ]);
  }
  return option;
}

/** What the command line and the environment gave; a value is text, a list of texts, or true for a bare flag. */
export type GivenOptions = Readonly<Record<string, string | readonly string[] | boolean | undefined>>;

/** The file named by `--config`, if any. */
export function configFileOf(given: GivenOptions): string | undefined {
  const file = given[NAME_OF_CONFIG];
  return typeof file === 'string' ? file : undefined;
}

/**
 * Lays flags and environment over the configuration file.
 * @param file the parsed document, undefined without one
 * @throws ConfigError naming every key that can't be used
 */
export function resolveConfig(
  given: GivenOptions,
  file: { name: string; document: unknown } | undefined,
): Config {
  const fromFile = file ? parseableDocument(file.document) : {};
  if (file) parseConfig(fromFile, file.name);
  const merged = structuredClone(fromFile) as Record<string, unknown>;
  for (const { key, kind } of SETTINGS) {
    const value = given[key];
    if (value !== undefined) setPath(merged, key, settingValue(kind, value));
  }
  return parseConfig(merged, 'the command line and environment');
}

function parseableDocument(document: unknown): unknown {
  return document === null || document === undefined ? {} : document;
}

function settingValue(kind: SettingKind, given: string | readonly string[] | boolean): unknown {
  if (kind === 'primaryOrList')
    return Array.isArray(given) && given.length === 1 && given[0] === 'primary' ? 'primary' : given;
  if (kind === 'number') return /^\d+$/.test(String(given)) ? Number(given) : given;
  if (kind === 'boolean' || kind === 'autoOrBoolean') {
    return given === true || given === 'true' ? true : given === 'false' ? false : given;
  }
  return given;
}

function setPath(target: Record<string, unknown>, path: string, value: unknown): void {
  const [head = '', tail] = path.split('.', 2);
  if (tail === undefined) target[head] = value;
  else target[head] = { ...(target[head] as object | undefined), [tail]: value };
}
