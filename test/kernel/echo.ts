import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { run } from './probe.ts';

interface Endpoint {
  /** IPv4; put on the loopback until disposed of */
  readonly address: string;
  readonly port: number;
}

/** An echo server on one endpoint, and a client that connects to another: IPVS has to bring them together. */
export async function openEcho(frontend: Endpoint, backend: Endpoint) {
  const addresses = [`${frontend.address}/32`, `${backend.address}/32`];
  for (const address of addresses) run(['ip', 'address', 'add', address, 'dev', 'lo']);
  const peers: Socket[] = [];
  const server = createServer((peer) => {
    peers.push(peer);
    peer.on('error', () => {}); // the client of a test that has failed resets it
    peer.pipe(peer);
  });
  server.listen(backend.port, backend.address);
  await once(server, 'listening');
  let socket: Socket | undefined;
  return {
    async connect() {
      socket = connect(frontend.port, frontend.address);
      await once(socket, 'connect');
    },
    async ask(text: string): Promise<string> {
      socket?.write(text);
      const [answer] = socket ? await once(socket, 'data') : [''];
      return String(answer);
    },
    /** Orderly, from both sides. */
    async close() {
      socket?.end();
      if (socket) await once(socket, 'close');
    },
    async [Symbol.asyncDispose]() {
      socket?.destroy();
      // A deleted real server's connection is cut: neither end hears of the other any more.
      for (const peer of peers) peer.destroy();
      server.close();
      await once(server, 'close');
      for (const address of addresses) run(['ip', 'address', 'del', address, 'dev', 'lo']);
    },
  };
}
