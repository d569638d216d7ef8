import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { NETLINK_GENERIC, NetlinkSocket } from '../../native-bindings/netlink-socket.ts';
import { readTraffic } from '../../src/dataplane/ipvs/statistics.ts';
import { GenlClient } from '../../src/netlink/client.ts';
import { IPVS_GENL_NAME } from '../../src/netlink/uapi/ipvs.ts';
import { openEcho } from './echo.ts';
import { describeWithIpvs, run } from './probe.ts';

const never = new AbortController().signal;
const PATIENCE = { timeout: 30_000, interval: 200 };
const FRONTEND = { address: '10.7.0.1', port: 80 };
const BACKEND = { address: '10.7.1.1', port: 8080 };

/** Connections, packets and bytes in and out of each virtual server, as ipvsadm prints them. */
function ipvsadmCounters(): Readonly<Record<string, readonly number[]>> {
  const lines = run(['ipvsadm', '-Ln', '--stats', '--exact']).matchAll(
    /^(TCP|UDP|FWM) +(\S+)((?: +\d+){5})/gm,
  );
  return Object.fromEntries(
    [...lines].map(([, kind, at, counters = '']) => [
      `${kind} ${at}`,
      counters.trim().split(/ +/).map(Number),
    ]),
  );
}

describeWithIpvs('readTraffic()', () => {
  let socket: NetlinkSocket;

  beforeEach(() => {
    run(['ipvsadm', '-C']);
    socket = NetlinkSocket.open(NETLINK_GENERIC);
  });

  afterEach(() => {
    run(['ipvsadm', '-C']);
    socket[Symbol.dispose]();
  });

  it('equals what ipvsadm counts, after real connections', async () => {
    run(['ipvsadm', '-A', '-t', '10.7.0.1:80', '-s', 'rr']);
    run(['ipvsadm', '-a', '-t', '10.7.0.1:80', '-r', '10.7.1.1:8080', '-m']);
    run(['ipvsadm', '-A', '-u', '[fd00:7::1]:53', '-s', 'rr']);
    await using echo = await openEcho(FRONTEND, BACKEND);
    for (const text of ['one', 'two', 'three']) {
      await echo.connect();
      expect(await echo.ask(text)).toBe(text);
      await echo.close();
    }
    // The kernel sums up what each processor has counted every two seconds.
    await vi.waitFor(() => expect(ipvsadmCounters()['TCP 10.7.0.1:80']?.[0]).toBe(3), PATIENCE);
    const client = GenlClient.open(socket, IPVS_GENL_NAME);
    const ours = async () =>
      (await readTraffic(client, never)).map(
        ({ key, connections, inPackets, outPackets, inBytes, outBytes }) =>
          [key, [connections, inPackets, outPackets, inBytes, outBytes]] as const,
      );
    await vi.waitFor(async () => {
      const theirs = ipvsadmCounters();
      expect(Object.fromEntries(await ours())).toEqual(theirs);
      for (const counter of theirs['TCP 10.7.0.1:80'] ?? []) expect(counter).toBeGreaterThan(0);
      expect(theirs['UDP [fd00:7::1]:53']).toEqual([0, 0, 0, 0, 0]);
    }, PATIENCE);
  });
});
