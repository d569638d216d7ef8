import { constants } from 'node:os';
import { errnoName, SysError } from '../../native-bindings/errno.ts';
import { poll } from '../../native-bindings/libc.ts';
import { familyOf, type IpAddress } from '../../src/model/address.ts';
import { POLLOUT } from './traffic/poller.ts';
import {
  abortOnClose,
  closeSocket,
  connectSocket,
  openSocket,
  takeError,
  within,
} from './traffic/raw-socket.ts';

/** What the TCP ports of an address did; each port is in one of the lists. */
export interface Scan {
  readonly open: readonly number[];
  /** How many answered with a reset or an ICMP port unreachable. */
  readonly refused: number;
  /** `PORT ERRNO`, or `PORT silent` where nothing came. */
  readonly others: readonly string[];
}

/** Every port there is. */
export const ALL_PORTS: readonly number[] = Array.from({ length: 65_535 }, (_, i) => i + 1);

/** Within the 4,096 descriptors that a process may have on an ordinary host. */
const IN_FLIGHT = 2000;
const POLLFD_BYTES = 8;
const POLLFD_EVENTS = 4;

/**
 * Connects to each port, thousands at once: closed ports answer before there is time to wait for them.
 * @param namespace the client's, as `ip netns` knows it
 * @param silenceMs how long a port may take to answer
 */
export function scan(
  namespace: string,
  destination: IpAddress,
  ports: readonly number[],
  silenceMs: number,
): Scan {
  const open: number[] = [];
  const others: string[] = [];
  for (let first = 0; first < ports.length; first += IN_FLIGHT) {
    const batch = ports.slice(first, first + IN_FLIGHT);
    for (const [port, code] of connectAll(namespace, destination, batch, silenceMs)) {
      if (code === 'OK') open.push(port);
      else if (code !== 'ECONNREFUSED') others.push(`${port} ${code}`);
    }
  }
  return { open, others, refused: ports.length - open.length - others.length };
}

interface Attempt {
  readonly port: number;
  readonly fd: number;
  code: string;
}

function connectAll(
  namespace: string,
  destination: IpAddress,
  ports: readonly number[],
  silenceMs: number,
): readonly (readonly [port: number, code: string])[] {
  const attempts = within(namespace, () => ports.map((port) => startConnect(destination, port)));
  const deadlineMs = performance.now() + silenceMs;
  let waiting = attempts.filter(({ code }) => code === 'silent');
  while (waiting.length > 0) {
    const leftMs = deadlineMs - performance.now();
    if (leftMs <= 0) break;
    waiting = takeAnswers(waiting, leftMs);
  }
  for (const { fd, code } of attempts) {
    if (code === 'OK') abortOnClose(fd);
    closeSocket(fd);
  }
  return attempts.map(({ port, code }) => [port, code]);
}

function startConnect(address: IpAddress, port: number): Attempt {
  const fd = openSocket(familyOf(address), 'TCP');
  const errno = connectSocket(fd, { address, port });
  return { port, fd, code: errno === constants.errno.EINPROGRESS ? 'silent' : codeOf(errno) };
}

/** Waits for some answers. @returns the attempts that have none yet */
function takeAnswers(attempts: readonly Attempt[], timeoutMs: number): Attempt[] {
  const pollfds = new Int32Array(attempts.length * (POLLFD_BYTES / 4));
  const shorts = new Int16Array(pollfds.buffer);
  for (const [i, { fd }] of attempts.entries()) {
    pollfds[i * 2] = fd;
    shorts[i * 4 + POLLFD_EVENTS / 2] = POLLOUT;
  }
  const bytes = new Uint8Array(pollfds.buffer);
  const { value, errno } = poll(bytes, attempts.length, Math.ceil(timeoutMs));
  if (value < 0 && errno !== constants.errno.EINTR) throw new SysError('poll', errno);
  return attempts.filter((attempt, i) => {
    if (shorts[i * 4 + POLLFD_EVENTS / 2 + 1] === 0) return true;
    attempt.code = codeOf(takeError(attempt.fd));
    return false;
  });
}

function codeOf(errno: number): string {
  return errno === 0 ? 'OK' : errnoName(errno);
}
