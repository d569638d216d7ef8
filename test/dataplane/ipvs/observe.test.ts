import { describe, expect, it } from 'vitest';
import { writeSysctlFile } from '../../../src/dataplane/ipvs/apply.ts';
import { observeIpvs, readSysctlFile } from '../../../src/dataplane/ipvs/observe.ts';
import { drainKey, EMPTY_LEDGER } from '../../../src/dataplane/ledger.ts';
import { realServerKey } from '../../../src/model/virtual-server.ts';
import { FakeIpvsKernel } from '../../fakes/ipvs-kernel.ts';
import { MemoryLedger } from '../../fakes/ledger.ts';
import { ledgerOf, NOW_MS, real, row } from './build.ts';

const never = new AbortController().signal;
const OURS = row('TCP 10.96.0.50:80');
const FOREIGN = row('TCP 10.96.0.51:80');
const DRAINING = real('10.1.0.1:80', { weight: 0 });
const SERVING = real('10.1.0.2:80');

function kernelWithBoth(): FakeIpvsKernel {
  const kernel = new FakeIpvsKernel();
  for (const { identity, config } of [OURS, FOREIGN]) {
    kernel.request({ command: 'newService', identity, config });
    for (const { config: realServer } of [DRAINING, SERVING]) {
      kernel.request({ command: 'newDest', identity, realServer });
    }
  }
  return kernel;
}

describe('observeIpvs()', () => {
  const DRAIN = { startedAtMs: 7, timeoutSeconds: 90 };
  const drains = new Map(
    [OURS, FOREIGN].flatMap(({ key }) =>
      [DRAINING, SERVING].map(({ config }) => [drainKey(key, realServerKey(config)), DRAIN] as const),
    ),
  );
  const gone = row('TCP 10.96.0.99:80');
  const sysctls = new Map([
    ['net.ipv4.ip_forward', { before: '0', set: '1' }],
    ['net.ipv4.vs.conntrack', { before: '0', set: '1' }],
  ]);
  const ledger = new MemoryLedger({ ...EMPTY_LEDGER, virtualServers: ledgerOf(OURS, gone), drains, sysctls });
  const values = new Map([
    ['net.ipv4.ip_forward', '1'],
    ['net.ipv4.vs.conntrack', '0'],
    ['kernel.hostname', 'n0'],
  ]);
  const observe = () =>
    observeIpvs(
      kernelWithBoth(),
      ledger,
      (name) => values.get(name),
      () => NOW_MS,
      never,
    );

  it('dumps again while a row of ours is passed over, and gives up in the end', async () => {
    const kernel = kernelWithBoth();
    const look = () =>
      observeIpvs(
        kernel,
        ledger,
        () => undefined,
        () => NOW_MS,
        never,
      );
    kernel.tornDumps = 2;
    const { rows, stale } = await look();
    expect([...rows.virtualServers.keys()]).toEqual([OURS.key, FOREIGN.key]);
    expect(stale.virtualServers).toEqual([gone.key]);
    kernel.tornDumps = Number.POSITIVE_INFINITY;
    await expect(look()).rejects.toThrow(
      'Cannot read IPVS: its table changed during each of 5 dumps: try again',
    );
  });

  it('tells ours from foreign by the ledger, and drains only where ours have weight 0', async () => {
    const { rows } = await observe();
    expect(rows.observedAtMs).toBe(NOW_MS);
    const seen = [...rows.virtualServers.values()].map(({ key, owner, origin, reason, realServers }) => {
      return { key, owner, origin, reason, drains: [...realServers.values()].map(({ drain }) => drain) };
    });
    const { origin, reason } = OURS;
    expect(seen).toEqual([
      { key: OURS.key, owner: 'svcplane', origin, reason, drains: [DRAIN, null] },
      { key: FOREIGN.key, owner: 'foreign', origin: null, reason: '', drains: [null, null] },
    ]);
  });

  it('reads the sysctls of this dataplane and no others', async () => {
    const { rows } = await observe();
    expect(rows.sysctls).toEqual(
      new Map([
        ['net.ipv4.ip_forward', { value: '1', changed: { before: '0', set: '1' } }],
        ['net.ipv4.vs.conntrack', { value: '0', changed: { before: '0', set: '1' } }],
      ]),
    );
  });

  it('finds ledger entries that nothing in the kernel goes with, and writes nothing', async () => {
    const { stale } = await observe();
    const live = drainKey(OURS.key, realServerKey(DRAINING.config));
    expect(stale).toEqual({
      virtualServers: [gone.key],
      drains: [...drains.keys()].filter((key) => key !== live),
      sysctls: ['net.ipv4.vs.conntrack'],
    });
    expect(ledger.writes).toBe(0);
  });
});

describe('readSysctlFile()', () => {
  it('reads without the line end, and undefined where there is none', () => {
    expect(readSysctlFile('kernel.ostype')).toBe('Linux');
    expect(readSysctlFile('net.ipv4.no_such_sysctl')).toBeUndefined();
  });
});

describe('writeSysctlFile()', () => {
  it('gives the name of the error', () => {
    expect(writeSysctlFile('kernel.no_such_sysctl', '1')).toMatch(/^E[A-Z]+$/);
  });
});
