import type { SyncRole } from '../ledger.ts';
import type { SyncDaemon } from './rows.ts';

/** What became of a request. `unknown`: its answer was lost. */
export type SyncAnswer =
  | { readonly outcome: 'ok' }
  | { readonly outcome: 'refused'; readonly code: string }
  | { readonly outcome: 'unknown' };

/** The daemons of connection synchronisation of one network namespace. */
export interface SyncKernel {
  /** @throws if the kernel has no IPVS, or the caller may not read it */
  daemons(signal: AbortSignal): Promise<readonly SyncDaemon[]>;
  /** EEXIST: one of this role runs. @throws if the socket is broken */
  start(daemon: SyncDaemon): Promise<SyncAnswer>;
  /** ESRCH: none of this role runs. @throws if the socket is broken */
  stop(role: SyncRole): Promise<SyncAnswer>;
  /** Of a link, by which the kernel knows it; null where there is none of this name. */
  linkIndex(name: string): number | null;
}
