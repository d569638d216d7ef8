import { describe, expect, it } from 'vitest';
import type { IpvsRows } from '../../../src/dataplane/ipvs/rows.ts';
import { canonicalText } from '../../../src/dataplane/ipvs/text.ts';
import { drainKey } from '../../../src/dataplane/ledger.ts';
import { realServerKey } from '../../../src/model/virtual-server.ts';
import { APPLY_CASES, opsOf } from './apply-cases.ts';
import { NOW_MS, real, row, rows } from './build.ts';
import { worldOf } from './world.ts';

const WEB = row('TCP 10.96.0.50:80', { realServers: [real('10.1.0.1:80')] });
const FOREIGN = row('TCP 10.96.0.50:80', { owner: 'foreign', config: { persistenceTimeoutSeconds: 5 } });
const never = new AbortController().signal;

const opsBetween = (observed: IpvsRows, wanted: IpvsRows) => opsOf({ observed, wanted });

describe('applyIpvs()', () => {
  it.each(APPLY_CASES)('$name', async ({ after, kernelWrites, ...given }) => {
    const world = worldOf(given.observed);
    world.kernel.writes = 0;
    const ops = opsOf(given);
    expect(await world.apply(ops)).toEqual({ acknowledged: ops, refused: [], notAttempted: [] });
    expect(world.kernel.writes).toBe(kernelWrites);
    expect(canonicalText(await world.observe())).toBe(after.map((line) => `${line}\n`).join(''));
  });

  it('enters what will be ours before the kernel is changed, drains included', async () => {
    const busy = row('TCP 10.96.0.51:80', { realServers: [real('10.1.0.1:80', { activeConnections: 1 })] });
    const world = worldOf(rows([busy]));
    const seen: unknown[] = [];
    const dataplane = world.dataplane(async (requests) => {
      const { virtualServers, drains } = world.ledger.read();
      seen.push([...virtualServers.keys()], [...drains.keys()]);
      return requests.map(() => ({ outcome: 'ok' }));
    });
    await dataplane.apply(opsBetween(rows([busy]), rows([WEB])), never);
    expect(seen).toEqual([
      [busy.key, WEB.key],
      [drainKey(busy.key, realServerKey(real('10.1.0.1:80').config))],
    ]);
  });

  it('changes nothing in the kernel if the ledger cannot be written', async () => {
    const world = worldOf(rows([]));
    world.ledger.full = true;
    await expect(world.apply(opsBetween(rows([]), rows([WEB])))).rejects.toThrow('ENOSPC');
    expect(world.kernel.writes).toBe(0);
  });

  it('writes the ledger neither for nothing nor for changes that are none of its own', async () => {
    const observed = rows([WEB]);
    const world = worldOf(observed);
    await world.apply([]);
    const more = rows([row(WEB.key, { realServers: [real('10.1.0.1:80'), real('10.1.0.2:80')] })]);
    await world.apply(opsBetween(observed, more));
    expect(world.ledger.writes).toBe(0);
  });

  it('prunes ledger entries that the last observation did not find, once', async () => {
    const world = worldOf(rows([WEB]));
    world.kernel.request({ command: 'delService', identity: WEB.identity });
    const dataplane = world.dataplane();
    await dataplane.observe(never);
    expect(world.ledger.read().virtualServers.has(WEB.key)).toBe(true);
    await dataplane.apply([], never);
    expect(world.ledger.read().virtualServers.has(WEB.key)).toBe(false);
    await dataplane.apply(opsBetween(rows([]), rows([WEB])), never);
    await dataplane.apply([], never);
    expect(world.ledger.read().virtualServers.has(WEB.key)).toBe(true);
  });

  it('takes absence for deletion', async () => {
    const two = row(WEB.key, { realServers: [real('10.1.0.1:80'), real('10.1.0.2:80')] });
    const world = worldOf(rows([WEB]));
    expect((await world.apply(opsBetween(rows([two]), rows([WEB])))).refused).toEqual([]);
    world.kernel.request({ command: 'delService', identity: WEB.identity });
    expect((await world.apply(opsBetween(rows([two]), rows([WEB])))).refused).toEqual([]);
    expect((await world.apply(opsBetween(rows([two]), rows([])))).refused).toEqual([]);
    expect(world.ledger.read().virtualServers.size).toBe(0);
  });

  it('makes a real server of ours as wanted if it is there already', async () => {
    const world = worldOf(rows([row(WEB.key, { realServers: [real('10.1.0.1:80', { weight: 9 })] })]));
    const report = await world.apply(opsBetween(rows([row(WEB.key)]), rows([WEB])));
    expect(report.refused).toEqual([]);
    expect(world.kernel.table()[0]?.realServers[0]?.config.weight).toBe(1);
  });

  it('withdraws its real servers from a virtual server that somebody made meanwhile', async () => {
    const world = worldOf(rows([FOREIGN]));
    const report = await world.apply(opsBetween(rows([]), rows([WEB])));
    expect(report.acknowledged).toEqual([]);
    expect(report.refused.map(({ message }) => message)).toEqual([
      'Cannot add virtual server TCP 10.96.0.50:80: EEXIST; somebody else has made it meanwhile',
      'Cannot add real server 10.1.0.1:80 to TCP 10.96.0.50:80: EEXIST; its virtual server was refused',
    ]);
    expect(world.kernel.table()[0]?.realServers).toEqual([]);
    expect(world.ledger.read().virtualServers.size).toBe(0);
  });

  it('names the scheduler that the kernel does not have, and what follows from its refusal', async () => {
    const world = worldOf(rows([]));
    world.kernel.missingSchedulers = new Set(['rr']);
    const { refused } = await world.apply(opsBetween(rows([]), rows([WEB])));
    expect(refused.map(({ message }) => message)).toEqual([
      'Cannot add virtual server TCP 10.96.0.50:80: ENOENT; this kernel does not have scheduler rr (module ip_vs_rr)',
      'Cannot add real server 10.1.0.1:80 to TCP 10.96.0.50:80: ESRCH; its virtual server was refused',
    ]);
    expect([...(await world.observe()).unavailableSchedulers]).toEqual(['rr']);
  });

  it('names a sysctl that cannot be set and the fix, and goes on', async () => {
    const observed = rows([], { sysctls: { 'net.ipv4.vs.conntrack': '0' } });
    const world = worldOf(observed);
    world.sysctls.readOnly = true;
    const wanted = rows([WEB], { sysctls: { 'net.ipv4.vs.conntrack': '1' } });
    const report = await world.apply(opsBetween(observed, wanted));
    expect(report.refused.map(({ message }) => message)).toEqual([
      'Cannot set sysctl net.ipv4.vs.conntrack to 1: EROFS; run sysctl -w net.ipv4.vs.conntrack=1 on the host, or give this container a writable /proc/sys',
    ]);
    expect(report.acknowledged).toHaveLength(2);
    expect(world.ledger.read().sysctls.size).toBe(0);
  });

  it('stops between slices when aborted, and disowns what it has not made', async () => {
    const wanted = rows(Array.from({ length: 400 }, (_, i) => row(`TCP 10.96.1.${i % 200}:${1 + i}`)));
    const world = worldOf(rows([]));
    const controller = new AbortController();
    world.kernel.betweenSlices = () => controller.abort();
    const report = await world.apply(opsBetween(rows([]), wanted), controller.signal);
    expect(report.acknowledged).toHaveLength(256);
    expect(report.notAttempted).toHaveLength(144);
    expect(world.ledger.read().virtualServers.size).toBe(256);
  });

  it('keeps owning what it may have made when the answer is lost or the socket breaks', async () => {
    const ops = opsBetween(rows([]), rows([WEB]));
    const lossy = worldOf(rows([]));
    const lost = lossy.dataplane(async (requests) => requests.map(() => ({ outcome: 'unknown' })));
    expect((await lost.apply(ops, never)).notAttempted).toEqual(ops);
    expect(lossy.ledger.read().virtualServers.has(WEB.key)).toBe(true);
    const broken = worldOf(rows([]));
    const failing = broken.dataplane(async () => {
      throw new Error('EBADF');
    });
    await expect(failing.apply(ops, never)).rejects.toThrow('EBADF');
    expect(broken.ledger.read().virtualServers.has(WEB.key)).toBe(true);
  });

  it('remembers the flows that it had no time to delete, and the next sync deletes them', async () => {
    const dns = row('UDP 10.96.0.10:53', { realServers: [real('10.1.0.1:53'), real('10.1.0.2:53')] });
    const wanted = rows([row(dns.key, { realServers: [real('10.1.0.2:53')] })]);
    const world = worldOf(rows([dns]));
    world.flows.broken = true;
    await expect(world.sync(wanted)).rejects.toThrow('EBADF');
    expect(world.kernel.table()[0]?.realServers).toHaveLength(1);
    expect(world.ledger.read().staleFlows).toEqual(new Set([dns.key]));
    world.flows.broken = false;
    const ops = await world.sync(wanted);
    expect(ops.map(({ op, subject }) => `${op} ${subject}`)).toEqual([`deleteFlows ${dns.key}`]);
    expect(world.flows.flows.map(({ endpoint }) => realServerKey(endpoint))).toEqual(['10.1.0.2:53']);
    expect(world.ledger.read().staleFlows.size).toBe(0);
  });

  it('keeps flows stale that the kernel refuses to show, and names the module that may be missing', async () => {
    const dns = row('UDP 10.96.0.10:53', { realServers: [real('10.1.0.1:53')] });
    const world = worldOf(rows([dns]));
    world.flows.refusal = 'EINVAL';
    const { refused } = await world.apply(opsBetween(rows([dns]), rows([])));
    expect(refused.map(({ message }) => message)).toEqual([
      'Cannot delete flows of UDP 10.96.0.10:53: EINVAL; this kernel does not show its flows: modprobe nf_conntrack_netlink',
    ]);
    expect(world.ledger.read().staleFlows).toEqual(new Set([dns.key]));
  });

  it('enters stale flows before the kernel is changed, and deletes them after what makes them so', async () => {
    const dns = row('UDP 10.96.0.10:53', { realServers: [real('10.1.0.1:53')] });
    const mark = row('FWM4 17', { frontend: 'UDP 10.96.0.11:53', realServers: [real('10.1.0.1:53')] });
    const world = worldOf(rows([dns, mark]));
    const seen: unknown[] = [];
    const dataplane = world.dataplane(async (requests) => {
      seen.push([...world.ledger.read().staleFlows], world.flows.writes);
      return requests.map(() => ({ outcome: 'ok' }));
    });
    const { notAttempted } = await dataplane.apply(opsBetween(rows([dns, mark]), rows([])), never);
    expect(seen).toEqual([['UDP 10.96.0.11:53', dns.key], 0]);
    expect(notAttempted).toEqual([]);
    expect(world.flows.writes).toBe(2);
    expect(world.ledger.read().staleFlows.size).toBe(0);
  });

  it('stamps the start of a drain with its own time, and forgets it when the weight is back', async () => {
    const busy = rows([row(WEB.key, { realServers: [real('10.1.0.1:80', { activeConnections: 1 })] })]);
    const world = worldOf(busy);
    await world.sync(rows([row(WEB.key)]));
    const drain = { startedAtMs: NOW_MS + 1000, timeoutSeconds: null };
    expect([...world.ledger.read().drains.values()]).toEqual([drain]);
    await world.sync(rows([WEB]));
    expect(world.ledger.read().drains.size).toBe(0);
  });

  it('keeps what a Service says of its drains beyond its end, and beyond that of the process', async () => {
    const told = { realServers: [real('10.1.0.1:80')], drainTimeoutSeconds: 90 };
    const world = worldOf(rows([row(WEB.key, { ...told, drainTimeoutSeconds: null })]));
    expect((await world.sync(rows([row(WEB.key, told)]))).map(({ op, detail }) => [op, detail])).toEqual([
      ['adoptVirtualServer', 'drain timeout default → 90 s'],
    ]);
    world.kernel.connect(WEB.key, '10.1.0.1:80', 1);
    const dropped = await world.sync(rows([]));
    expect(dropped.map(({ detail }) => detail)).toEqual(['weight 1 → 0, 1 active connection, at most 90 s']);
    const drain = { startedAtMs: NOW_MS + 2000, timeoutSeconds: 90 };
    expect([...world.ledger.read().drains.values()]).toEqual([drain]);
    // Each sync is made by a process that has just started, one second after the last.
    for (let s = 1; s < 90; s++) expect(await world.sync(rows([]))).toEqual([]);
    expect((await world.sync(rows([]))).map(({ op }) => op)).toEqual(['deleteVirtualServer']);
  });
});
