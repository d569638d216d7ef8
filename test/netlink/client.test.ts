import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ByteWriter } from '../../src/netlink/bytes.ts';
import { GenlClient } from '../../src/netlink/client.ts';
import {
  decodeDestination,
  decodeInfo,
  decodeService,
  deleteService,
  getDestinations,
  getInfo,
  getService,
  getServices,
  newDestination,
  newService,
} from '../../src/netlink/ipvs-messages.ts';
import { encodeMessage } from '../../src/netlink/message.ts';
import { FamilyNotFoundError, NetlinkRequestError } from '../../src/netlink/results.ts';
import { ERRNO } from '../../src/netlink/uapi/errno.ts';
import { NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR } from '../../src/netlink/uapi/nlmsg.ts';
import { FakeKernel, type FakeKernelBehaviour, type IpvsAttributes } from './fake-kernel.ts';
import { masquerade, plain, server, vip } from './ipvs-cases.ts';

const never = new AbortController().signal;
const services = (count: number) =>
  Array.from({ length: count }, (_, i) => newService(vip(i >> 8, i & 0xff, 80), plain));
const lastByte = (attributes: IpvsAttributes) => attributes.service?.address?.[3] ?? -1;

function open(behaviour: FakeKernelBehaviour = {}) {
  const kernel = new FakeKernel(behaviour);
  const client = GenlClient.open(kernel, 'IPVS');
  kernel.messagesPerSend.length = 0;
  kernel.flags.length = 0;
  return { kernel, client };
}

describe('GenlClient.open()', () => {
  test('GenlClient.open() says which family is not there', () => {
    const kernel = new FakeKernel({ familyExists: false });
    expect(() => GenlClient.open(kernel, 'IPVS')).toThrow(FamilyNotFoundError);
    expect(() => GenlClient.open(kernel, 'IPVS')).toThrow(
      expect.objectContaining({ familyName: 'IPVS', code: 'ENOENT' }),
    );
  });

  test('GenlClient.open() fails if nothing answers', () => {
    expect(() => GenlClient.open(new FakeKernel({ mute: true }), 'IPVS')).toThrow(NetlinkRequestError);
  });
});

describe('GenlClient.executeBatch()', () => {
  test('executeBatch() of nothing sends nothing', async () => {
    const { kernel, client } = open();
    expect(await client.executeBatch([], never)).toEqual([]);
    expect(kernel.messagesPerSend).toEqual([]);
  });

  test('executeBatch() sends 256 messages at a time and asks for the last acknowledgement only', async () => {
    const { kernel, client } = open();
    const results = await client.executeBatch(services(600), never);
    expect(results).toEqual(new Array(600).fill({ outcome: 'ok' }));
    expect(kernel.messagesPerSend).toEqual([256, 256, 88]);
    const withAck = kernel.flags.flatMap((flags, i) => (flags === (NLM_F_REQUEST | NLM_F_ACK) ? [i] : []));
    expect(withAck).toEqual([255, 511, 599]);
    expect(client.traffic()).toMatchObject({ writeSends: 3, writeMessages: 600, readSends: 1 });
  });

  test('executeBatch() matches refusals by sequence number', async () => {
    const errnos = new Map([
      [3, ERRNO.EEXIST],
      [4, ERRNO.ESRCH],
      [9, ERRNO.ENOENT],
    ]);
    const { client } = open({ execute: (_, attributes) => errnos.get(lastByte(attributes)) ?? 0 });
    const results = await client.executeBatch(services(10), never);
    expect(results.map((result) => ('code' in result ? result.code : result.outcome))).toEqual([
      ...['ok', 'ok', 'ok', 'EEXIST', 'ESRCH'],
      ...['ok', 'ok', 'ok', 'ok', 'ENOENT'],
    ]);
    expect(results[3]).toEqual({ outcome: 'refused', errno: 17, code: 'EEXIST' });
  });

  test('executeBatch() hands on what the kernel says in words', async () => {
    const { client } = open({ execute: () => ({ errno: ERRNO.EINVAL, text: 'bad weight' }) });
    const refused = { outcome: 'refused', errno: 22, code: 'EINVAL', message: 'bad weight' };
    expect(await client.executeBatch(services(2), never)).toEqual([refused, refused]);
  });

  test('executeBatch() reports lost answers as unknown and goes on with the next slice', async () => {
    const refuse = (command: number) => (command === 1 ? ERRNO.EEXIST : 0);
    const { kernel, client } = open({ execute: refuse, receiveBufferReplies: 100 });
    const deletions = Array.from({ length: 10 }, (_, i) => deleteService(vip(0, i, 80)));
    const results = await client.executeBatch([...services(256), ...deletions], never);
    expect(results.slice(0, 100).every((result) => result.outcome === 'refused')).toBe(true);
    expect(results.slice(100, 256)).toEqual(new Array(156).fill({ outcome: 'unknown' }));
    expect(results.slice(256)).toEqual(new Array(10).fill({ outcome: 'ok' }));
    expect(kernel.messagesPerSend).toEqual([256, 10]);
  });

  test('executeBatch() reports unknown if no answer comes', async () => {
    const { kernel, client } = open();
    Object.assign(kernel, { receive: () => ({ kind: 'timeout' }) });
    expect(await client.executeBatch(services(2), never)).toEqual(new Array(2).fill({ outcome: 'unknown' }));
  });

  test('executeBatch() stops between slices when the signal is aborted', async () => {
    const controller = new AbortController();
    const { client } = open({
      execute: () => {
        controller.abort();
        return 0;
      },
    });
    const results = await client.executeBatch(services(300), controller.signal);
    expect(results.slice(0, 256)).toEqual(new Array(256).fill({ outcome: 'ok' }));
    expect(results.slice(256)).toEqual(new Array(44).fill({ outcome: 'notAttempted' }));
  });

  test('executeBatch() sends nothing under an aborted signal', async () => {
    const { kernel, client } = open();
    expect(await client.executeBatch(services(1), AbortSignal.abort())).toEqual([
      { outcome: 'notAttempted' },
    ]);
    expect(kernel.messagesPerSend).toEqual([]);
  });

  test('executeBatch() yields to the event loop between slices', async () => {
    const { kernel, client } = open();
    let running = true;
    const batch = client.executeBatch(services(512), never).finally(() => {
      running = false;
    });
    const sendsByTurn = new Set<number>();
    while (running) {
      await setImmediate();
      sendsByTurn.add(kernel.messagesPerSend.length);
    }
    await batch;
    expect(sendsByTurn).toContain(1);
    expect(kernel.messagesPerSend).toEqual([256, 256]);
  });

  test('executeBatch() ignores answers to what it did not send', async () => {
    const { kernel, client } = open();
    const stale = new ByteWriter();
    encodeMessage(stale, { type: NLMSG_ERROR, flags: 0, sequence: 0xdead }, () => stale.u32(-ERRNO.EPERM));
    kernel.queue(stale.written());
    expect(await client.executeBatch(services(1), never)).toEqual([{ outcome: 'ok' }]);
  });

  test('executeBatch() keeps a send below the 208 KiB that a socket takes, whatever the messages are', async () => {
    const { kernel, client } = open();
    const wide = newDestination(vip(0, 1, 80), server(1, 80), masquerade);
    await client.executeBatch(new Array(1000).fill(wide), never);
    const { writeBytes } = client.traffic();
    expect((writeBytes / 1000) * Math.max(...kernel.messagesPerSend)).toBeLessThan(200 * 1024);
    expect(kernel.messagesPerSend.length).toBeLessThanOrEqual(Math.ceil(1000 / 64));
  });

  test('executeBatch() may overlap with another and with a dump', async () => {
    const { client } = open({
      execute: (_, attributes) => (lastByte(attributes) === 7 ? ERRNO.EEXIST : 0),
      dump: () => ({ rows: rows(10) }),
    });
    const [first, second, dump] = await Promise.all([
      client.executeBatch(services(600), never),
      client.executeBatch(services(300), never),
      client.dump(getServices(), decodeService, never),
    ]);
    expect(first.flatMap((result, i) => (result.outcome === 'ok' ? [] : [i]))).toEqual([7, 263, 519]);
    expect(second.flatMap((result, i) => (result.outcome === 'ok' ? [] : [i]))).toEqual([7, 263]);
    expect(dump).toMatchObject({ outcome: 'ok', rows: { length: 10 } });
  });
});

function rows(count: number): IpvsAttributes[] {
  return services(count).map(({ attributes }) => attributes);
}

describe('GenlClient.dump()', () => {
  test.each([
    0, 1, 3, 10,
  ])('dump() reads a table of %d rows from as many datagrams as it takes', async (count) => {
    const { client } = open({ dump: () => ({ rows: rows(count) }) });
    const wanted = services(count).map((_, i) => ({ ...vip(0, i, 80), ...plain }));
    expect(await client.dump(getServices(), decodeService, never)).toEqual({ outcome: 'ok', rows: wanted });
  });

  test('dump() reads again what changed meanwhile', async () => {
    let dumps = 0;
    const { kernel, client } = open({ dump: () => ({ rows: rows(5), interrupted: ++dumps < 3 }) });
    expect(await client.dump(getServices(), decodeService, never)).toMatchObject({ outcome: 'ok' });
    expect(kernel.messagesPerSend).toEqual([1, 1, 1]);
  });

  test('dump() gives up on a table that keeps changing, and the socket stays usable', async () => {
    let interrupted = true;
    const { kernel, client } = open({ dump: () => ({ rows: rows(5), interrupted }) });
    expect(await client.dump(getServices(), decodeService, never)).toEqual({ outcome: 'inconsistent' });
    expect(kernel.messagesPerSend).toEqual([1, 1, 1, 1]);
    interrupted = false;
    expect(await client.dump(getServices(), decodeService, never)).toMatchObject({ outcome: 'ok' });
  });

  test('dump() hands on an error in NLMSG_DONE', async () => {
    const { client } = open({ dump: () => ({ rows: rows(1), errno: ERRNO.ENOMEM }) });
    expect(await client.dump(getServices(), decodeService, never)).toEqual({
      outcome: 'refused',
      errno: 12,
      code: 'ENOMEM',
    });
  });

  test.each(['overrun', 'truncated'] as const)('dump() reads again after %s', async (kind) => {
    const { kernel, client } = open({ dump: () => ({ rows: rows(5) }) });
    const receive = kernel.receive.bind(kernel);
    let calls = 0;
    Object.assign(kernel, {
      receive: (timeoutMs: number) => (calls++ === 1 ? { kind } : receive(timeoutMs)),
    });
    expect(await client.dump(getServices(), decodeService, never)).toMatchObject({
      outcome: 'ok',
      rows: { length: 5 },
    });
    expect(kernel.messagesPerSend).toEqual([1, 1]);
  });

  test('dump() throws the reason of an aborted signal', async () => {
    const { client } = open();
    const reason = new Error('enough');
    await expect(client.dump(getServices(), decodeService, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  test('dump() gives rows that do not change when the transport reuses its memory', async () => {
    const { kernel, client } = open({
      dump: () => ({ rows: [{ destination: { ...server(1, 80), ...masquerade } }] }),
    });
    const memory = new Uint8Array(65536);
    const receive = kernel.receive.bind(kernel);
    Object.assign(kernel, {
      receive: (timeoutMs: number) => {
        const received = receive(timeoutMs);
        memory.fill(0xee);
        if (received.kind !== 'datagram') return received;
        memory.set(received.bytes);
        return { kind: 'datagram', bytes: memory.subarray(0, received.bytes.length) };
      },
    });
    const request = getDestinations(vip(0, 1, 80));
    expect(await client.dump(request, (message) => decodeDestination(message, 2), never)).toMatchObject({
      rows: [server(1, 80)],
    });
  });
});

describe('GenlClient.query()', () => {
  test('query() hands on a refusal', () => {
    const { client } = open({ execute: () => ERRNO.ESRCH });
    expect(client.query(getService(vip(0, 1, 80)), decodeService)).toMatchObject({
      outcome: 'refused',
      code: 'ESRCH',
    });
  });

  test('query() is unknown if no answer comes', () => {
    const { kernel, client } = open();
    Object.assign(kernel, { receive: () => ({ kind: 'timeout' }) });
    expect(client.query(getInfo(), decodeInfo)).toEqual({ outcome: 'unknown' });
  });
});
