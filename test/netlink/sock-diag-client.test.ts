import { describe, expect, test } from 'vitest';
import { SockDiagClient } from '../../src/netlink/sock-diag-client.ts';
import type { ListedSocket } from '../../src/netlink/sock-diag-messages.ts';
import { ERRNO } from '../../src/netlink/uapi/errno.ts';
import { FakeSockDiag, type FakeSockDiagBehaviour, type FakeSocket } from './fake-sock-diag.ts';

const four = (cookie: bigint, port: number): FakeSocket => ({
  family: 2,
  cookie,
  destination: Uint8Array.of(10, 0, 0, 1),
  destinationPort: port,
});
const SOCKETS: readonly FakeSocket[] = [
  four(1n, 53),
  four(2n, 53),
  four(0x5_0000_0003n, 53),
  four(4n, 80),
  { ...four(5n, 53), family: 10, destination: new Uint8Array(16) },
];

const open = (behaviour?: FakeSockDiagBehaviour) => {
  const kernel = new FakeSockDiag(SOCKETS, behaviour);
  return { kernel, client: new SockDiagClient(kernel) };
};
const all = () => true;

async function listed(client: SockDiagClient, family = 2, port = 0): Promise<readonly ListedSocket[]> {
  const answer = await client.list(family, port, all);
  if (answer.outcome !== 'ok') throw new Error(answer.outcome);
  return answer.row;
}

const cookiesOf = (sockets: readonly ListedSocket[]) => sockets.map(({ cookie }) => cookie);

describe('SockDiagClient', () => {
  test('list() reads the sockets of a family, those to one port, and those that are wanted', async () => {
    const { client } = open();
    expect(cookiesOf(await listed(client))).toEqual([1n, 2n, 0x5_0000_0003n, 4n]);
    expect(cookiesOf(await listed(client, 2, 80))).toEqual([4n]);
    expect(cookiesOf(await listed(client, 10))).toEqual([5n]);
    const wanted = await client.list(2, 53, ({ cookie }) => cookie === 2n);
    expect(wanted.outcome === 'ok' && cookiesOf(wanted.row)).toEqual([2n]);
  });

  test('end() ends one socket and no other; one that is gone is as it should be', async () => {
    const { kernel, client } = open();
    const [one, two] = await listed(client);
    if (!one || !two) throw new Error('not listed');
    expect([client.end(one), client.end(one)]).toEqual([{ outcome: 'ok' }, { outcome: 'ok' }]);
    expect(kernel.sockets.map(({ cookie }) => cookie)).toEqual([2n, 0x5_0000_0003n, 4n, 5n]);
  });

  test('a refusal is a value, of a list and of an end', async () => {
    expect(await open({ listRefusal: ERRNO.ENOENT }).client.list(2, 0, all)).toMatchObject({
      outcome: 'refused',
      code: 'ENOENT',
    });
    const { client } = open({ endRefusal: ERRNO.EOPNOTSUPP });
    const [one] = await listed(client);
    expect(one && client.end(one)).toMatchObject({ outcome: 'refused', code: 'EOPNOTSUPP' });
  });

  test('list() does not take a part for the whole', async () => {
    expect(await open({ overruns: true }).client.list(2, 0, all)).toEqual({ outcome: 'unknown' });
  });
});
