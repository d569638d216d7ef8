import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createHost, type Host, type KernelState, UNHURRIED } from './host.ts';
import { load, wantedTable } from './load.ts';
import { describeWithIpvs, run, UNLESS_LEFT_OUT } from './probe.ts';
import type { StopPoint } from './stop-at.ts';

const SERVICES = 300;
const ENDPOINTS = 3;
/** IPVS gets 256 messages at once. */
const BATCHES = Math.ceil((SERVICES * (1 + ENDPOINTS)) / 256);

const FOREIGN_TABLE = `-A -t 192.0.2.7:80 -s wlc -p 360
-a -t 192.0.2.7:80 -r 10.1.250.9:80 -m -w 3
-A -f 17 -s rr
`;

/** A host that others use, too. */
function createSharedHost(): Host {
  const host = createHost('crash');
  host.run(['ipvsadm', '-R'], FOREIGN_TABLE);
  host.run(['ip', 'address', 'add', '192.0.2.7/32', 'dev', 'lo']);
  // Right already, by somebody else.
  host.setSysctl('net.ipv4.vs.expire_nodest_conn', '1');
  return host;
}

describeWithIpvs('svcplane after kill -9', () => {
  let table: readonly string[];
  let smallerTable: readonly string[];
  let inputs: { readonly all: string; readonly fewer: string };

  beforeAll(() => {
    const directory = run(['mktemp', '-d']).trim();
    inputs = { all: join(directory, 'all.json'), fewer: join(directory, 'fewer.json') };
    run(['tee', inputs.all], load(SERVICES, ENDPOINTS));
    run(['tee', inputs.fewer], load(SERVICES / 2, ENDPOINTS));
    const foreign = FOREIGN_TABLE.split('\n').filter(Boolean);
    table = [...wantedTable(inputs.all), ...foreign].sort();
    smallerTable = [...wantedTable(inputs.fewer), ...foreign].sort();
  });

  async function killed(host: Host, args: readonly string[], point: StopPoint): Promise<void> {
    const preload = `--import=${join(import.meta.dirname, 'stop-at.ts')}`;
    // It changes modules of the sources.
    const env = { SVCPLANE_PROGRAM: '', NODE_OPTIONS: preload, STOP_AT: point };
    expect(await host.svcplane(args, { env })).toMatchObject({ signal: 'SIGKILL', stdout: '' });
  }

  const serversIn = (state: KernelState) => state.table.filter((line) => line.startsWith('-A')).length - 2;
  const boundIn = (state: KernelState) =>
    state.addresses.filter((line) => line.startsWith('svcplane0 ')).length;

  /** Points of one apply, in order, with what is there when it dies. */
  const points: readonly {
    readonly point: StopPoint;
    readonly servers: number;
    readonly bound: number;
    /** Whether it is cleaned up, too, which takes seconds where the processor is emulated. */
    readonly cleans?: boolean;
  }[] = [
    { point: 'ledger:1', servers: 0, bound: 0 },
    { point: 'recorded:1', servers: 0, bound: 0, cleans: true },
    { point: 'sysctl:2', servers: 0, bound: 0 },
    { point: 'ipvs:1', servers: 0, bound: 0 },
    { point: 'ipvs:2', servers: 64, bound: 0, cleans: true },
    { point: `ipvs:${BATCHES}`, servers: 256, bound: 0 },
    { point: 'ledger:2', servers: SERVICES, bound: 0 },
    { point: 'link:1', servers: SERVICES, bound: 0 },
    { point: 'link:2', servers: SERVICES, bound: 0 },
    { point: 'link:258', servers: SERVICES, bound: 256, cleans: true },
  ];

  describe('the next run', UNHURRIED, () => {
    it.each(points)(
      'finishes what was killed at $point',
      UNLESS_LEFT_OUT,
      async ({ point, servers, bound, cleans }) => {
        using host = createSharedHost();
        const original = host.state();
        await killed(host, ['apply', '-f', inputs.all], point);
        const left = host.state();
        expect({ servers: serversIn(left), bound: boundIn(left) }).toEqual({ servers, bound });
        expect(await host.svcplane(['apply', '-f', inputs.all])).toMatchObject({ code: 0, stderr: '' });
        const finished = host.state();
        expect(finished.table).toEqual(table);
        expect(boundIn(finished)).toBe(SERVICES);
        if (!cleans) return;
        expect(await host.svcplane(['cleanup'])).toMatchObject({ code: 0, stderr: '' });
        expect(host.state()).toEqual(original);
      },
    );

    it('finishes what was killed while it was deleting, again and again', UNLESS_LEFT_OUT, async () => {
      using host = createSharedHost();
      const original = host.state();
      const left = () => ({ servers: serversIn(host.state()), bound: boundIn(host.state()) });
      const half = SERVICES / 2;
      await host.svcplane(['apply', '-f', inputs.all]);
      const fewer = ['apply', '-f', inputs.fewer];
      await killed(host, fewer, 'link:2');
      expect(left()).toEqual({ servers: SERVICES, bound: SERVICES - 1 });
      await killed(host, fewer, 'ledger:1');
      expect(left()).toEqual({ servers: SERVICES, bound: half });
      await killed(host, fewer, 'ledger:2');
      expect(left()).toEqual({ servers: half, bound: half });
      expect(await host.svcplane(fewer)).toMatchObject({ code: 0, stderr: '' });
      expect(await host.svcplane(['verify', '-f', inputs.fewer])).toMatchObject({ code: 0, stderr: '' });
      expect(host.state().table).toEqual(smallerTable);

      await killed(host, ['cleanup'], 'link:2');
      expect(left()).toEqual({ servers: half, bound: half - 1 });
      await killed(host, ['cleanup'], 'ipvs:1');
      expect(left()).toEqual({ servers: half, bound: 0 });
      await killed(host, ['cleanup'], 'sysctl:2');
      expect(left()).toEqual({ servers: 0, bound: 0 });
      await killed(host, ['cleanup'], 'ledger:2');
      // The table goes last.
      expect({ ...host.state(), rules: original.rules }).toEqual(original);
      expect(await host.svcplane(['cleanup'])).toMatchObject({ code: 0, stderr: '' });
      expect(host.state()).toEqual(original);
    });
  });
});
