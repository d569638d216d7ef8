import { expect } from 'vitest';
import { acceptedBy, type ClientKind, RawSocket } from './raw-sockets.ts';
import { SocklbLab } from './socklb-lab.ts';

/** A client's kind of socket with a service, as it writes the address, and two places for backends. */
export interface Family {
  readonly kind: ClientKind;
  readonly vip: string;
  /** The service's address as that kind of socket shows it. */
  readonly shown: string;
  readonly backends: readonly [string, string];
  /** The first backend as that kind of socket shows it. */
  readonly shownBackend: string;
}

export const FAMILIES: readonly Family[] = [
  {
    kind: 'IPv4',
    vip: '10.96.0.10:80',
    shown: '10.96.0.10:80',
    backends: ['127.0.0.1:18081', '127.0.0.2:18082'],
    shownBackend: '127.0.0.1:18081',
  },
  {
    kind: 'IPv6',
    vip: '[fd00:96::a]:80',
    shown: '[fd00:96::a]:80',
    backends: ['[::1]:18081', '[::1]:18082'],
    shownBackend: '[::1]:18081',
  },
  {
    kind: 'IPv4 on IPv6',
    vip: '10.96.0.10:80',
    shown: '[::ffff:10.96.0.10]:80',
    backends: ['127.0.0.1:18081', '127.0.0.2:18082'],
    shownBackend: '[::ffff:127.0.0.1]:18081',
  },
];
export const [V4] = FAMILIES as readonly [Family];
export const VIP = V4.vip;

/** A lab with one service of two TCP and one of two UDP backends. */
export function openLab(cgroup: string, family: Family = V4): SocklbLab {
  const lab = SocklbLab.open(cgroup);
  lab.configure({});
  for (const [protocol, id] of [
    ['TCP', 1],
    ['UDP', 2],
  ] as const) {
    for (const [i, address] of family.backends.entries()) {
      lab.putBackend({ id: 10 * id + i, service: id, address, protocol });
    }
    lab.putService({ frontend: family.vip, protocol, id, slots: [10 * id, 10 * id + 1] });
  }
  return lab;
}

/** Both UDP backends of a family. */
export class UdpServers implements Disposable {
  readonly #sockets;

  constructor(lab: SocklbLab, { backends }: Family) {
    this.#sockets = backends.map((address) => lab.server('UDP', address));
  }

  /** Waits for the first datagram, and answers everything that has come. @returns how much that was */
  answerAll(): number {
    RawSocket.awaitAny(this.#sockets);
    let answered = 0;
    for (const socket of this.#sockets) {
      for (let asked = socket.receive(); asked; asked = socket.receive()) {
        socket.send(`answer to ${asked.text}`, asked.from);
        answered++;
      }
    }
    return answered;
  }

  /** Waits for the first datagram. @returns how many came to each; they are dropped */
  take(): readonly number[] {
    RawSocket.awaitAny(this.#sockets);
    return this.#sockets.map((socket) => {
      let count = 0;
      while (socket.receive()) count++;
      return count;
    });
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket[Symbol.dispose]();
  }
}

/** Connects so often, one after the other. @returns how many came to each server */
export function connectMany(
  lab: SocklbLab,
  servers: readonly [RawSocket, RawSocket],
  times: number,
  frontend = VIP,
): readonly [number, number] {
  const counts: [number, number] = [0, 0];
  for (let i = 0; i < times; i++) {
    using client = lab.socket('TCP');
    expect(client.connect(frontend)).toBe('');
    const [first, second] = acceptedBy(...servers);
    counts[0] += Number(first);
    counts[1] += Number(second);
  }
  return counts;
}
