import { tableSize } from '../../test/kernel/kube/measure.ts';
import {
  type NftablesNotices,
  openIpvsLook,
  openNftablesNotices,
} from '../../test/kernel/kube/measure-kernel.ts';
import { run } from '../../test/kernel/probe.ts';

/** What a candidate has put into the kernel, in this network namespace. */
export interface KernelView extends Disposable {
  /** Whether there are so many virtual servers with so many real servers in all. */
  isFull(virtualServers: number, realServers: number): boolean;
  /** Whether connections to this ClusterIP go to these endpoints, and to no others. */
  serves(clusterIP: string, endpoints: readonly string[]): Promise<boolean>;
  /**
   * Begins to look for a change of one endpoint: each call of what is returned looks once, quickly.
   * Gives the time when it was seen, as `performance.now()`, once it has been.
   */
  watch(clusterIP: string, endpoint: string, isAdded: boolean): () => Promise<number | undefined>;
  /** Whether looking costs so much that it should be done after a sync only. */
  readonly isCostly: boolean;
}

/** Port of every Service of the content. */
const PORT = 80;

export function openIpvsView(): KernelView {
  const look = openIpvsLook();
  const served = async (clusterIP: string) =>
    [...(await look.realServers(clusterIP, PORT))]
      .filter(([, weight]) => weight > 0)
      .map(([address]) => address);
  return {
    isCostly: false,
    isFull: (virtualServers, realServers) => {
      const size = tableSize();
      return size.virtualServers >= virtualServers && size.realServers >= realServers;
    },
    serves: async (clusterIP, endpoints) => isSame(await served(clusterIP), endpoints),
    watch: (clusterIP, endpoint, isAdded) => async () =>
      (await served(clusterIP)).includes(endpoint) === isAdded ? performance.now() : undefined,
    [Symbol.dispose]: () => look[Symbol.dispose](),
  };
}

/** An endpoint among those of a chain, with and without affinity: `0 : 100.64.0.8 . 8080` or `0 : goto NAME`. */
const ENDPOINT = /\b\d+ : (?:goto endpoint-\S+__)?([\da-f.:]+)(?: \. |\/)\d+/g;

/** The table of kube-proxy's nftables mode: a map from addresses to chains, each of which has the endpoints. */
export function openNftablesView(): KernelView {
  const list = (...what: readonly string[]) => run(['nft', 'list', ...what]);
  const chains = new Map<string, string>();
  const chainOf = (clusterIP: string): string | undefined => {
    const found = new RegExp(`\\b${clusterIP} \\. tcp \\. ${PORT} : goto ([^\\s,]+)`);
    const chain = chains.get(clusterIP) ?? found.exec(list('map', 'ip', 'kube-proxy', 'service-ips'))?.[1];
    if (chain !== undefined) chains.set(clusterIP, chain);
    return chain;
  };
  const served = (clusterIP: string) => {
    const chain = chainOf(clusterIP);
    return chain === undefined ? [] : endpointsIn(list('chain', 'ip', 'kube-proxy', chain));
  };
  let notices: NftablesNotices | undefined;
  return {
    isCostly: true,
    isFull: (virtualServers, realServers) => {
      const table = list('ruleset');
      const services = table.match(/ : goto service-/g) ?? [];
      return services.length >= virtualServers && endpointsIn(table).length >= realServers;
    },
    serves: async (clusterIP, endpoints) => isSame(served(clusterIP), endpoints),
    watch: (clusterIP, endpoint, isAdded) => {
      notices ??= openNftablesNotices();
      const { take } = notices;
      chainOf(clusterIP);
      // What is known by now is about an earlier change.
      take();
      return async () => {
        if (!take()) return undefined;
        const noticedMs = performance.now();
        return served(clusterIP).includes(endpoint) === isAdded ? noticedMs : undefined;
      };
    },
    [Symbol.dispose]: () => notices?.[Symbol.dispose](),
  };
}

function endpointsIn(text: string): readonly string[] {
  return [...text.matchAll(ENDPOINT)].map(([, address = '']) => address);
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return new Set(a).symmetricDifference(new Set(b)).size === 0;
}
