import type { IpAddress } from '../../model/address.ts';
import { unreachable } from '../../model/brand.ts';
import { specialAddress } from '../../model/cidr.ts';
import type { KernelAddress, KernelLink } from './kernel.ts';

/** What the kernel tells of links and addresses, after it has happened. */
export type LinkNotice =
  | { readonly notice: 'addressAdded' | 'addressRemoved'; readonly address: KernelAddress }
  /** `linkChanged` tells of a new link too. */
  | { readonly notice: 'linkChanged' | 'linkRemoved'; readonly link: KernelLink };

/** How our link is meant to be. */
export interface OurLink {
  readonly name: string;
  /** undefined while there is none. */
  readonly index: number | undefined;
  /** What we want bound to it. */
  readonly addresses: ReadonlySet<IpAddress>;
}

/** What is other than we made it, or than it was: our link and what is bound to it, or addresses of other links. */
export type LinkNews = 'ours' | 'others';

/** @returns null for what is no news; see {@link isNews} */
export function newsOf(notice: LinkNotice, ours: OurLink): LinkNews | null {
  if (!isNews(notice, ours)) return null;
  const isAddress = notice.notice === 'addressAdded' || notice.notice === 'addressRemoved';
  return isAddress && notice.address.linkIndex !== ours.index ? 'others' : 'ours';
}

/**
 * Whether a notice tells of something that we do not want already, so that looking again is worth it. Our own changes
 * are no news, whoever's process id they bear (IPv6 addresses bear none): they are what we want. Nor is anything about
 * other links but their addresses.
 */
export function isNews(notice: LinkNotice, ours: OurLink): boolean {
  switch (notice.notice) {
    case 'addressAdded':
    case 'addressRemoved': {
      const { linkIndex, address } = notice.address;
      if (linkIndex !== ours.index) return true;
      if (ours.addresses.has(address)) return notice.notice === 'addressRemoved';
      // The kernel gives each link that is up one of fe80::/10 by itself.
      return notice.notice === 'addressAdded' && specialAddress(address) !== 'link-local';
    }
    case 'linkChanged': {
      const { index, name, kind, isUp } = notice.link;
      if (index !== ours.index && name !== ours.name) return false;
      return name !== ours.name || kind !== 'dummy' || !isUp;
    }
    case 'linkRemoved':
      return notice.link.name === ours.name;
    default:
      return unreachable(notice);
  }
}

/** The index of our link after a notice. */
export function indexAfter(notice: LinkNotice, ours: OurLink): number | undefined {
  switch (notice.notice) {
    case 'addressAdded':
    case 'addressRemoved':
      return ours.index;
    case 'linkChanged':
    case 'linkRemoved': {
      const { index, name } = notice.link;
      if (notice.notice === 'linkChanged' && name === ours.name) return index;
      return index === ours.index ? undefined : ours.index;
    }
    default:
      return unreachable(notice);
  }
}
