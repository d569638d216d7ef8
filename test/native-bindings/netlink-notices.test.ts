import { readdirSync, readlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SysError } from '../../native-bindings/errno.ts';
import { EventFd } from '../../native-bindings/event-fd.ts';
import { NetlinkNotices } from '../../native-bindings/netlink-notices.ts';
import { NETLINK_ROUTE, NetlinkSocket } from '../../native-bindings/netlink-socket.ts';

const RTNLGRP_LINK = 1;

function openDescriptors(): number {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // the descriptor of readdir itself is gone by now
    }
  });
  return targets.filter((target) => /^socket:|eventfd/.test(target)).length;
}

describe('NetlinkNotices', () => {
  test('[Symbol.asyncDispose]() ends a wait, and closes everything', async () => {
    const before = openDescriptors();
    const notices = NetlinkNotices.open(NETLINK_ROUTE, [RTNLGRP_LINK]);
    const next = notices.next();
    await new Promise((resolve) => setImmediate(resolve));
    await notices[Symbol.asyncDispose]();
    expect(await next).toBeUndefined();
    expect(await notices.next()).toBeUndefined();
    await notices[Symbol.asyncDispose]();
    expect(openDescriptors()).toBe(before);
  });

  test('next() leaves the event loop free', async () => {
    await using notices = NetlinkNotices.open(NETLINK_ROUTE, [RTNLGRP_LINK]);
    let settled = false;
    void notices.next().then(() => {
      settled = true;
    });
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(settled).toBe(false);
  });

  test('open() throws SysError for a group that does not exist', () => {
    const before = openDescriptors();
    expect(() => NetlinkNotices.open(NETLINK_ROUTE, [4000])).toThrow(SysError);
    expect(openDescriptors()).toBe(before);
  });
});

describe('EventFd', () => {
  test('signal() ends a wait in another thread', async () => {
    using wake = EventFd.open();
    using socket = NetlinkSocket.open(NETLINK_ROUTE);
    const waiting = socket.untilReadable(wake);
    wake.signal();
    await expect(waiting).resolves.toBeUndefined();
  });

  test('cannot be used after dispose', () => {
    const wake = EventFd.open();
    wake[Symbol.dispose]();
    wake[Symbol.dispose]();
    expect(() => wake.signal()).toThrow('it is closed');
  });
});
