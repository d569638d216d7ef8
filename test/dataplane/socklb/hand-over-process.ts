/**
 * One side of the test of the hand-over, as a process of its own: `server` answers each line and datagram with its name;
 * `client` connects without pause, and keeps connections open, on which it asks again and again.
 * usage: hand-over-process.ts server NAME IPv4-ADDRESS TCP-PORT UDP-PORT
 *        hand-over-process.ts client ADDRESS TCP-PORT UDP-PORT
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** What the client tells at its end. */
export interface HandOverReport {
  /** Connections by who answered. */
  readonly connected: Readonly<Record<string, number>>;
  /** Who answered the connections that stayed open, in the order in which they were opened: all who ever did. */
  readonly held: readonly (readonly string[])[];
  readonly asked: number;
  readonly failed: readonly string[];
}

const [, , role, ...rest] = process.argv;
const ANSWER_MS = 2000;
const CONNECTION_PAUSE_MS = 1;

async function serve([
  name = '',
  address = '',
  tcpPort = '',
  udpPort = '',
]: readonly string[]): Promise<void> {
  const server = createServer((socket) => {
    socket.on('data', () => socket.write(name));
    socket.on('error', () => socket.destroy());
  });
  server.listen(Number(tcpPort), address);
  const datagrams = createSocket('udp4');
  datagrams.on('message', (_, { port, address: from }) => datagrams.send(name, port, from));
  datagrams.bind(Number(udpPort), address);
  await Promise.all([once(server, 'listening'), once(datagrams, 'listening')]);
  process.send?.('ready');
}

/** Asks once. @returns who answers */
type Ask = () => Promise<string>;

class Client {
  readonly #address: string;
  readonly #ports: { readonly tcp: number; readonly udp: number };
  readonly #held: { readonly ask: Ask; readonly answers: Set<string> }[] = [];
  readonly #connected: Record<string, number> = {};
  readonly #failed: string[] = [];
  #asked = 0;
  #rounds = 0;
  #isEnded = false;

  constructor([address = '', tcp = '', udp = '']: readonly string[]) {
    this.#address = address;
    this.#ports = { tcp: Number(tcp), udp: Number(udp) };
  }

  /** Three that stay open: TCP, connected UDP, and UDP that is not connected. */
  async hold(): Promise<void> {
    for (const open of [this.#tcp, this.#connectedUdp, this.#udp]) {
      const ask = await open.call(this);
      // Once before the others are asked: who answers now is who it was connected to.
      this.#held.push({ ask, answers: new Set([await ask()]) });
    }
  }

  async hammer(): Promise<void> {
    while (!this.#isEnded) {
      await this.#noting('connect', async () => {
        const socket = await this.#open();
        const name = await answerOf(socket, () => socket.write('?'));
        this.#connected[name] = (this.#connected[name] ?? 0) + 1;
        socket.resetAndDestroy();
      });
      await pause(CONNECTION_PAUSE_MS);
    }
  }

  async ask(): Promise<void> {
    while (!this.#isEnded) {
      await this.#askHeld();
      this.#rounds += 1;
      await pause(CONNECTION_PAUSE_MS);
    }
  }

  /** Until everything that is held has been asked from now on: the round that is under way, and one more. */
  async everyHeldIsAsked(): Promise<void> {
    const enough = this.#rounds + 2;
    while (this.#rounds < enough) await pause(CONNECTION_PAUSE_MS);
  }

  end(): void {
    this.#isEnded = true;
  }

  report(): HandOverReport {
    const held = this.#held.map(({ answers }) => [...answers].sort());
    return { connected: this.#connected, held, asked: this.#asked, failed: this.#failed };
  }

  async #askHeld(): Promise<void> {
    for (const [i, { ask, answers }] of [...this.#held.entries()]) {
      this.#asked += 1;
      await this.#noting(`held ${i}`, async () => void answers.add(await ask()));
    }
  }

  async #noting(what: string, body: () => Promise<void>): Promise<void> {
    await body().catch((error: unknown) => void this.#failed.push(`${what}: ${String(error)}`));
  }

  async #open(): Promise<Socket> {
    const socket = connect(this.#ports.tcp, this.#address);
    await once(socket, 'connect');
    return socket;
  }

  async #tcp(): Promise<Ask> {
    const socket = await this.#open();
    return () => answerOf(socket, () => socket.write('?'));
  }

  async #connectedUdp(): Promise<Ask> {
    const socket = createSocket('udp4');
    socket.connect(this.#ports.udp, this.#address);
    await once(socket, 'connect');
    return () => answerOf(socket, () => socket.send('?'), 'message');
  }

  async #udp(): Promise<Ask> {
    const socket = createSocket('udp4');
    const { udp } = this.#ports;
    socket.on('message', (_, { address, port }) => {
      if (address !== this.#address || port !== udp) this.#failed.push(`answer from ${address}:${port}`);
    });
    return () => answerOf(socket, () => socket.send('?', udp, this.#address), 'message');
  }
}

async function answerOf(
  socket: NodeJS.EventEmitter,
  ask: () => unknown,
  event: 'data' | 'message' = 'data',
): Promise<string> {
  const answer = once(socket, event, { signal: AbortSignal.timeout(ANSWER_MS) });
  ask();
  const [name]: unknown[] = await answer;
  return String(name);
}

async function runClient(args: readonly string[]): Promise<void> {
  const client = new Client(args);
  await client.hold();
  const tasks = [client.hammer(), client.ask()];
  process.on('message', async (message) => {
    if (message === 'hold') {
      await client.hold();
      await client.everyHeldIsAsked();
    } else {
      client.end();
      await Promise.all(tasks);
    }
    process.send?.(client.report());
    if (message !== 'hold') process.disconnect();
  });
  process.send?.('ready');
}

if (role === 'server') await serve(rest);
else if (role === 'client') await runClient(rest);
