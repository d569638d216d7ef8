import type { IpAddress } from '../../model/address.ts';
import type { Protocol } from '../../model/port.ts';
import type { Scheduler } from '../../model/scheduler.ts';
import type { VirtualServerIdentity } from '../../model/virtual-server.ts';
import type { ConnectionCounts, RealServerConfig, VirtualServerConfig } from './rows.ts';

/** A virtual server as the kernel has it, normalised; it knows no owner. */
export interface KernelVirtualServer {
  readonly identity: VirtualServerIdentity;
  readonly config: VirtualServerConfig;
  readonly realServers: readonly KernelRealServer[];
}

export interface KernelRealServer extends ConnectionCounts {
  readonly config: RealServerConfig;
}

/** One IPVS command. @see include/uapi/linux/ip_vs.h IPVS_CMD_* */
export type KernelRequest =
  | {
      readonly command: 'newService' | 'setService';
      readonly identity: VirtualServerIdentity;
      readonly config: VirtualServerConfig;
    }
  | { readonly command: 'delService'; readonly identity: VirtualServerIdentity }
  | {
      readonly command: 'newDest' | 'setDest' | 'delDest';
      readonly identity: VirtualServerIdentity;
      readonly realServer: RealServerConfig;
    };

/**
 * What became of one request. `unknown`: sent, but its answer was lost, only a dump can tell. `notAttempted`: the
 * signal was aborted first.
 */
export type KernelAnswer =
  | { readonly outcome: 'ok' }
  | { readonly outcome: 'refused'; readonly code: string }
  | { readonly outcome: 'unknown' }
  | { readonly outcome: 'notAttempted' };

export interface KernelState {
  readonly virtualServers: readonly KernelVirtualServer[];
  /** Schedulers that a request of this process was refused for (ENOENT): the kernel tried to load them and failed. */
  readonly unavailableSchedulers: ReadonlySet<Scheduler>;
}

/** The IPVS table of one network namespace. */
export interface IpvsKernel {
  /** Reads the whole table. @throws if the kernel has no IPVS, or the caller may not read it */
  dump(signal: AbortSignal): Promise<KernelState>;
  /** Reads these virtual servers as they are now; those that do not exist are missing. @throws as `dump` */
  read(identities: readonly VirtualServerIdentity[], signal: AbortSignal): Promise<KernelState>;
  /** Whether there is such a virtual server now. @throws as `dump` */
  has(identity: VirtualServerIdentity): Promise<boolean>;
  /**
   * Executes in order, one answer per request; a refusal does not stop those after it.
   * @throws if the socket is broken: then nothing is known of `requests`
   */
  execute(requests: readonly KernelRequest[], signal: AbortSignal): Promise<readonly KernelAnswer[]>;
}

/** Where the flows of a client go. */
export interface FlowEndpoint {
  readonly address: IpAddress;
  /** Host order. */
  readonly port: number;
}

/** The flows of the clients of one frontend, all but those that one of `keep` answers. */
export interface StaleFlows {
  readonly protocol: Protocol;
  readonly address: IpAddress;
  readonly port: number;
  readonly keep: readonly FlowEndpoint[];
}

/** The connection tracking of one network namespace. */
export interface FlowKernel {
  /**
   * Deletes flows; none to delete is success.
   * @returns one answer per frontend, in the same order
   * @throws if the socket is broken
   */
  deleteFlows(frontends: readonly StaleFlows[], signal: AbortSignal): Promise<readonly KernelAnswer[]>;
}

/**
 * The scheduler that a refusal shows to be missing: ENOENT answers a service command only for a scheduler (or
 * persistence engine, which we never ask for) that can't be loaded; a missing service is ESRCH.
 * @see net/netfilter/ipvs/ip_vs_ctl.c ip_vs_add_service, ip_vs_edit_service
 */
export function missingScheduler(request: KernelRequest, answer: KernelAnswer): Scheduler | undefined {
  if (answer.outcome !== 'refused' || answer.code !== 'ENOENT') return undefined;
  if (request.command !== 'newService' && request.command !== 'setService') return undefined;
  return request.config.persistenceEngine === null ? request.config.scheduler : undefined;
}
