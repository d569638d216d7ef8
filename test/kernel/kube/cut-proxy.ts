import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** Connections to a server, which can be cut. */
export interface CutProxy extends AsyncDisposable {
  readonly port: number;
  /** Resets what there is; new connections are let through. */
  cut(): void;
  /** From now on: `pass`, or `refuse` as a host without the server does, or `silent` as one that is gone. */
  set(mode: Mode): void;
}

type Mode = 'pass' | 'refuse' | 'silent';

/** Listens on a port of an address of this host, 127.0.0.1 if none is named, and passes on what comes. */
export async function startCutProxy(host: string, port: number, at = '127.0.0.1'): Promise<CutProxy> {
  const pairs = new Map<Socket, Socket>();
  let mode: Mode = 'pass';
  const server = createServer((near) => {
    if (mode === 'refuse') {
      near.resetAndDestroy();
      return;
    }
    const far = connect(port, host);
    pairs.set(near, far);
    const end = () => {
      near.destroy();
      far.destroy();
      pairs.delete(near);
    };
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (bytes) => {
        if (mode !== 'silent') to.write(bytes);
      });
      from.on('error', end);
      from.on('close', end);
    }
  });
  const cut = () => {
    for (const [near, far] of pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
  };
  server.listen(0, at);
  await once(server, 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    cut,
    set: (next) => {
      mode = next;
      if (next === 'refuse') cut();
    },
    [Symbol.asyncDispose]: async () => {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
