import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Turns the traces of job.sh into one golden file: to-json.ts TRACES GOLDEN.json */

interface Datagram {
  readonly direction: 'request' | 'reply';
  readonly hex: string;
}

interface Capture {
  readonly command: string;
  readonly exit: number;
  readonly datagrams: readonly Datagram[];
}

const [traces, golden] = process.argv.slice(2);
if (traces === undefined || golden === undefined) throw new Error('usage: to-json.ts TRACES GOLDEN.json');

const read = (name: string): string => readFileSync(join(traces, name), 'utf8').trim();
const numbers = readdirSync(traces)
  .filter((name) => name.endsWith('.trace'))
  .map((name) => name.slice(0, -'.trace'.length))
  .sort();
const seen = new Set<string>();
const captures = numbers.map(
  (number): Capture => ({
    command: read(`${number}.command`),
    exit: Number(read(`${number}.exit`)),
    datagrams: exchangesOf(datagramsOf(read(`${number}.trace`)))
      .filter(isNew)
      .flat(),
  }),
);
const origin = {
  kernel: `Linux ${read('kernel')}`,
  tool: read('ipvsadm'),
  how: 'scripts/capture-netlink: strace of ipvsadm, datagrams as they crossed the socket, host byte order little-endian',
};
writeFileSync(golden, `${JSON.stringify({ ...origin, captures }, null, 1)}\n`);
console.log(`${golden}: ${captures.length} commands`);

/** The datagrams in a trace, without those that were only peeked at. */
function datagramsOf(trace: string): Datagram[] {
  return trace
    .split(/^(?=sendmsg|recvmsg)/m)
    .filter((call) => /^(send|recv)msg/.test(call) && !call.includes('MSG_PEEK'))
    .map((call) => ({
      direction: call.startsWith('sendmsg') ? 'request' : 'reply',
      hex: [...call.matchAll(/^ \| [0-9a-f]{5,} {2}((?:[0-9a-f]{2} {1,2}){1,16})/gm)]
        .map(([, line]) => line?.replaceAll(' ', ''))
        .join(''),
    }));
}

/** A request with its replies each. */
function exchangesOf(datagrams: readonly Datagram[]): Datagram[][] {
  const exchanges: Datagram[][] = [];
  for (const datagram of datagrams) {
    if (datagram.direction === 'request') exchanges.push([datagram]);
    else exchanges.at(-1)?.push(datagram);
  }
  return exchanges;
}

/** Every run of ipvsadm looks the family up and asks for the version: one specimen of each exchange is enough. */
function isNew(exchange: readonly Datagram[]): boolean {
  const key = exchange.map(({ hex }) => withoutSequences(Buffer.from(hex, 'hex')).toString('hex')).join();
  if (seen.has(key)) return false;
  seen.add(key);
  return true;
}

/** Sequence number and port id differ from run to run; NLMSG_ERROR (2) echoes them. */
function withoutSequences(datagram: Buffer): Buffer {
  for (let at = 0; at + 16 <= datagram.length; at += Math.max(16, (datagram.readUInt32LE(at) + 3) & ~3)) {
    datagram.fill(0, at + 8, at + 16);
    if (datagram.readUInt16LE(at + 4) === 2 && at + 36 <= datagram.length) datagram.fill(0, at + 28, at + 36);
  }
  return datagram;
}
