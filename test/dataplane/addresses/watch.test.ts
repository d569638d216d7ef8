import { describe, expect, test } from 'vitest';
import { loadNetlinkPackage } from '../../../src/dataplane/addresses/package-client.ts';
import { watchLinks } from '../../../src/dataplane/addresses/watch.ts';
import { rtnetlinkCodec } from '../../../src/dataplane/addresses/wire.ts';
import { FakeLinkKernel } from '../../fakes/link-kernel.ts';
import { ip, LINK } from './fixtures.ts';

const netlink = await loadNetlinkPackage();
const { NEWADDR, DELADDR } = netlink.rt.MessageType;

/** A notice has the body of the request that brings it about. */
function notice(type: number, linkIndex: number, address: string): Buffer {
  const request = rtnetlinkCodec(netlink).changeRequest({
    change: 'addAddress',
    linkIndex,
    address: ip(address),
  });
  const message = { type, flags: 0, seq: 0, port: 0, data: request.body };
  return Buffer.concat(netlink.pad(netlink.formatMessage(message)));
}

type Told = { readonly kind: 'datagram'; readonly bytes: Uint8Array } | { readonly kind: 'overrun' };

/** How often `told` is worth a look, where our link has index 2 and 10.96.0.10 is wanted. */
async function looks(...told: readonly Told[]): Promise<number> {
  const kernel = new FakeLinkKernel();
  kernel.foreignLink(LINK, 'dummy');
  const left = [...told];
  const news = watchLinks(
    { next: async () => left.shift() },
    kernel,
    LINK,
    () => new Set([ip('10.96.0.10')]),
  );
  let count = 0;
  for await (const _ of news) count++;
  return count;
}

const datagram = (...messages: Buffer[]): Told => ({ kind: 'datagram', bytes: Buffer.concat(messages) });

describe('watchLinks()', () => {
  test('yields for an address that another link gets or loses', async () => {
    expect(
      await looks(datagram(notice(NEWADDR, 1, '192.0.2.10')), datagram(notice(DELADDR, 1, '192.0.2.10'))),
    ).toBe(2);
  });

  test('yields once for all that one datagram tells', async () => {
    expect(await looks(datagram(notice(NEWADDR, 1, '192.0.2.10'), notice(NEWADDR, 1, '192.0.2.11')))).toBe(1);
  });

  test('does not yield for what we have done', async () => {
    expect(
      await looks(datagram(notice(NEWADDR, 2, '10.96.0.10')), datagram(notice(DELADDR, 2, '10.96.0.11'))),
    ).toBe(0);
  });

  test('yields where notices were lost', async () => {
    expect(await looks({ kind: 'overrun' })).toBe(1);
  });
});
