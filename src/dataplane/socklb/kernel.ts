import type { IpAddress } from '../../model/address.ts';
import type { PackedElements, SocketMap } from './layout.ts';

/** Whether all programs of the socket balancer are attached, some of them, or none. */
export type ProgramState = 'attached' | 'partly' | 'absent';

/** The kernel's answer to one request. */
export type SocklbOutcome =
  | { readonly outcome: 'ok' }
  /** @property code the errno's name: `E2BIG` where a map is full */
  | { readonly outcome: 'refused'; readonly code: string };

/** What became of a batch: elements before the first that failed are done, the others are not. */
export interface BatchOutcome {
  readonly done: number;
  /** The errno's name; null if all is done. */
  readonly code: string | null;
}

/** The Maglev table of a Service. */
export interface ServiceTable {
  readonly serviceId: number;
  /** MAGLEV_SIZE of them. */
  readonly backendIds: Uint32Array;
}

/** UDP sockets to end: those that have one of the cookies and are connected to the endpoint. */
export interface EndedSockets {
  readonly address: IpAddress;
  /** Host order. */
  readonly port: number;
  /** The kernel's numbers of sockets; a socket may be gone, or connected elsewhere. */
  readonly cookies: ReadonlySet<bigint>;
}

/** Whether sockets can be ended. `partly`: only those of the own network namespace. */
export type SocketEnding =
  | { readonly outcome: 'supported' }
  | { readonly outcome: 'partly' | 'unsupported'; readonly reason: string };

/** Ends sockets whose endpoint is gone: a connected UDP socket would never hear of it. */
export interface SocketEnder {
  readonly ending: SocketEnding;
  /** A socket's owner hears an error once, and may connect anew. Sockets that are gone are as they should be. */
  endSockets(targets: readonly EndedSockets[], signal: AbortSignal): Promise<SocklbOutcome>;
}

/**
 * The maps and programs of the socket balancer. Elements are packed as layout.ts has them. Methods reject where the
 * kernel can't be asked at all, or the signal is aborted.
 */
export interface SocklbKernel extends SocketEnder {
  /** The cookie of the network namespace of the node; 0: the initial one, or nobody knows another. */
  readonly hostNamespace: number;
  programs(signal: AbortSignal): Promise<ProgramState>;
  /** Attaches the programs that are not, and replaces those of another version, without a gap. */
  attach(signal: AbortSignal): Promise<SocklbOutcome>;
  /** Detaches the programs and gives up the maps with all that is in them. */
  remove(signal: AbortSignal): Promise<SocklbOutcome>;
  /** All elements; in no order. */
  readAll(map: SocketMap, signal: AbortSignal): Promise<PackedElements>;
  /** @param keys packed @returns a value for each key; undefined where there is none */
  lookUp(map: SocketMap, keys: Uint8Array, signal: AbortSignal): Promise<readonly (Uint8Array | undefined)[]>;
  /** Writes elements in order, be they there or not; each is replaced at once. */
  update(map: SocketMap, elements: PackedElements, signal: AbortSignal): Promise<BatchOutcome>;
  /** Deletes elements in order; one that is not there fails with ENOENT. @param keys packed */
  delete(map: SocketMap, keys: Uint8Array, signal: AbortSignal): Promise<BatchOutcome>;
  /** The ids of the Services that have a Maglev table. */
  tables(signal: AbortSignal): Promise<readonly number[]>;
  /** Fills tables in place, or makes them, in order. Others have their turn meanwhile. */
  setTables(tables: readonly ServiceTable[], signal: AbortSignal): Promise<BatchOutcome>;
  /** Deletes tables in order; one that is not there is as it should be. Others have their turn meanwhile. */
  deleteTables(serviceIds: readonly number[], signal: AbortSignal): Promise<BatchOutcome>;
  /** The programs' counters, summed over all processors; their meaning is in native-bindings/bpf/socklb.h. */
  statistics(signal: AbortSignal): Promise<readonly bigint[]>;
}
