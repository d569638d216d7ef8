import { addressBytes, familyOf, type IpFamily } from '../../model/address.ts';
import type { ConntrackClient } from '../../netlink/conntrack-client.ts';
import type { FlowKernel, KernelAnswer, StaleFlows } from './kernel.ts';
import { familyToWire, PROTOCOLS } from './wire.ts';

/** The kernel's flows over ctnetlink. */
export class NetlinkFlowKernel implements FlowKernel {
  readonly #client: ConntrackClient;
  readonly #deleted: Record<IpFamily, number> = { IPv4: 0, IPv6: 0 };

  /** @param client stays the caller's */
  constructor(client: ConntrackClient) {
    this.#client = client;
  }

  /** How many flows have been deleted so far. */
  get deleted(): Readonly<Record<IpFamily, number>> {
    return this.#deleted;
  }

  async deleteFlows(frontends: readonly StaleFlows[], signal: AbortSignal): Promise<readonly KernelAnswer[]> {
    const answers = new Map<StaleFlows, KernelAnswer>();
    for (const family of ['IPv4', 'IPv6'] as const) {
      const own = frontends.filter(({ address }) => familyOf(address) === family);
      const before = this.#client.traffic().deletions;
      for (const [i, answer] of (await this.#delete(own, signal)).entries()) {
        const frontend = own[i];
        if (frontend) answers.set(frontend, answer);
      }
      this.#deleted[family] += this.#client.traffic().deletions - before;
    }
    return frontends.map((frontend) => answers.get(frontend) ?? { outcome: 'notAttempted' });
  }

  async #delete(frontends: readonly StaleFlows[], signal: AbortSignal): Promise<readonly KernelAnswer[]> {
    if (frontends.length === 0) return [];
    const selections = frontends.map(({ protocol, address, port, keep }) => ({
      family: familyToWire(familyOf(address)),
      protocol: PROTOCOLS[protocol],
      address: addressBytes(address),
      port,
      keep: keep.map((endpoint) => ({ address: addressBytes(endpoint.address), port: endpoint.port })),
    }));
    return this.#client.deleteFlows(selections, signal);
  }
}
