/** What one receive gave. `overrun`: the kernel dropped replies (ENOBUFS); what is still queued can be read. */
export type Received =
  | { readonly kind: 'datagram'; readonly bytes: Uint8Array }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'overrun' }
  | { readonly kind: 'truncated' };

/** A netlink socket connected to the kernel. A broken socket throws. */
export interface Transport {
  /** Sends one datagram. The kernel has executed all of its requests when this returns. */
  send(bytes: Uint8Array): void;
  /** The next datagram, waiting for it at most so long. The bytes may be overwritten by the next call. */
  receive(timeoutMs: number): Received;
}
