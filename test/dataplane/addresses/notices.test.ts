import { describe, expect, test } from 'vitest';
import { indexAfter, isNews, type LinkNotice } from '../../../src/dataplane/addresses/notices.ts';
import { ip, LINK } from './fixtures.ts';

const OURS = { name: LINK, index: 7, addresses: new Set([ip('10.96.0.10'), ip('fd00::10')]) };

const about = (
  notice: 'addressAdded' | 'addressRemoved',
  linkIndex: number,
  address: string,
): LinkNotice => ({
  notice,
  address: { linkIndex, address: ip(address), prefixLength: 32 },
});
const link = (
  notice: 'linkChanged' | 'linkRemoved',
  index: number,
  name: string,
  isUp = true,
): LinkNotice => ({
  notice,
  link: { index, name, kind: 'dummy', isUp },
});

describe('isNews()', () => {
  const cases: readonly { readonly name: string; readonly notice: LinkNotice; readonly news: boolean }[] = [
    { name: 'a new address of another link', notice: about('addressAdded', 2, '192.0.2.10'), news: true },
    { name: 'a lost address of another link', notice: about('addressRemoved', 2, '192.0.2.10'), news: true },
    {
      name: 'an address of ours on another link',
      notice: about('addressAdded', 2, '10.96.0.10'),
      news: true,
    },
    { name: 'what we have bound', notice: about('addressAdded', 7, '10.96.0.10'), news: false },
    { name: 'what we have bound, IPv6', notice: about('addressAdded', 7, 'fd00::10'), news: false },
    { name: 'what we have let go', notice: about('addressRemoved', 7, '10.96.0.11'), news: false },
    { name: 'a wanted address that is gone', notice: about('addressRemoved', 7, '10.96.0.10'), news: true },
    { name: 'an address nobody wants', notice: about('addressAdded', 7, '10.96.0.11'), news: true },
    { name: "the kernel's own address", notice: about('addressAdded', 7, 'fe80::1'), news: false },
    { name: 'our link, up', notice: link('linkChanged', 7, LINK), news: false },
    { name: 'our link, made anew', notice: link('linkChanged', 8, LINK), news: false },
    { name: 'our link, down', notice: link('linkChanged', 7, LINK, false), news: true },
    { name: 'our link, renamed', notice: link('linkChanged', 7, 'else0'), news: true },
    { name: 'our link, gone', notice: link('linkRemoved', 7, LINK), news: true },
    { name: 'another link, new', notice: link('linkChanged', 2, 'veth7'), news: false },
    { name: 'another link, gone', notice: link('linkRemoved', 2, 'veth7'), news: false },
  ];
  test.each(cases)('$name: $news', ({ notice, news }) => {
    expect(isNews(notice, OURS)).toBe(news);
  });

  test('a link of our name that is no dummy', () => {
    const notice: LinkNotice = {
      notice: 'linkChanged',
      link: { index: 8, name: LINK, kind: 'bridge', isUp: true },
    };
    expect(isNews(notice, OURS)).toBe(true);
  });
});

describe('indexAfter()', () => {
  test.each([
    { name: 'a new one', notice: link('linkChanged', 8, LINK), index: 8 },
    { name: 'another link', notice: link('linkChanged', 2, 'eth0'), index: 7 },
    { name: 'a new name', notice: link('linkChanged', 7, 'else0'), index: undefined },
    { name: 'gone', notice: link('linkRemoved', 7, LINK), index: undefined },
    { name: 'another gone', notice: link('linkRemoved', 2, 'eth0'), index: 7 },
    { name: 'an address', notice: about('addressAdded', 2, '192.0.2.1'), index: 7 },
  ])('$name: $index', ({ notice, index }) => {
    expect(indexAfter(notice, OURS)).toBe(index);
  });
});
