import { Option } from 'commander';
import { EXIT, type ExitCode } from './context.ts';
import { type AnnouncingReport, announcingFindings } from './doctor-announcing.ts';
import { type SocketReport, socketFindings } from './doctor-sockets.ts';
import { type Ability, ability, type Finding, ok } from './finding.ts';
import { chosen, configOf, type Invocation, type Verb } from './verb.ts';

/** What was found on this host, before it is judged. */
export interface HostReport {
  readonly kernelRelease: string;
  readonly ipvs: Ability;
  readonly nftables: Ability;
  /** Chains of others that drop what they do not accept on its way through this host: `ip filter FORWARD`. */
  readonly forwardDrops: readonly string[];
  /** Bridge ports behind which a pod can't reach itself through a Service. */
  readonly portsWithoutHairpin: readonly string[];
  readonly netAdmin: Ability;
  readonly dummyLink: Ability;
  readonly sysctlsWritable: Ability;
  readonly stateDirectory: Ability & { readonly path: string };
  /** Sysctls svcplane sets, with the value each needs and has; null where it can't be read. */
  readonly sysctls: readonly {
    readonly name: string;
    readonly needs: string;
    readonly has: string | null;
    /** Needed only where a Service has an IPv6 address. */
    readonly onlyForIpv6: boolean;
  }[];
  /** Names of all links. */
  readonly links: readonly string[];
  readonly foreignVirtualServers: readonly string[];
  readonly boundAddresses: number;
  readonly clusterIPs: 'bind' | 'route';
  readonly sockets: SocketReport;
  /** null where nothing is to be announced. */
  readonly announcing: AnnouncingReport | null;
  readonly ledgerNotes: readonly string[];
}

export const doctorVerb: Verb = {
  name: 'doctor',
  arguments: '',
  summary: 'kernel, privileges, sysctls, other owners of IPVS on this host; each finding with its fix',
  exitCodes: '0 svcplane can work here, 1 something it needs is missing',
  options: [new Option('-o, --output <format>', 'text or json')],
  run: doctor,
};

async function doctor(invocation: Invocation): Promise<ExitCode> {
  const { context, given } = invocation;
  const format = chosen(given, 'output', ['text', 'json'], 'text');
  const findings = diagnose(await context.inspectHost(await configOf(invocation)));
  if (format === 'json') await context.out(`${JSON.stringify({ version: 1, findings }, null, 2)}\n`);
  else await context.out(findings.map(renderFinding).join(''));
  return findings.some(({ level }) => level === 'error') ? EXIT.error : EXIT.done;
}

function renderFinding({ level, what, fix }: Finding): string {
  return `${level.padEnd(7)} ${what}\n${fix === '' ? '' : `        fix: ${fix}\n`}`;
}

/** Judges what was found; pure. */
export function diagnose(host: HostReport): readonly Finding[] {
  return [
    ok(`Linux ${host.kernelRelease}`),
    ability(host.ipvs, 'IPVS over generic netlink', 'modprobe ip_vs, or a kernel built with CONFIG_IP_VS'),
    ability(
      host.nftables,
      'nftables through libnftables',
      'apt-get install libnftables1; modprobe nf_tables, or a kernel built with CONFIG_NF_TABLES_INET',
    ),
    ability(host.netAdmin, 'CAP_NET_ADMIN', 'run as root, or grant the capability to the container'),
    ability(host.dummyLink, 'dummy links', 'modprobe dummy, or a kernel built with CONFIG_DUMMY'),
    ability(
      host.stateDirectory,
      `state directory ${host.stateDirectory.path}`,
      'make it writable, or --state-directory DIR',
    ),
    ...sysctlFindings(host),
    ...ownerFindings(host),
    ...host.forwardDrops.map(forwardFinding),
    ...hairpinFindings(host),
    ...addressFindings(host),
    ...socketFindings(host.sockets),
    ...announcingFindings(host.announcing),
    ...host.ledgerNotes.map((note): Finding => ({ level: 'warning', what: note, fix: '' })),
  ];
}

function sysctlFindings(host: HostReport): Finding[] {
  const wrong = host.sysctls.filter(({ needs, has }) => needs !== has);
  if (wrong.length === 0) return [ok('sysctls are as svcplane needs them')];
  const writable = host.sysctlsWritable.outcome === 'supported';
  return wrong.map(({ name, needs, has, onlyForIpv6 }) => {
    const what = `sysctl ${name} is ${has ?? 'not there'}, needs ${needs}${onlyForIpv6 ? ' for IPv6 Services' : ''}`;
    if (writable) return ok(`${what}: apply sets it`);
    return {
      level: onlyForIpv6 ? 'warning' : 'error',
      what: `${what}, and /proc/sys is read-only here`,
      fix: `on the host: sysctl -w ${name}=${needs}`,
    };
  });
}

/** Links by which the other owners of IPVS on a node give themselves away. */
const OTHER_PROXIES: Readonly<Record<string, { name: string; fix: string }>> = {
  'kube-ipvs0': {
    name: 'kube-proxy (ipvs mode)',
    fix: 'stop it, then svcplane import --from kube-proxy --release; or keep it and set excludeCIDRs',
  },
  'kube-dummy-if': {
    name: 'kube-router (service proxy)',
    fix: 'stop it with --run-service-proxy=false and --cleanup-config',
  },
};

function ownerFindings(host: HostReport): Finding[] {
  const proxies = host.links.flatMap((link): Finding[] => {
    const owner = OTHER_PROXIES[link];
    return owner
      ? [{ level: 'warning', what: `link ${link}: ${owner.name} has been at work here`, fix: owner.fix }]
      : [];
  });
  const count = host.foreignVirtualServers.length;
  if (count === 0) return [...proxies, ok('no virtual server of anybody else')];
  const what = `virtual servers that are not ours (${count}): ${firstFew(host.foreignVirtualServers)}`;
  return [
    ...proxies,
    { level: 'warning', what, fix: 'none needed: they are left alone; ipvsadm -D removes one' },
  ];
}

function forwardFinding(chain: string): Finding {
  return {
    level: 'warning',
    what: `chain ${chain} drops what no rule of its own accepts, connections to Services included`,
    fix: 'let it accept the pod ranges; no rule of svcplane can undo a drop elsewhere',
  };
}

function hairpinFindings({ portsWithoutHairpin: ports }: HostReport): Finding[] {
  if (ports.length === 0) return [];
  const what =
    `bridge ports that are not in hairpin mode (${ports.length}): ${firstFew(ports)}: with bridge-nf-call-iptables a ` +
    'pod behind one does not reach itself through a Service';
  const fix =
    'hairpinMode in the configuration of the CNI bridge plug-in, or bridge link set dev PORT hairpin on';
  return [{ level: 'warning', what, fix }];
}

function firstFew(names: readonly string[]): string {
  return `${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''}`;
}

/** From here on binding one more address takes long enough to notice: each walks the list of the link. */
const MANY_ADDRESSES = 2_000;

function addressFindings(host: HostReport): Finding[] {
  if (host.clusterIPs === 'route' || host.boundAddresses < MANY_ADDRESSES) return [];
  const what = `${host.boundAddresses} addresses are bound one by one, which takes time that grows with their square`;
  return [{ level: 'warning', what, fix: 'clusterIPs: route, with serviceCIDRs' }];
}
