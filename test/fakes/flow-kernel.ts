import type { FlowEndpoint, FlowKernel, KernelAnswer, StaleFlows } from '../../src/dataplane/ipvs/kernel.ts';
import { realServerKey, type VirtualServerKey, virtualServerKey } from '../../src/model/virtual-server.ts';

/** One client of a frontend, and who answers it. */
export interface Flow {
  readonly frontend: VirtualServerKey;
  readonly endpoint: FlowEndpoint;
}

/** The flows of clients that never pause. @see net/netfilter/nf_conntrack_netlink.c */
export class FakeFlowKernel implements FlowKernel {
  /** Frontends asked about so far. */
  writes = 0;
  flows: readonly Flow[];
  /** Whether the socket is broken. */
  broken = false;
  /** The errno name for all requests, as of a kernel that does not show its flows. */
  refusal: string | undefined;

  constructor(flows: readonly Flow[] = []) {
    this.flows = flows;
  }

  async deleteFlows(frontends: readonly StaleFlows[], signal: AbortSignal): Promise<readonly KernelAnswer[]> {
    if (this.broken) throw new Error('EBADF');
    return frontends.map((stale): KernelAnswer => {
      if (signal.aborted) return { outcome: 'notAttempted' };
      this.writes += 1;
      if (this.refusal !== undefined) return { outcome: 'refused', code: this.refusal };
      this.flows = this.flows.filter((flow) => !isStale(flow, stale));
      return { outcome: 'ok' };
    });
  }
}

function isStale({ frontend, endpoint }: Flow, { protocol, address, port, keep }: StaleFlows): boolean {
  if (frontend !== virtualServerKey({ kind: 'address', protocol, address, port })) return false;
  return !keep.some((kept) => realServerKey(kept) === realServerKey(endpoint));
}
