import type { IpAddress } from '../../model/address.ts';
import type { LinkKernel } from './kernel.ts';
import { indexAfter, type LinkNews, newsOf, type OurLink } from './notices.ts';
import { loadNetlinkPackage } from './package-client.ts';
import { noticesIn } from './wire.ts';

/** The multicast groups whose notices are read here. @see include/uapi/linux/rtnetlink.h RTNLGRP_* */
export const NOTICE_GROUPS = { LINK: 1, IPV4_IFADDR: 5, IPV6_IFADDR: 9 } as const;

/** A member of {@link NOTICE_GROUPS}. The bytes of a datagram are valid until the next call. */
export interface NoticeSource {
  /** undefined once disposed of; any other kind than `datagram` means that notices were lost. */
  next(): Promise<
    { readonly kind: 'datagram'; readonly bytes: Uint8Array } | { readonly kind: string } | undefined
  >;
}

/**
 * Yields whenever the links or their addresses have become other than we made them, once for all that was told in one
 * datagram, and when notices were lost, which may have been of our link. Ends when the source is disposed of.
 * @param name of our link
 * @param wanted the addresses that we want bound to it now
 * @throws what the source and the kernel throw when their channel is broken
 */
export async function* watchLinks(
  source: NoticeSource,
  kernel: Pick<LinkKernel, 'link'>,
  name: string,
  wanted: () => ReadonlySet<IpAddress>,
): AsyncGenerator<LinkNews> {
  // Loaded here, as by the client: whoever never watches pays nothing.
  const netlink = await loadNetlinkPackage();
  let index = (await kernel.link(name))?.index;
  for (let told = await source.next(); told !== undefined; told = await source.next()) {
    if (!('bytes' in told)) {
      index = (await kernel.link(name))?.index;
      yield 'ours';
      continue;
    }
    let news: LinkNews | null = null;
    for (const notice of noticesIn(netlink, told.bytes)) {
      const ours: OurLink = { name, index, addresses: wanted() };
      if (news !== 'ours') news = newsOf(notice, ours) ?? news;
      index = indexAfter(notice, ours);
    }
    if (news) yield news;
  }
}
