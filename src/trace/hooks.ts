import type { NftablesRows } from '../dataplane/nftables/rows.ts';
import type { ChainHook } from '../dataplane/nftables/rules.ts';

type Hook = ChainHook['hook'];

/** Something that sees a packet in a hook. */
export type Station =
  | { readonly kind: 'ipvs'; readonly priority: number }
  | {
      readonly kind: 'chain';
      readonly name: string;
      readonly priority: number;
      /** The side of the connection that a nat chain decides about; null for other chains. */
      readonly side: 'source' | 'destination' | null;
    };

const HOOKS: readonly Hook[] = ['prerouting', 'input', 'forward', 'output', 'postrouting'];

/** Where IPVS takes packets. @see net/netfilter/ipvs/ip_vs_core.c ip_vs_ops4, ip_vs_remote_request4, ip_vs_local_request4 */
const IPVS: Readonly<Partial<Record<Hook, number>>> = { input: 99, output: -98 };

/**
 * All nat chains of a hook are run by one function, once for a connection, at its own priority; theirs orders them among each other.
 * @see net/netfilter/nf_nat_proto.c nf_nat_ipv4_ops
 */
export const NAT: Readonly<
  Record<Exclude<Hook, 'forward'>, { readonly priority: number; readonly side: 'source' | 'destination' }>
> = {
  prerouting: { priority: -100, side: 'destination' },
  output: { priority: -100, side: 'destination' },
  input: { priority: 100, side: 'source' },
  postrouting: { priority: 100, side: 'source' },
};

/**
 * What sees a packet in each hook, in order.
 * @throws RangeError on a declaration that is none of a chain
 */
export function stationsOf({ chains }: NftablesRows): ReadonlyMap<Hook, readonly Station[]> {
  const found: { readonly hook: Hook; readonly station: Station; readonly among: number }[] = [];
  for (const [name, { declaration }] of chains) {
    const hook = parseHook(name, declaration);
    if (hook === null) continue;
    const { priority, side } = placeOf(name, hook);
    const station = { kind: 'chain', name, priority, side } as const;
    found.push({ hook: hook.hook, station, among: hook.priority });
  }
  for (const hook of HOOKS) {
    const priority = IPVS[hook];
    if (priority !== undefined) found.push({ hook, station: { kind: 'ipvs', priority }, among: priority });
  }
  found.sort((a, b) => a.station.priority - b.station.priority || a.among - b.among);
  return new Map(
    HOOKS.map((hook) => [hook, found.filter((each) => each.hook === hook).map(({ station }) => station)]),
  );
}

function placeOf(name: string, { type, hook, priority }: ChainHook) {
  if (type !== 'nat') return { priority, side: null };
  if (hook !== 'forward') return NAT[hook];
  throw new RangeError(`Cannot trace: chain ${name} does NAT where the kernel has none`);
}

/** The inverse of hookText: null for a chain that others jump to. */
function parseHook(name: string, declaration: string): ChainHook | null {
  if (declaration === '') return null;
  const [, typeName, hookName, priority] = /^type (\w+) hook (\w+) priority (-?\d+)$/.exec(declaration) ?? [];
  const type = (['filter', 'nat', 'route'] as const).find((known) => known === typeName);
  const hook = HOOKS.find((known) => known === hookName);
  if (type && hook) return { type, hook, priority: Number(priority) };
  throw new RangeError(`Cannot trace: chain ${name} is declared as ${declaration}`);
}
