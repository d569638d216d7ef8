import { describe, expect, it } from 'vitest';
import type { EndedSockets, SocklbOutcome } from '../../../src/dataplane/socklb/kernel.ts';
import { NamespaceSockets, type VisibleNamespace } from '../../../src/dataplane/socklb/sockets-client.ts';
import { mappedBytes } from '../../../src/model/address.ts';
import { ERRNO } from '../../../src/netlink/uapi/errno.ts';
import { FakeSockDiag, type FakeSockDiagBehaviour, type FakeSocket } from '../../netlink/fake-sock-diag.ts';
import { address } from '../../trace/build.ts';
import { NEVER } from './build.ts';

/** A socket of a family that is connected to an address. */
function socket(cookie: bigint, family: 2 | 10, to: string, destinationPort = 53): FakeSocket {
  const bytes = mappedBytes(address(to));
  return { family, cookie, destination: family === 2 ? bytes.slice(12) : bytes, destinationPort };
}

/** A machine with network namespaces; each holder is a process, or a name. */
class Machine {
  readonly namespaces: ReadonlyMap<string, FakeSockDiag>;
  readonly opened: string[] = [];
  readonly #holders: readonly VisibleNamespace[];

  constructor(
    sockets: Readonly<Record<string, readonly FakeSocket[]>>,
    holders: readonly string[],
    behaviour: Readonly<Record<string, FakeSockDiagBehaviour>> = {},
  ) {
    const made = Object.entries(sockets).map(
      ([id, each]) => [id, new FakeSockDiag(each, behaviour[id])] as const,
    );
    this.namespaces = new Map(made);
    this.#holders = holders.map((holder) => ({ id: holder.split(' ')[0] ?? '', path: holder }));
  }

  async end(targets: readonly EndedSockets[], signal = NEVER): Promise<SocklbOutcome> {
    const sockets = new NamespaceSockets(
      { outcome: 'supported' },
      {
        candidates: () => this.#holders,
        open: ({ id, path }) => {
          this.opened.push(path ?? '');
          const found = path?.endsWith('gone') ? undefined : this.namespaces.get(id);
          if (!found) throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
          found.isClosed = false;
          return found;
        },
      },
    );
    return sockets.endSockets(targets, signal);
  }

  left(): readonly bigint[] {
    return [...this.namespaces.values()].flatMap(({ sockets }) => sockets.map(({ cookie }) => cookie));
  }
}

const to = (text: string, cookies: readonly bigint[], port = 53): EndedSockets => ({
  address: address(text),
  port,
  cookies: new Set(cookies),
});

describe('NamespaceSockets', () => {
  it('ends sockets by cookie and destination, in each namespace, of either family', async () => {
    const machine = new Machine(
      {
        '1': [socket(1n, 2, '10.0.0.3'), socket(2n, 2, '10.0.0.4'), socket(3n, 2, '10.0.0.3')],
        '2': [socket(4n, 10, '10.0.0.3'), socket(5n, 10, 'fd00::3'), socket(6n, 2, '10.0.0.3', 54)],
      },
      ['1 a', '2 b'],
    );
    // 2 and 6 were connected to it once.
    const targets = [to('10.0.0.3', [1n, 2n, 4n, 6n, 99n]), to('fd00::3', [5n])];
    expect(await machine.end(targets)).toEqual({ outcome: 'ok' });
    expect(machine.left()).toEqual([2n, 3n, 6n]);
    expect([...machine.namespaces.values()].map(({ isClosed }) => isClosed)).toEqual([true, true]);
  });

  it('looks at each namespace once, passes over holders that are gone, and goes no further than it must', async () => {
    const machine = new Machine({ '1': [], '2': [socket(1n, 2, '10.0.0.3')], '3': [], '4': [] }, [
      '1 a',
      '1 b',
      '2 gone',
      '2 c',
      '3 gone',
      '4 d',
    ]);
    await machine.end([to('10.0.0.3', [1n])]);
    expect(machine.opened).toEqual(['1 a', '2 gone', '2 c']);
    expect(machine.left()).toEqual([]);
    machine.opened.length = 0;
    await machine.end([to('10.0.0.3', [1n])]);
    expect(machine.opened).toEqual(['1 a', '2 gone', '2 c', '3 gone', '4 d']);
  });

  it.each([
    { name: 'a list', behaviour: { listRefusal: ERRNO.EPERM }, code: 'EPERM' },
    { name: 'an end', behaviour: { endRefusal: ERRNO.EOPNOTSUPP }, code: 'EOPNOTSUPP' },
    { name: 'a part that is lost', behaviour: { overruns: true }, code: 'ENOBUFS' },
  ])('tells of $name that fails, and goes on in other namespaces', async ({ behaviour, code }) => {
    const machine = new Machine(
      { '1': [socket(1n, 2, '10.0.0.3')], '2': [socket(2n, 2, '10.0.0.3')] },
      ['1 a', '2 b'],
      { '1': behaviour },
    );
    expect(await machine.end([to('10.0.0.3', [1n, 2n])])).toEqual({ outcome: 'refused', code });
    expect(machine.left()).toEqual([1n]);
  });

  it('stops between namespaces when it is aborted', async () => {
    const machine = new Machine({ '1': [], '2': [] }, ['1 a', '2 b']);
    const abort = new AbortController();
    const ended = machine.end([to('10.0.0.3', [1n])], abort.signal);
    abort.abort();
    await expect(ended).rejects.toThrow(abort.signal.reason);
    expect(machine.opened).toEqual(['1 a']);
  });
});
