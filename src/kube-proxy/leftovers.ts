import { compareAddresses, type IpAddress } from '../model/address.ts';
import { type SavedRule, type SavedSet, type SavedTable, setsOf } from './iptables-save.ts';
import {
  KUBE_PROXY_CHAINS,
  KUBE_PROXY_JUMPS,
  KUBE_PROXY_LINK,
  KUBE_PROXY_SETS,
  MASQUERADE_CHAINS,
  OLD_KUBELET_CHAIN,
} from './names.ts';

/** One of the programs that show and change iptables, by family and by the part of the kernel that it uses. */
export type IptablesProgram = 'iptables-nft' | 'ip6tables-nft' | 'iptables-legacy' | 'ip6tables-legacy';

/** What there is on a host, of kube-proxy and of others; read at one moment. */
export interface KubeProxyTraces {
  /** Addresses on kube-ipvs0; null if there is no such dummy. */
  readonly link: ReadonlySet<IpAddress> | null;
  /** Addresses of all other links. */
  readonly otherAddresses: ReadonlySet<IpAddress>;
  readonly iptables: readonly { readonly program: IptablesProgram; readonly tables: readonly SavedTable[] }[];
  readonly sets: readonly SavedSet[];
  /** What could not be looked at, and why; one line each. */
  readonly notes: readonly string[];
}

/** One change of a release. */
export type ReleaseOp =
  /** Input of `PROGRAM-restore --noflush`, one transaction; `chains` and `rules` are what goes. */
  | {
      readonly op: 'restoreIptables';
      readonly program: IptablesProgram;
      readonly input: string;
      readonly chains: readonly string[];
      readonly ruleCount: number;
    }
  | { readonly op: 'destroySet'; readonly name: string }
  | { readonly op: 'deleteAddresses'; readonly addresses: readonly IpAddress[] }
  | { readonly op: 'deleteLink' };

export interface ReleasePlan {
  readonly ops: readonly ReleaseOp[];
  /** What has one of kube-proxy's names and stays. */
  readonly kept: readonly { readonly subject: string; readonly reason: string }[];
}

/** kube-proxy's traces on this host, and the ways to be rid of them. */
export interface KubeProxyHost extends AsyncDisposable {
  observe(signal: AbortSignal): Promise<KubeProxyTraces>;
  /** What says that kube-proxy runs in this network namespace; null if nothing does. */
  whyRunning(signal: AbortSignal): Promise<string | null>;
  /** @returns why it could not be done, in one line; null if it is done */
  release(op: ReleaseOp, signal: AbortSignal): Promise<string | null>;
  /**
   * Takes addresses from link `from` to kube-ipvs0.
   * @returns what could not be done
   */
  moveAddresses(from: string, addresses: readonly IpAddress[]): Promise<readonly string[]>;
  /** Waits as long as a connection may take to open. */
  untilOpened(signal: AbortSignal): Promise<void>;
}

/** An address that must stay on kube-ipvs0, by why. */
export type HeldAddresses = ReadonlyMap<IpAddress, string>;

/**
 * What removes kube-proxy's chains, jumps, sets and link, and nothing else: rules before the sets that they match,
 * the link last, for until then an address of it may be the only one.
 * @param held addresses that virtual servers need and no other link has
 */
export function planRelease(traces: KubeProxyTraces, held: HeldAddresses): ReleasePlan {
  const released = traces.iptables.map(({ program, tables }) => releaseTables(program, tables));
  const destroyed = traces.sets.filter(({ name }) => KUBE_PROXY_SETS.includes(name));
  const users = foreignSetUsers(traces);
  const freeSets = destroyed.filter(({ name }) => !users.has(name));
  const usedSets = destroyed.flatMap(({ name }) => {
    const reason = users.get(name);
    return reason === undefined ? [] : [{ subject: `ipset ${name}`, reason }];
  });
  const link = releaseLink(traces.link, held);
  return {
    ops: [
      ...released.flatMap(({ ops }) => ops),
      ...freeSets.map(({ name }) => ({ op: 'destroySet', name }) as const),
      ...link.ops,
    ],
    kept: [...released.flatMap(({ kept }) => kept), ...usedSets, ...link.kept],
  };
}

/** What of kube-proxy is here, one line each; empty if it was never here, or has been released. */
export function namesOfLeftovers(traces: KubeProxyTraces): readonly string[] {
  const { ops } = planRelease(traces, new Map());
  const sets = ops.filter(({ op }) => op === 'destroySet').length;
  return [
    ...(traces.link === null ? [] : [`link ${KUBE_PROXY_LINK} (${count(traces.link.size, 'address')})`]),
    ...ops.flatMap((op) => (op.op === 'restoreIptables' ? [describeRestore(op)] : [])),
    ...(sets > 0 ? [count(sets, 'ipset')] : []),
  ];
}

/** One line: what an operation removes. */
export function describeRelease(op: ReleaseOp): string {
  if (op.op === 'restoreIptables') return describeRestore(op);
  if (op.op === 'destroySet') return `ipset ${op.name}`;
  if (op.op === 'deleteLink') return `link ${KUBE_PROXY_LINK}`;
  return `${count(op.addresses.length, 'address')} of ${KUBE_PROXY_LINK}`;
}

function describeRestore(op: RestoreOp): string {
  return `${op.program}: ${describeChains(op)}`;
}

/** `chains nat KUBE-SERVICES, nat KUBE-POSTROUTING; 12 rules` */
export function describeChains({ chains, ruleCount }: RestoreOp): string {
  return `${chains.length > 0 ? `chains ${chains.join(', ')}; ` : ''}${count(ruleCount, 'rule')}`;
}

type RestoreOp = Extract<ReleaseOp, { op: 'restoreIptables' }>;

/** `1 address`, `2 addresses` */
export function count(number: number, noun: string): string {
  const plural = noun.endsWith('s') ? `${noun}es` : `${noun}s`;
  return `${number} ${number === 1 ? noun : plural}`;
}

function releaseLink(link: KubeProxyTraces['link'], held: HeldAddresses): ReleasePlan {
  if (link === null) return { ops: [], kept: [] };
  const kept = [...link]
    .sort(compareAddresses)
    .flatMap((address) =>
      held.has(address)
        ? [{ subject: `address ${address} of ${KUBE_PROXY_LINK}`, reason: held.get(address) ?? '' }]
        : [],
    );
  if (kept.length === 0) return { ops: [{ op: 'deleteLink' }], kept };
  const addresses = [...link].filter((address) => !held.has(address)).sort(compareAddresses);
  return { ops: addresses.length > 0 ? [{ op: 'deleteAddresses', addresses }] : [], kept };
}

function releaseTables(program: IptablesProgram, tables: readonly SavedTable[]): ReleasePlan {
  const released = tables.map(releaseTable);
  const chains = released.flatMap((table) => table.chains);
  const ruleCount = released.reduce((sum, table) => sum + table.ruleCount, 0);
  const input = released.map((table) => table.input).join('');
  const kept = released.flatMap((table) =>
    table.kept.map(({ chain, reason }) => ({ subject: `${program} chain ${chain}`, reason })),
  );
  if (input === '') return { ops: [], kept };
  return { ops: [{ op: 'restoreIptables', program, input, chains, ruleCount }], kept };
}

interface TableRelease {
  /** "" if nothing of the table goes. */
  readonly input: string;
  readonly chains: readonly string[];
  readonly ruleCount: number;
  readonly kept: readonly { readonly chain: string; readonly reason: string }[];
}

function releaseTable(table: SavedTable): TableRelease {
  const names = chainsOf(table);
  const kept = keptChains(table, names);
  const gone = names.filter((name) => !kept.has(name));
  // The rules of a chain that stays may match sets that go; what marks and masquerades is needed.
  const deleted = table.rules.filter((rule) => {
    if (gone.includes(rule.chain)) return false;
    if (kept.has(rule.chain)) return setsOf(rule).some((set) => KUBE_PROXY_SETS.includes(set));
    return isJump(table, rule) && gone.includes(rule.target ?? '');
  });
  const lines = [
    ...deleted.map(({ chain, text }) => `-D ${chain} ${text}`),
    // All are emptied first, for one that another jumps to can't be deleted.
    ...gone.map((name) => `-F ${name}`),
    ...gone.map((name) => `-X ${name}`),
  ];
  const flushed = table.rules.filter(({ chain }) => gone.includes(chain)).length;
  return {
    input: lines.length === 0 ? '' : `*${table.name}\n${lines.join('\n')}\nCOMMIT\n`,
    chains: gone.map((name) => `${table.name} ${name}`),
    ruleCount: deleted.length + flushed,
    kept: [...kept].map(([chain, reason]) => ({ chain, reason })),
  };
}

/** Chains of kube-proxy's that there are. */
function chainsOf(table: SavedTable): readonly string[] {
  return (KUBE_PROXY_CHAINS[table.name] ?? []).filter((name) => table.chains.includes(name));
}

/** Chains that others jump to or make themselves, with why they stay. */
function keptChains(table: SavedTable, names: readonly string[]): ReadonlyMap<string, string> {
  const masquerading = names.filter((name) => MASQUERADE_CHAINS.includes(name));
  if (table.name === 'nat' && table.chains.includes(OLD_KUBELET_CHAIN)) {
    return new Map(
      masquerading.map((name) => [name, `the kubelet makes it, as it does ${OLD_KUBELET_CHAIN}`]),
    );
  }
  const kept = new Map<string, string>();
  // It alone may let answers of pods through, and no rule of another table can.
  if (table.name === 'filter' && table.dropping.includes('FORWARD') && names.includes('KUBE-FORWARD')) {
    kept.set('KUBE-FORWARD', 'chain FORWARD drops what no rule of it accepts');
  }
  for (const rule of table.rules) {
    const { chain, target } = rule;
    if (target === null || !names.includes(target) || names.includes(chain) || isJump(table, rule)) continue;
    kept.set(target, `chain ${chain} jumps to it`);
  }
  // A mark without the chain that acts on it masquerades nothing.
  const marker = kept.get('KUBE-MARK-MASQ');
  if (marker !== undefined) for (const name of masquerading) if (!kept.has(name)) kept.set(name, marker);
  return kept;
}

/** Whether kube-proxy itself made this rule of a built-in chain. */
function isJump({ name }: SavedTable, { chain, target }: SavedRule): boolean {
  return (KUBE_PROXY_JUMPS[name] ?? []).includes(`${chain} ${target}`);
}

/** Sets that a rule matches which stays, by why they can't be destroyed. */
function foreignSetUsers(traces: KubeProxyTraces): ReadonlyMap<string, string> {
  const users = new Map<string, string>();
  for (const { program, tables } of traces.iptables) {
    for (const table of tables) {
      const names = chainsOf(table);
      for (const rule of table.rules) {
        // A rule of kube-proxy's goes, and so does each in its chains that stay if it matches a set.
        if (names.includes(rule.chain) || isJump(table, rule)) continue;
        for (const set of setsOf(rule)) users.set(set, `${program} chain ${rule.chain} matches it`);
      }
    }
  }
  return users;
}
