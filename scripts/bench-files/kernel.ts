import { spawnSync } from 'node:child_process';
import { NETLINK_GENERIC, NetlinkSocket } from '../../native-bindings/netlink-socket.ts';
import { NftablesContext } from '../../native-bindings/nftables-library.ts';
import { assembleDataplanes } from '../../src/assembly.ts';
import { decodeObjects } from '../../src/cluster/decode.ts';
import { parseConfig } from '../../src/config.ts';
import { openLinkKernel } from '../../src/dataplane/addresses/client.ts';
import { NetlinkIpvsKernel } from '../../src/dataplane/ipvs/client.ts';
import { snapshotVirtualServers } from '../../src/dataplane/ipvs/snapshot.ts';
import { openLedgerStore } from '../../src/dataplane/ledger-store.ts';
import { LibraryNftablesKernel } from '../../src/dataplane/nftables/client.ts';
import { derive, nodeContext } from '../../src/desired/derive.ts';
import { GenlClient } from '../../src/netlink/client.ts';
import type { Transport } from '../../src/netlink/transport.ts';
import { renderIpvsadmSave } from '../../src/snapshot/render-ipvsadm-save.ts';
import { generateServices } from '../generate-services.ts';

/**
 * One round in a network namespace of its own: `kernel.ts svcplane|ipvsadm|warm SERVICES`. Prints one line of JSON.
 * Both make the same table from nothing; svcplane then plans and applies again.
 */
const [tool, services = '1000'] = process.argv.slice(2);
// All modules are loaded and compiled by now: what is left behind in NODE_COMPILE_CACHE is all that was wanted.
if (tool === 'warm') process.exit(0);
const config = parseConfig({ stateDirectory: `/tmp/bench-${process.pid}` }, 'bench');
const facts = decodeObjects(generateServices(Number(services), 5), 'n0');
const options = { ...config, node: 'n0', nodeAddresses: null, hostAddresses: [], followHost: false };
const { desired } = derive(facts, nodeContext(facts, options));

using socket = NetlinkSocket.open(NETLINK_GENERIC);
const phase = { firstSendMs: Number.NaN, lastAnswerMs: Number.NaN };
const client = GenlClient.open(timedTransport(socket), 'IPVS');
await using links = openLinkKernel();
using nftables = NftablesContext.open();
const { ipvs } = assembleDataplanes(config, {
  kernel: new NetlinkIpvsKernel(client),
  nftables: new LibraryNftablesKernel(nftables),
  links,
  ledger: openLedgerStore(config.stateDirectory),
  nowMs: Date.now,
});
const signal = new AbortController().signal;
const wanted = ipvs.project(desired).rows;

if (tool === 'ipvsadm') {
  const table = renderIpvsadmSave({
    version: 1,
    node: 'n0',
    addresses: [],
    virtualServers: snapshotVirtualServers(wanted, 'desired'),
    rejected: [],
  });
  const start = performance.now();
  const child = spawnSync('ipvsadm', ['-R'], { input: table });
  const coldMs = performance.now() - start;
  if (child.status !== 0) throw new Error(`ipvsadm -R failed: ${child.stderr}`);
  await expectTable();
  process.stdout.write(`${JSON.stringify({ tool, coldMs })}\n`);
} else {
  const { make } = ipvs.plan(await ipvs.observe(signal), wanted);
  const table = make.filter(({ op }) => op !== 'setSysctl');
  await ipvs.apply(
    make.filter(({ op }) => op === 'setSysctl'),
    signal,
  );
  const before = client.traffic();
  phase.firstSendMs = Number.NaN;
  const start = performance.now();
  await ipvs.apply(table, signal);
  const wholeApplyMs = performance.now() - start;
  const coldMs = phase.lastAnswerMs - phase.firstSendMs;
  const after = client.traffic();
  await expectTable();
  const idleStart = performance.now();
  const again = ipvs.plan(await ipvs.observe(signal), ipvs.project(desired).rows);
  await ipvs.apply([...again.make, ...again.break], signal);
  const idleMs = performance.now() - idleStart;
  const messages = after.writeMessages - before.writeMessages;
  const sends = after.writeSends - before.writeSends;
  const idleWrites = client.traffic().writeMessages - after.writeMessages;
  process.stdout.write(
    `${JSON.stringify({ tool, coldMs, wholeApplyMs, idleMs, messages, sends, idleWrites })}\n`,
  );
}

async function expectTable(): Promise<void> {
  const { virtualServers } = await ipvs.observe(signal);
  const realServers = [...virtualServers.values()].reduce((sum, row) => sum + row.realServers.size, 0);
  if (virtualServers.size !== Number(services) || realServers !== 5 * Number(services)) {
    throw new Error(
      `The table is incomplete: ${virtualServers.size} virtual servers, ${realServers} real servers`,
    );
  }
}

/** Notes when the first request left and when the last answer came. */
function timedTransport(inner: Transport): Transport {
  return {
    send(bytes) {
      if (Number.isNaN(phase.firstSendMs)) phase.firstSendMs = performance.now();
      inner.send(bytes);
    },
    receive(timeoutMs) {
      const received = inner.receive(timeoutMs);
      phase.lastAnswerMs = performance.now();
      return received;
    },
  };
}
