import { createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ApiAccess } from '../../src/cluster/api-credentials-store.ts';
import { bytesOf, createAgent, type HttpRequest, send, textOf } from '../../src/cluster/api-http.ts';
import { StandIn } from './stand-in.ts';

const never = new AbortController().signal;
const REQUEST: HttpRequest = {
  method: 'GET',
  path: '/version',
  query: {},
  headers: {},
  body: null,
  answerTimeoutMs: 5000,
  signal: never,
};

let parts: AsyncDisposableStack;
let api: StandIn;
beforeEach(async () => {
  parts = new AsyncDisposableStack();
  api = parts.use(await StandIn.start());
});
afterEach(() => parts.disposeAsync());

function accessTo(url: string): ApiAccess {
  const tls = { rejectUnauthorized: true };
  return { server: new URL(url), tlsServerName: null, tls, headers: {}, agent: null };
}

function ask(wanted: Partial<HttpRequest> = {}, access = accessTo(api.url), host = access.server.host) {
  const agent = createAgent(access.tls);
  parts.defer(() => agent.destroy());
  return send(access, agent, host, { ...REQUEST, ...wanted });
}

/** A listener that takes connections, and does with them what it is told. */
async function listener(taken: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    taken(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  parts.defer(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  const address = server.address();
  return `127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
}

describe('send()', () => {
  it('asks below the path of the server, with the query, headers and body', async () => {
    const access = accessTo(`${api.url}/clusters/one/`);
    const query = { limit: '5', continue: 'a&b' };
    await ask({ method: 'POST', query, headers: { 'X-Test': 'yes' }, body: '{"a":1}' }, access);
    expect(api.asked).toMatchObject([
      { method: 'POST', path: '/clusters/one/version', query, headers: { 'x-test': 'yes' }, body: '{"a":1}' },
    ]);
  });

  it('connects to another host in the name of the server', async () => {
    await ask({}, accessTo('http://api.example:6443'), api.address);
    expect(api.asked[0]?.headers.host).toBe('api.example:6443');
  });

  it('gives up a server that takes the connection and says nothing', async () => {
    const host = await listener(() => undefined);
    await expect(ask({ answerTimeoutMs: 100 }, accessTo(`http://${host}`))).rejects.toMatchObject({
      message: `Cannot GET http://${host}/version: no answer within 0.1 s`,
      code: 'ETIMEDOUT',
      status: null,
    });
  });

  it('names what stopped it where nobody listens, or the connection is cut', async () => {
    await expect(ask({}, accessTo('http://127.0.0.1:1'))).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    const host = await listener((socket) => socket.destroy());
    await expect(ask({}, accessTo(`http://${host}`))).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  it('ends with the reason of the signal, before and while it waits', async () => {
    await expect(ask({ signal: AbortSignal.abort(new Error('over')) })).rejects.toThrow('over');
    expect(api.asked).toEqual([]);
    const over = new AbortController();
    api.answer = () => over.abort(new Error('enough'));
    await expect(ask({ signal: over.signal })).rejects.toThrow('enough');
  });
});

describe('bytesOf()', () => {
  const read = async (idleTimeoutMs: number, signal = never) => {
    const response = await ask();
    const texts: string[] = [];
    const ended = (async () => {
      for await (const bytes of bytesOf(response, 'GET it', idleTimeoutMs, signal)) {
        texts.push(Buffer.from(bytes).toString());
      }
    })();
    return { texts, ended };
  };

  it('yields what has come, at once, and ends where the server ends', async () => {
    let goOn: () => void = () => undefined;
    api.answer = (_, response) => {
      response.write('one');
      goOn = () => response.end('two');
    };
    const { texts, ended } = await read(5000);
    await expect.poll(() => texts).toEqual(['one']);
    goOn();
    await ended;
    expect(texts).toEqual(['one', 'two']);
  });

  it('gives up one that falls silent, counted from what came last', async () => {
    api.answer = (_, response) => {
      response.write('0');
      for (let i = 1; i < 10; i++) setTimeout(() => response.write(String(i)), i * 100);
    };
    const { texts, ended } = await read(700);
    await expect(ended).rejects.toThrow('Cannot GET it: nothing has come within 0.7 s');
    expect(texts.join('')).toBe('0123456789');
  });

  it('says that it was cut off', async () => {
    api.answer = (_, response) => {
      response.write('one');
      setTimeout(() => api.cut(), 20);
    };
    const { ended } = await read(5000);
    await expect(ended).rejects.toMatchObject({ name: 'ApiError', code: 'ECONNRESET' });
  });

  it('ends with the reason of the signal', async () => {
    const over = new AbortController();
    api.answer = (_, response) => response.write('one');
    const response = await ask({ signal: over.signal });
    const ended = textOf(response, 'GET it', 5000, over.signal);
    over.abort(new Error('enough'));
    await expect(ended).rejects.toThrow('enough');
  });

  it('closes the connection of who does not read to the end', async () => {
    api.answer = (_, response) => void response.write('one');
    const response = await ask();
    for await (const _ of bytesOf(response, 'GET it', 5000, never)) break;
    expect(response.destroyed).toBe(true);
  });
});

describe('textOf()', () => {
  it('joins letters that were cut in two', async () => {
    const bytes = Buffer.from('é');
    api.answer = (_, response) => {
      response.write(bytes.subarray(0, 1));
      setTimeout(() => response.end(bytes.subarray(1)), 20);
    };
    expect(await textOf(await ask(), 'GET it', 5000, never)).toBe('é');
  });
});
