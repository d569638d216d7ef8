import { afterEach, beforeEach, expect, it } from 'vitest';
import { NETLINK_GENERIC, NetlinkSocket } from '../../native-bindings/netlink-socket.ts';
import type { Dataplane } from '../../src/dataplane/dataplane.ts';
import { writeSysctlFile } from '../../src/dataplane/ipvs/apply.ts';
import { NetlinkIpvsKernel } from '../../src/dataplane/ipvs/client.ts';
import { createIpvsDataplane } from '../../src/dataplane/ipvs/index.ts';
import { readSysctlFile } from '../../src/dataplane/ipvs/observe.ts';
import type { IpvsOp } from '../../src/dataplane/ipvs/ops.ts';
import type { IpvsRows } from '../../src/dataplane/ipvs/rows.ts';
import { canonicalText } from '../../src/dataplane/ipvs/text.ts';
import { SCHEDULERS } from '../../src/model/scheduler.ts';
import type { VirtualServer } from '../../src/model/virtual-server.ts';
import { GenlClient } from '../../src/netlink/client.ts';
import { IPVS_GENL_NAME } from '../../src/netlink/uapi/ipvs.ts';
import {
  ALL_OPTIONS,
  desiredState,
  endpointOf,
  NOW_MS,
  scheduler,
  virtualServer,
} from '../dataplane/ipvs/build.ts';
import { MemoryLedger } from '../fakes/ledger.ts';
import { openEcho } from './echo.ts';
import { describeWithIpvs, run } from './probe.ts';

const never = new AbortController().signal;
const VIP = '10.96.250.1';
const POD = '10.1.250.1';

/** As `ipvsadm -Sn` prints them; made with `ipvsadm -R`. */
const FOREIGN = [
  '-A -t 192.0.2.7:0 -s wlc -p 360 -M 255.255.255.0',
  '-a -t 192.0.2.7:0 -r 10.1.250.9:0 -m -w 3 -x 100 -y 50',
  '-A -u 192.0.2.8:53 -s sh -b sh-fallback,sh-port -o',
  '-a -u 192.0.2.8:53 -r 10.1.250.9:53 -g -w 0',
  '-A -t [fd00:96::7]:443 -s wrr -p 60 -M 64',
  '-a -t [fd00:96::7]:443 -r [fd00:1::9]:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum',
  '-A -f 17 -s rr',
  '-a -f 17 -r 10.1.250.9:0 -m -w 1',
  '-A -f 17 -6 -s lc',
];

describeWithIpvs('ipvs on a kernel', () => {
  let socket: NetlinkSocket;
  let client: GenlClient;
  let ledger: MemoryLedger;
  let nowMs: number;
  let dataplane: Dataplane<IpvsRows, IpvsOp>;

  beforeEach(() => {
    run(['ipvsadm', '-C']);
    socket = NetlinkSocket.open(NETLINK_GENERIC);
    client = GenlClient.open(socket, IPVS_GENL_NAME);
    ledger = new MemoryLedger();
    nowMs = NOW_MS;
    dataplane = createIpvsDataplane(
      { kernel: new NetlinkIpvsKernel(client), ledger, nowMs: () => nowMs },
      ALL_OPTIONS,
    );
  });

  afterEach(() => {
    run(['ipvsadm', '-C']);
    socket[Symbol.dispose]();
  });

  const table = () => run(['ipvsadm', '-Sn']).split('\n').filter(Boolean).sort();

  async function planFor(virtualServers: readonly VirtualServer[]) {
    const { rows } = dataplane.project(desiredState(virtualServers));
    return dataplane.plan(await dataplane.observe(never), rows);
  }

  /** One sync. */
  async function sync(virtualServers: readonly VirtualServer[]) {
    const plan = await planFor(virtualServers);
    const before = client.traffic();
    const made = await dataplane.apply(plan.make, never);
    const broken = await dataplane.apply(plan.break, never);
    return {
      ops: [...plan.make, ...plan.break].map(({ op }) => op),
      refused: [...made.refused, ...broken.refused].map(({ message }) => message),
      conflicts: plan.conflicts.map(({ reason }) => reason),
      writes: client.traffic().writeMessages - before.writeMessages,
    };
  }

  async function teardown() {
    const plan = dataplane.teardown(await dataplane.observe(never));
    const report = await dataplane.apply(plan.break, never);
    expect(report.refused).toEqual([]);
  }

  it('makes every family, protocol and affinity, then writes nothing, then removes it', async () => {
    const wanted = [
      virtualServer(`TCP ${VIP}:80`, {
        realServers: [endpointOf(`${POD}:8080`), endpointOf('10.1.250.2:8080', 5)],
      }),
      virtualServer(`UDP ${VIP}:53`, { realServers: [endpointOf(`${POD}:53`)] }),
      virtualServer(`SCTP ${VIP}:9`, { persistenceTimeoutSeconds: 10_800 }),
      virtualServer('TCP [fd00:96::1]:80', {
        persistenceTimeoutSeconds: 60,
        realServers: [endpointOf('[fd00:1::1]:8080')],
      }),
      virtualServer('UDP [fd00:96::1]:53', { realServers: [endpointOf('[fd00:1::1]:53')] }),
      virtualServer('SCTP [fd00:96::1]:9'),
    ];
    expect((await sync(wanted)).refused).toEqual([]);
    expect(table()).toEqual(
      [
        `-A -t ${VIP}:80 -s rr`,
        `-a -t ${VIP}:80 -r ${POD}:8080 -m -w 1`,
        `-a -t ${VIP}:80 -r 10.1.250.2:8080 -m -w 5`,
        `-A -u ${VIP}:53 -s rr`,
        `-a -u ${VIP}:53 -r ${POD}:53 -m -w 1`,
        `-A --sctp-service ${VIP}:9 -s rr -p 10800`,
        '-A -t [fd00:96::1]:80 -s rr -p 60',
        '-a -t [fd00:96::1]:80 -r [fd00:1::1]:8080 -m -w 1',
        '-A -u [fd00:96::1]:53 -s rr',
        '-a -u [fd00:96::1]:53 -r [fd00:1::1]:53 -m -w 1',
        '-A --sctp-service [fd00:96::1]:9 -s rr',
      ].sort(),
    );
    const writesBefore = ledger.writes;
    expect(await sync(wanted)).toEqual({ ops: [], refused: [], conflicts: [], writes: 0 });
    expect(ledger.writes).toBe(writesBefore);
    await teardown();
    expect(table()).toEqual([]);
  });

  it('changes one endpoint by one write, and scheduler and affinity in place', async () => {
    const before = virtualServer(`TCP ${VIP}:80`, { realServers: [endpointOf(`${POD}:8080`)] });
    await sync([before]);
    const scaled = { ...before, realServers: [...before.realServers, endpointOf('10.1.250.2:8080')] };
    expect(await sync([scaled])).toMatchObject({ ops: ['addRealServer'], writes: 1 });
    const changed = { ...scaled, scheduler: scheduler('wlc'), persistenceTimeoutSeconds: 600 };
    expect(await sync([changed])).toMatchObject({ ops: ['setVirtualServer'], writes: 1 });
    expect(table()[0]).toBe(`-A -t ${VIP}:80 -s wlc -p 600`);
    expect(await sync([before])).toMatchObject({ ops: ['setVirtualServer', 'deleteRealServer'], writes: 2 });
    expect(await sync([before])).toMatchObject({ ops: [], writes: 0 });
  });

  it('sends at least 64 messages at once when there are many', async () => {
    const realServers = [1, 2, 3, 4, 5].map((host) => endpointOf(`10.1.250.${host}:8080`));
    const wanted = Array.from({ length: 200 }, (_, i) =>
      virtualServer(`TCP ${VIP}:${1 + i}`, { realServers }),
    );
    const before = client.traffic();
    expect(await sync(wanted)).toMatchObject({ refused: [], writes: 1200 });
    expect(client.traffic().writeSends - before.writeSends).toBeLessThanOrEqual(1200 / 64);
    const again = client.traffic();
    expect(await sync(wanted)).toMatchObject({ ops: [], writes: 0 });
    expect(client.traffic().writeSends).toBe(again.writeSends);
  });

  it('uses every scheduler the kernel has, and the default for one that it has not', async () => {
    const names = [...SCHEDULERS, 'nosuch'];
    const wanted = names.map((name, i) =>
      virtualServer(`TCP ${VIP}:${i + 1}`, { scheduler: scheduler(name) }),
    );
    const first = await sync(wanted);
    expect(first.refused).toContain(
      `Cannot add virtual server TCP ${VIP}:${names.length}: ENOENT; this kernel does not have scheduler nosuch (module ip_vs_nosuch)`,
    );
    const second = await sync(wanted);
    expect(second).toMatchObject({ refused: [], writes: first.refused.length });
    expect(table()).toContain(`-A -t ${VIP}:${names.length} -s rr`);
    expect(table()).toContain(`-A -t ${VIP}:${names.indexOf('mh') + 1} -s mh`);
    expect(await sync(wanted)).toMatchObject({ ops: [], conflicts: second.conflicts });
  });

  it('reads what others made, and leaves it as it is', async () => {
    run(['ipvsadm', '-R'], `${FOREIGN.join('\n')}\n`);
    const made = table();
    const rows = await dataplane.observe(never);
    expect(canonicalText({ ...rows, sysctls: null }).split('\n')).toEqual([
      'TCP 192.0.2.7:0 foreign, scheduler wlc, persistent 360 s, netmask 255.255.255.0',
      '  -> 10.1.250.9:0 weight 3, upper threshold 100, lower threshold 50',
      'UDP 192.0.2.8:53 foreign, scheduler sh, flags onePacket flag-1 flag-2',
      '  -> 10.1.250.9:53 weight 0, forwarding direct',
      'TCP [fd00:96::7]:443 foreign, scheduler wrr, persistent 60 s, netmask 64',
      '  -> [fd00:1::9]:443 weight 1, forwarding tunnel, tunnel gue port 6080 csum',
      'FWM4 17 foreign, scheduler rr',
      '  -> 10.1.250.9:0 weight 1',
      'FWM6 17 foreign, scheduler lc',
      '',
    ]);
    await sync([virtualServer(`TCP ${VIP}:80`)]);
    await teardown();
    expect(table()).toEqual(made);
  });

  it('adopts what is exactly as wanted without a write, and names what is not', async () => {
    run(
      ['ipvsadm', '-R'],
      `-A -t ${VIP}:80 -s rr\n-a -t ${VIP}:80 -r ${POD}:8080 -m -w 1\n-A -t ${VIP}:81 -s wlc\n`,
    );
    const realServers = [endpointOf(`${POD}:8080`)];
    const wanted = [virtualServer(`TCP ${VIP}:80`, { realServers }), virtualServer(`TCP ${VIP}:81`)];
    const { ops, writes, conflicts } = await sync(wanted);
    expect({ ops, writes }).toEqual({ ops: ['adoptVirtualServer'], writes: 0 });
    expect(conflicts).toEqual([expect.stringMatching(`^TCP ${VIP}:81 belongs to somebody else`)]);
    await teardown();
    expect(table()).toEqual([`-A -t ${VIP}:81 -s wlc`]);
  });

  it('takes nothing from one who was faster', async () => {
    const wanted = [virtualServer(`TCP ${VIP}:80`, { realServers: [endpointOf(`${POD}:8080`)] })];
    const { make } = await planFor(wanted);
    run(['ipvsadm', '-A', '-t', `${VIP}:80`, '-s', 'wlc']);
    const report = await dataplane.apply(make, never);
    expect(report.refused.map(({ message }) => message)).toEqual([
      `Cannot add virtual server TCP ${VIP}:80: EEXIST; somebody else has made it meanwhile`,
      `Cannot add real server ${POD}:8080 to TCP ${VIP}:80: EEXIST; its virtual server was refused`,
    ]);
    expect(table()).toEqual([`-A -t ${VIP}:80 -s wlc`]);
    await teardown();
    expect(table()).toEqual([`-A -t ${VIP}:80 -s wlc`]);
  });

  it('sets sysctls, and restores those that are as it set them', async () => {
    writeSysctlFile('net.ipv4.vs.conntrack', '0');
    writeSysctlFile('net.ipv4.vs.expire_nodest_conn', '0');
    await sync([]);
    expect(readSysctlFile('net.ipv4.vs.conntrack')).toBe('1');
    expect(readSysctlFile('net.ipv4.vs.expire_nodest_conn')).toBe('1');
    writeSysctlFile('net.ipv4.vs.expire_nodest_conn', '2');
    await teardown();
    expect(readSysctlFile('net.ipv4.vs.conntrack')).toBe('0');
    expect(readSysctlFile('net.ipv4.vs.expire_nodest_conn')).toBe('2');
    writeSysctlFile('net.ipv4.vs.expire_nodest_conn', '0');
  });

  it('keeps a real server while a connection is open, and gives its weight back with the connection alive', async () => {
    await using echo = await openEcho({ address: VIP, port: 80 }, { address: POD, port: 8080 });
    const full = virtualServer(`TCP ${VIP}:80`, { realServers: [endpointOf(`${POD}:8080`)] });
    const empty = { ...full, realServers: [] };
    await sync([full]);
    await echo.connect();
    expect(await sync([empty])).toMatchObject({ ops: ['drainRealServer'], writes: 1 });
    expect(table()[1]).toBe(`-a -t ${VIP}:80 -r ${POD}:8080 -m -w 0`);
    expect(await sync([empty])).toMatchObject({ ops: [], writes: 0 });
    expect(await echo.ask('draining')).toBe('draining');
    expect(await sync([full])).toMatchObject({ ops: ['setRealServer'], writes: 1 });
    expect(table()[1]).toBe(`-a -t ${VIP}:80 -r ${POD}:8080 -m -w 1`);
    expect(await echo.ask('wanted again')).toBe('wanted again');
    expect(await sync([empty])).toMatchObject({ ops: ['drainRealServer'] });
    nowMs += ALL_OPTIONS.drainTimeoutSeconds * 1000 - 1;
    expect(await sync([empty])).toMatchObject({ ops: [] });
    nowMs += 1;
    expect(await sync([empty])).toMatchObject({ ops: ['deleteRealServer'], writes: 1 });
  });

  it('deletes a draining virtual server when its last connection closes', async () => {
    await using echo = await openEcho({ address: VIP, port: 80 }, { address: POD, port: 8080 });
    const wanted = virtualServer(`TCP ${VIP}:80`, { realServers: [endpointOf(`${POD}:8080`)] });
    await sync([wanted]);
    await echo.connect();
    expect(await sync([])).toMatchObject({ ops: ['drainRealServer'] });
    const draining = await dataplane.observe(never);
    expect(dataplane.drainingAddresses?.(draining, dataplane.project(desiredState([])).rows)).toEqual(
      new Set([VIP]),
    );
    expect(await echo.ask('still there')).toBe('still there');
    await echo.close();
    // In TIME_WAIT, which for the kernel is as inactive as one that is being opened.
    nowMs += 2999;
    expect(await sync([])).toMatchObject({ ops: [] });
    nowMs += 1;
    expect(await sync([])).toMatchObject({ ops: ['deleteVirtualServer'] });
    expect(table()).toEqual([]);
    expect(ledger.read().drains.size).toBe(0);
  });
});
