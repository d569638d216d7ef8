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

/** What the kernel said to one change. `code` is the name of the errno: `EEXIST`. */
export type KernelAnswer =
  | { readonly outcome: 'ok' }
  | { readonly outcome: 'refused'; readonly code: string };

/**
 * The links of one network namespace. Changes issued without waiting for each other are executed in the order of
 * the calls. A refusal is a value; every method throws if the channel to the kernel is broken.
 * @see rtnetlink(7)
 */
export interface LinkKernel {
  links(): Promise<readonly KernelLink[]>;
  link(name: string): Promise<KernelLink | undefined>;
  /** Of all links. */
  addresses(): Promise<readonly KernelAddress[]>;
  /** Through all links. */
  localRoutes(): Promise<readonly KernelRoute[]>;
  /** Makes a dummy link that is up. EEXIST if the name is taken, EOPNOTSUPP if the kernel has no dummy links. */
  addDummy(name: string): Promise<KernelAnswer>;
  setUp(linkIndex: number): Promise<KernelAnswer>;
  /** ENODEV if there is no such link. */
  deleteLink(linkIndex: number): Promise<KernelAnswer>;
  /** As /32 or /128. EEXIST if the link has it, ENODEV if there is no such link. */
  addAddress(linkIndex: number, address: IpAddress): Promise<KernelAnswer>;
  /** EADDRNOTAVAIL if the link has it not, ENODEV if there is no such link. */
  deleteAddress(linkIndex: number, address: IpAddress): Promise<KernelAnswer>;
  /** EEXIST if the range is local already, through any link; EINVAL if the source is not local. */
  addRoute(route: KernelRoute): Promise<KernelAnswer>;
  /** As {@link addRoute}, in place of the route of the same prefix. */
  replaceRoute(route: KernelRoute): Promise<KernelAnswer>;
  /** ESRCH if there is no such route through this link. */
  deleteRoute(linkIndex: number, prefix: string): Promise<KernelAnswer>;
}
