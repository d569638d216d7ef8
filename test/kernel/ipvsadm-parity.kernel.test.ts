import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NETLINK_GENERIC, NetlinkSocket } from '../../native-bindings/netlink-socket.ts';
import { NetlinkIpvsKernel } from '../../src/dataplane/ipvs/client.ts';
import { createIpvsDataplane } from '../../src/dataplane/ipvs/index.ts';
import { snapshotVirtualServers } from '../../src/dataplane/ipvs/snapshot.ts';
import { GenlClient } from '../../src/netlink/client.ts';
import { IPVS_GENL_NAME } from '../../src/netlink/uapi/ipvs.ts';
import { parseSnapshot } from '../../src/snapshot/parse.ts';
import { renderIpvsadm } from '../../src/snapshot/render-ipvsadm.ts';
import { renderIpvsadmSave } from '../../src/snapshot/render-ipvsadm-save.ts';
import { renderJson } from '../../src/snapshot/render-json.ts';
import type { Snapshot } from '../../src/snapshot/snapshot.ts';
import { ALL_OPTIONS, NOW_MS } from '../dataplane/ipvs/build.ts';
import { MemoryLedger } from '../fakes/ledger.ts';
import { describeWithIpvs, run } from './probe.ts';

const never = new AbortController().signal;
const GOLDEN = join(import.meta.dirname, '../golden/snapshot');

/** What both lab kernels have; not dh, lblc and lblcr, which differ from these in nothing that is shown. */
const SCHEDULERS = ['rr', 'wrr', 'lc', 'wlc', 'fo', 'ovf', 'sh', 'mh', 'sed', 'nq'];

interface Family {
  readonly service: fc.Arbitrary<string>;
  readonly endpoint: fc.Arbitrary<string>;
  readonly netmask: fc.Arbitrary<string>;
  readonly mark: string;
}

const port = fc.integer({ min: 1, max: 65_535 });
const byte = fc.integer({ min: 1, max: 254 });
const hextets = fc.array(
  fc.oneof(fc.constant('0'), fc.constant('1'), fc.stringMatching(/^[1-9a-f][0-9a-f]{3}$/)),
  {
    minLength: 5,
    maxLength: 5,
  },
);
const ipv4 = fc.tuple(byte, byte).map(([a, b]) => `10.7.${a}.${b}`);
const ipv6 = hextets.map((groups) => `[fd00:7:${groups.join(':')}:7]`);
const option = fc.constantFrom('-t', '-u', '--sctp-service');

function serviceOn(address: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(option, address, port).map(([protocol, at, number]) => `${protocol} ${at}:${number}`);
}

function endpointOn(address: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(address, port).map(([at, number]) => `${at}:${number}`);
}

const FAMILIES: readonly Family[] = [
  {
    service: serviceOn(ipv4),
    endpoint: endpointOn(ipv4),
    netmask: fc.constantFrom('255.255.255.0', '255.0.0.0', '255.255.255.255', '255.255.254.0'),
    mark: '',
  },
  {
    service: serviceOn(ipv6),
    endpoint: endpointOn(ipv6),
    netmask: fc.integer({ min: 1, max: 128 }).map(String),
    mark: ' -6',
  },
];

const forwarding = fc.oneof(
  fc.constantFrom('-m', '-g', '-i'),
  fc
    .tuple(port, fc.constantFrom('nocsum', 'csum', 'remcsum'))
    .map(([p, sum]) => `-i --tun-type gue --tun-port ${p} --tun-${sum}`),
  fc.constantFrom('nocsum', 'csum').map((sum) => `-i --tun-type gre --tun-${sum}`),
);
const thresholds = fc.option(
  fc.integer({ min: 2, max: 100_000 }).map((upper) => ` -x ${upper} -y ${upper - 1}`),
  { nil: '' },
);
const weight = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 65_535 }));
const flags = fc
  .subarray(['flag-1', 'flag-2', 'flag-3'], { minLength: 1 })
  .map((names) => ` -b ${names.join(',')}`);

/** ipvsadm refuses the option for TCP and SCTP. */
function mayBeOnePacket(key: string): boolean {
  return key.startsWith('-u') || key.startsWith('-f');
}

/** @param line as `-r 10.0.0.1:80 -m …` */
function addressOf(line: string): string {
  return line.replace(/:\d+ .*/, '');
}

/** The lines that make one virtual server with its real servers. */
const virtualServerLines = fc.constantFrom(...FAMILIES).chain(({ service, endpoint, netmask, mark }) => {
  const marked = fc.integer({ min: 1, max: 0x7fff_ffff }).map((value) => `-f ${value}${mark}`);
  const persistence = fc
    .tuple(fc.integer({ min: 1, max: 86_400 }), fc.option(netmask))
    .map(([seconds, mask]) => ` -p ${seconds}${mask === null ? '' : ` -M ${mask}`}`);
  const realServer = fc
    .tuple(endpoint, forwarding, weight, thresholds)
    .map(([at, method, w, limits]) => `-r ${at} ${method} -w ${w}${limits}`);
  return fc
    .record({
      key: fc.oneof({ weight: 4, arbitrary: service }, { weight: 1, arbitrary: marked }),
      scheduler: fc.constantFrom(...SCHEDULERS),
      affinity: fc.option(persistence, { nil: '' }),
      onePacket: fc.boolean(),
      flags: fc.option(flags, { nil: '' }),
      // By address alone: ipvsadm gives direct and tunnelled real servers the port of the service.
      realServers: fc.uniqueArray(realServer, { selector: addressOf, maxLength: 6 }),
    })
    .map((row) => ({
      key: row.key,
      lines: [
        `-A ${row.key} -s ${row.scheduler}${row.affinity}${mayBeOnePacket(row.key) && row.onePacket ? ' -o' : ''}${row.flags}\n`,
        ...row.realServers.map((line) => `-a ${row.key} ${line}\n`),
      ],
    }));
});

const table = fc
  .uniqueArray(virtualServerLines, { selector: ({ key }) => key, minLength: 1, maxLength: 40 })
  .map((rows) => rows.flatMap(({ lines }) => lines).join(''));

function sortedLines(text: string): readonly string[] {
  return text.split('\n').filter(Boolean).sort();
}

describeWithIpvs('snapshot of a kernel', () => {
  let socket: NetlinkSocket;

  beforeEach(() => {
    run(['ipvsadm', '-C']);
    socket = NetlinkSocket.open(NETLINK_GENERIC);
  });

  afterEach(() => {
    run(['ipvsadm', '-C']);
    socket[Symbol.dispose]();
  });

  async function observe(): Promise<Snapshot> {
    const kernel = new NetlinkIpvsKernel(GenlClient.open(socket, IPVS_GENL_NAME));
    const resources = { kernel, ledger: new MemoryLedger(), nowMs: () => NOW_MS };
    const rows = await createIpvsDataplane(resources, ALL_OPTIONS).observe(never);
    const virtualServers = snapshotVirtualServers(rows, 'observed');
    return { version: 1, node: 'lab', addresses: [], virtualServers, rejected: [] };
  }

  /** The listings of ipvsadm and ours, sorted as lines: ipvsadm orders services in its own way. */
  async function expectParity(): Promise<void> {
    const observed = await observe();
    expect(sortedLines(renderIpvsadmSave(observed))).toEqual(sortedLines(run(['ipvsadm', '-Sn'])));
    const listing = run(['ipvsadm', '-Ln']);
    const size = Number(/size=(\d+)/.exec(listing)?.[1]);
    const ours = renderIpvsadm(observed, { version: '1.2.1', connectionTableSize: size });
    expect(sortedLines(ours)).toEqual(sortedLines(listing));
    expect(renderIpvsadmSave(parseSnapshot(renderJson(observed), 'lab.json'))).toBe(
      renderIpvsadmSave(observed),
    );
  }

  it('equals what ipvsadm lists, for everything ipvsadm can make', async () => {
    run(['sh', join(GOLDEN, 'capture.sh')]);
    expect(sortedLines(run(['ipvsadm', '-Sn'])).length).toBeGreaterThan(80);
    await expectParity();
  });

  it('equals what ipvsadm lists, for random tables', async () => {
    await fc.assert(
      fc.asyncProperty(table, async (lines) => {
        run(['ipvsadm', '-C']);
        run(['ipvsadm', '-R'], lines);
        await expectParity();
      }),
      { numRuns: 15 },
    );
  });
});
