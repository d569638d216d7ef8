import { addressBytes, familyOf } from '../../model/address.ts';
import type { ConntrackClient } from '../../netlink/conntrack-client.ts';
import type { FlowKernel, KernelAnswer, StaleFlows } from './kernel.ts';
import { familyToWire, PROTOCOLS } from './wire.ts';

/** The kernel's flows over ctnetlink. */
export class NetlinkFlowKernel implements FlowKernel {
  readonly #client: ConntrackClient;

  /** @param client stays the caller's */
  constructor(client: ConntrackClient) {
    this.#client = client;
  }

  async deleteFlows(frontends: readonly StaleFlows[], signal: AbortSignal): Promise<readonly KernelAnswer[]> {
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
