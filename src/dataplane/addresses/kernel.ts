import type { IpAddress } from '../../model/address.ts';

/** A link as the kernel has it. */
export interface KernelLink {
  readonly index: number;
  readonly name: string;
  /** IFLA_INFO_KIND: `dummy`, `veth`, `bridge`; null for a device without one, as `lo` or a network card. */
  readonly kind: string | null;
  /** Administratively: IFF_UP. */
  readonly isUp: boolean;
}

/** An address of a link, as the kernel has it. */
export interface KernelAddress {
  readonly linkIndex: number;
  readonly address: IpAddress;
  readonly prefixLength: number;
}

/** A route that makes a range local, put into table `local` by a program and not by the kernel itself. */
export interface KernelRoute {
  readonly linkIndex: number;
  /** `network/length` */
  readonly prefix: string;
  /** The source this node uses towards the range; null to let the kernel choose. */
  readonly source: IpAddress | null;
}

/** One change to the links, as data. */
export type LinkChange =
  /** Makes a dummy link that is up. EEXIST if the name is taken, EOPNOTSUPP if the kernel has no dummy links. */
  | { readonly change: 'addDummy'; readonly name: string }
  | { readonly change: 'setUp'; readonly linkIndex: number }
  /** ENODEV if there is no such link. */
  | { readonly change: 'deleteLink'; readonly linkIndex: number }
  /** As /32 or /128. EEXIST if the link has it, ENODEV if there is no such link. */
  | { readonly change: 'addAddress'; readonly linkIndex: number; readonly address: IpAddress }
  /** EADDRNOTAVAIL if the link has it not, ENODEV if there is no such link. */
  | { readonly change: 'deleteAddress'; readonly linkIndex: number; readonly address: IpAddress }
  /** EEXIST if the range is local already, through any link; EINVAL if the source is not local. */
  | ({ readonly change: 'addRoute' } & KernelRoute)
  /** As `addRoute`, in place of the route of the same prefix. */
  | ({ readonly change: 'replaceRoute' } & KernelRoute)
  /** ESRCH if there is no such route through this link. */
  | { readonly change: 'deleteRoute'; readonly linkIndex: number; readonly prefix: string };

/** What the kernel said to one change. `code` is the name of the errno: `EEXIST`. */
export type KernelAnswer =
  | { readonly outcome: 'ok' }
  | { readonly outcome: 'refused'; readonly code: string };

/**
 * The most changes of one call. They are one datagram of some 20 KiB, executed while the event loop waits, and their
 * answers fit into the 416 KiB of receive buffer that a socket has by default.
 */
export const MAX_CHANGES = 256;

/**
 * The links of one network namespace. A refusal is a value; every method throws if the channel to the kernel is
 * broken.
 * @see rtnetlink(7)
 */
export interface LinkKernel {
  links(): Promise<readonly KernelLink[]>;
  link(name: string): Promise<KernelLink | undefined>;
  /** Of all links. */
  addresses(): Promise<readonly KernelAddress[]>;
  /** Through all links. */
  localRoutes(): Promise<readonly KernelRoute[]>;
  /**
   * Executes changes in order, with one system call where the receive buffer allows. A refused one does not stop
   * those behind it.
   * @returns one answer per change, in the same order
   * @throws RangeError for more than {@link MAX_CHANGES}
   */
  change(changes: readonly LinkChange[]): Promise<readonly KernelAnswer[]>;
}
