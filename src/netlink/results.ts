import { ERRNO } from './uapi/errno.ts';

/** The kernel's answer, as a value. */
export interface Refusal {
  readonly outcome: 'refused';
  /** Positive. */
  readonly errno: number;
  /** Its name, such as `EEXIST`. */
  readonly code: string;
  /** The kernel's words, where it has some. */
  readonly message?: string;
}

/**
 * What became of one request of a batch. `unknown`: it was executed, but its answer was lost (receive buffer
 * overrun or time-out), so observe again. `notAttempted`: the signal was aborted before it was sent.
 */
export type RequestResult =
  | { readonly outcome: 'ok' }
  | Refusal
  | { readonly outcome: 'unknown' }
  | { readonly outcome: 'notAttempted' };

/** `inconsistent`: the table changed, or replies were lost, in each of the attempts. */
export type DumpResult<Row> =
  | { readonly outcome: 'ok'; readonly rows: readonly Row[] }
  | Refusal
  | { readonly outcome: 'inconsistent' };

/** `unknown`: no answer came. */
export type QueryResult<Row> =
  | { readonly outcome: 'ok'; readonly row: Row }
  | Refusal
  | { readonly outcome: 'unknown' };

/** What went through a client since it was made. Writes are the batches, reads are queries and dumps. */
export interface Traffic {
  readonly writeSends: number;
  readonly writeMessages: number;
  readonly writeBytes: number;
  readonly readSends: number;
  readonly receivedDatagrams: number;
  readonly receivedBytes: number;
}

/** The kernel has no such generic netlink family and could not load a module that provides it. */
export class FamilyNotFoundError extends Error {
  override readonly name = 'FamilyNotFoundError';
  readonly code = 'ENOENT';
  readonly errno = ERRNO.ENOENT;
  readonly familyName: string;

  constructor(familyName: string) {
    super(`Cannot use generic netlink family ${familyName}: the kernel does not have it`);
    this.familyName = familyName;
  }
}

/** A question without which nothing can go on was refused or not answered. */
export class NetlinkRequestError extends Error {
  override readonly name = 'NetlinkRequestError';
  /** As `Refusal`; undefined if there was no answer. */
  readonly code: string | undefined;
  readonly errno: number | undefined;

  constructor(action: string, refusal: Refusal | undefined) {
    const wayOut =
      refusal?.code === 'EPERM' ? ': run as root, or with CAP_NET_ADMIN in the initial user namespace' : '';
    super(`Cannot ${action}: ${refusal?.code ?? 'no answer'}${wayOut}`);
    this.code = refusal?.code;
    this.errno = refusal?.errno;
  }
}
