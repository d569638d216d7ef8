import { describe, expect, test, vi } from 'vitest';
import { addressesDataplane } from '../../../src/dataplane/addresses/index.ts';
import { type AddressChange, type AddressOp, operation } from '../../../src/dataplane/addresses/ops.ts';
import { EMPTY_LEDGER } from '../../../src/dataplane/ledger.ts';
import { MemoryLedger } from '../../fakes/ledger.ts';
import { FakeLinkKernel } from '../../fakes/link-kernel.ts';
import { ip, LINK } from './fixtures.ts';

const NEVER = new AbortController().signal;
const op = (change: AddressChange): AddressOp => operation(change, 'a test');
const addAddress = (address: string) => op({ op: 'addAddress', link: LINK, address: ip(address) });
const ADD_LINK = op({ op: 'addLink', link: LINK });

function nodeWith(ledger = EMPTY_LEDGER) {
  const kernel = new FakeLinkKernel();
  const eth0 = kernel.foreignLink('eth0', null);
  kernel.foreignAddress(eth0, ip('192.0.2.10'), 24);
  const memory = new MemoryLedger(ledger);
  const dataplane = addressesDataplane(kernel, memory, { interface: LINK, clusterIPs: 'bind' });
  return { kernel, ledger: memory, dataplane };
}

describe('apply()', () => {
  test('enters in the ledger what it is about to make before it asks the kernel', async () => {
    const { kernel, ledger, dataplane } = nodeWith();
    kernel.faults = {
      before: () => {
        expect([...ledger.read().links, ...ledger.read().addresses]).toEqual([
          LINK,
          '10.96.0.9',
          '10.96.0.10',
        ]);
        return undefined;
      },
    };
    await dataplane.apply([ADD_LINK, addAddress('10.96.0.9'), addAddress('10.96.0.10')], NEVER);
    expect(kernel.changes).toHaveLength(3);
    expect(ledger.writes).toBe(1);
  });

  test('changes nothing if the ledger cannot be written', async () => {
    const { kernel, ledger, dataplane } = nodeWith();
    ledger.full = true;
    await expect(dataplane.apply([ADD_LINK], NEVER)).rejects.toThrow('ENOSPC');
    expect(kernel.changes).toEqual([]);
  });

  test('strikes out of the ledger what is gone, and what was not made', async () => {
    const { kernel, ledger, dataplane } = nodeWith();
    await dataplane.apply([ADD_LINK, addAddress('10.96.0.9'), addAddress('10.96.0.10')], NEVER);
    kernel.faults = { before: (change) => (change === 'addAddress 10.96.0.11' ? 'ENOMEM' : undefined) };
    const gone = op({ op: 'deleteAddress', link: LINK, address: ip('10.96.0.9') });
    const report = await dataplane.apply([addAddress('10.96.0.11'), gone], NEVER);
    expect(report.refused.map(({ message }) => message)).toEqual([
      'Cannot add address 10.96.0.11 to svcplane0: ENOMEM',
    ]);
    expect([...ledger.read().addresses]).toEqual(['10.96.0.10']);
  });

  test('writes neither kernel nor ledger for no operations', async () => {
    const { kernel, ledger, dataplane } = nodeWith();
    await dataplane.apply([], NEVER);
    expect([kernel.changes, ledger.writes]).toEqual([[], 0]);
  });

  test('adopts and forgets in the ledger alone', async () => {
    const { kernel, ledger, dataplane } = nodeWith({ ...EMPTY_LEDGER, links: new Set(['old0']) });
    const forget = op({ op: 'forgetMissing', entry: { kind: 'link', link: 'old0' } });
    const adopt = op({ op: 'adoptAddress', address: ip('10.96.0.9') });
    await dataplane.apply([adopt, op({ op: 'adoptRoute', prefix: '10.97.0.0/16' }), forget], NEVER);
    expect(ledger.read()).toMatchObject({
      addresses: new Set(['10.96.0.9']),
      routes: new Set(['10.97.0.0/16']),
      links: new Set(),
    });
    expect(kernel.changes).toEqual([]);
  });

  test('takes for success what is as it should be already', async () => {
    const { dataplane } = nodeWith();
    await dataplane.apply([ADD_LINK, addAddress('10.96.0.9')], NEVER);
    const ops = [
      addAddress('10.96.0.9'),
      op({ op: 'deleteAddress', link: LINK, address: ip('10.96.0.77') }),
      op({ op: 'deleteAddress', link: 'gone0', address: ip('10.96.0.77') }),
      op({ op: 'deleteRoute', link: LINK, prefix: '10.97.0.0/16' }),
      op({ op: 'deleteLink', link: 'gone0' }),
    ];
    expect((await dataplane.apply(ops, NEVER)).acknowledged).toEqual(ops);
  });

  test('reports a missing dummy module once, with the fix, and leaves the rest', async () => {
    const { kernel, ledger, dataplane } = nodeWith();
    kernel.hasDummy = false;
    const rest = [addAddress('10.96.0.9'), addAddress('10.96.0.10')];
    const report = await dataplane.apply([ADD_LINK, ...rest], NEVER);
    expect(report.refused.map(({ message }) => message)).toEqual([
      'Cannot add link svcplane0: EOPNOTSUPP: this kernel has no dummy links loaded: run modprobe dummy, or choose a kernel that has them',
    ]);
    expect(report.notAttempted).toEqual(rest);
    expect(ledger.read().addresses.size).toBe(0);
  });

  test('reports a missing privilege once, and leaves the rest', async () => {
    const { kernel, dataplane } = nodeWith();
    await dataplane.apply([ADD_LINK], NEVER);
    kernel.faults = { before: () => 'EPERM' };
    const rest = [addAddress('10.96.0.10'), addAddress('10.96.0.11')];
    const report = await dataplane.apply([addAddress('10.96.0.9'), ...rest], NEVER);
    expect(report.refused.map(({ message }) => message)).toEqual([
      'Cannot add address 10.96.0.9 to svcplane0: EPERM: run as root or with CAP_NET_ADMIN',
    ]);
    expect(report.notAttempted).toEqual(rest);
  });

  test.each([
    {
      op: addAddress('fd00::9'),
      code: 'EACCES',
      message:
        'Cannot add address fd00::9 to svcplane0: EACCES: IPv6 is off here: allow it (sysctl net.ipv6.conf.all.disable_ipv6=0), or use IPv4 Services only',
    },
    {
      op: op({ op: 'addRoute', link: LINK, prefix: '10.97.0.0/16', source: null }),
      code: 'EEXIST',
      message:
        'Cannot add route 10.97.0.0/16 to svcplane0: EEXIST: somebody else made this range local (ip route show table local shows who)',
    },
    {
      op: op({ op: 'deleteAddress', link: LINK, address: ip('10.96.0.9') }),
      code: 'EBUSY',
      message: 'Cannot delete address 10.96.0.9 from svcplane0: EBUSY',
    },
    {
      op: op({ op: 'setLinkUp', link: LINK }),
      code: 'EBUSY',
      message: 'Cannot set link svcplane0 up: EBUSY',
    },
    {
      op: op({ op: 'setRouteSource', link: LINK, prefix: '10.97.0.0/16', source: null }),
      code: 'EBUSY',
      message: 'Cannot set the source of route 10.97.0.0/16 to none: EBUSY',
    },
  ])('says of $code: $message', async ({ op: refused, code, message }) => {
    const { kernel, dataplane } = nodeWith();
    await dataplane.apply([ADD_LINK], NEVER);
    kernel.faults = { before: () => code };
    const report = await dataplane.apply([refused], NEVER);
    expect(report.refused).toEqual([{ op: refused, code, message }]);
  });

  test('does nothing more once aborted, and says what is left', async () => {
    const { kernel, ledger, dataplane } = nodeWith();
    const abort = new AbortController();
    kernel.faults = {
      before: () => {
        abort.abort();
        return undefined;
      },
    };
    const report = await dataplane.apply([ADD_LINK, addAddress('10.96.0.9')], abort.signal);
    expect(report.acknowledged).toEqual([ADD_LINK]);
    expect(report.notAttempted).toEqual([addAddress('10.96.0.9')]);
    expect(ledger.read().addresses.size).toBe(0);
  });

  describe('in batches', () => {
    const addresses = Array.from({ length: 600 }, (_, i) => `10.96.${i >> 8}.${i & 255}`);
    const many = addresses.map(addAddress);

    test('asks in order, at most 256 at once, the first alone', async () => {
      const { kernel, dataplane } = nodeWith();
      const report = await dataplane.apply([ADD_LINK, ...many], NEVER);
      expect(report.acknowledged).toHaveLength(601);
      expect(kernel.batches).toEqual([1, 256, 256, 88]);
      expect(kernel.changes.slice(1)).toEqual(addresses.map((address) => `addAddress ${address}`));
    });

    test('looks the link up once', async () => {
      const { kernel, dataplane } = nodeWith();
      const lookUp = vi.spyOn(kernel, 'link');
      await dataplane.apply([ADD_LINK, ...many], NEVER);
      expect(lookUp.mock.calls).toEqual([[LINK]]);
    });

    test('reports the refused ones in the midst, and makes all others', async () => {
      const { kernel, ledger, dataplane } = nodeWith();
      const [first, last] = ['10.96.0.77', '10.96.1.200'];
      const unlucky = new Set([`addAddress ${first}`, `addAddress ${last}`]);
      kernel.faults = { before: (change) => (unlucky.has(change) ? 'ENOMEM' : undefined) };
      const report = await dataplane.apply([ADD_LINK, ...many], NEVER);
      expect(report.refused.map(({ message }) => message)).toEqual([
        `Cannot add address ${first} to svcplane0: ENOMEM`,
        `Cannot add address ${last} to svcplane0: ENOMEM`,
      ]);
      expect(report.notAttempted).toEqual([]);
      const made = addresses.filter((address) => address !== first && address !== last);
      expect(report.acknowledged).toEqual([ADD_LINK, ...made.map(addAddress)]);
      expect([...ledger.read().addresses]).toEqual(made);
    });

    test('finishes a batch that lost its privilege, and attempts no other', async () => {
      const { kernel, dataplane } = nodeWith();
      let changes = 0;
      kernel.faults = { before: () => (++changes > 100 ? 'EPERM' : undefined) };
      const report = await dataplane.apply([ADD_LINK, ...many], NEVER);
      const { acknowledged, refused, notAttempted } = report;
      expect([acknowledged.length, refused.length, notAttempted.length]).toEqual([100, 157, 344]);
      expect(notAttempted).toEqual(many.slice(256));
    });

    test('aborted in the midst of a batch finishes it, and says what is left', async () => {
      const { kernel, ledger, dataplane } = nodeWith();
      const abort = new AbortController();
      kernel.faults = {
        before: (change) => {
          if (change === 'addAddress 10.96.0.99') abort.abort();
          return undefined;
        },
      };
      const report = await dataplane.apply([ADD_LINK, ...many], abort.signal);
      expect(report.acknowledged).toEqual([ADD_LINK, ...many.slice(0, 256)]);
      expect(report.notAttempted).toEqual(many.slice(256));
      expect(ledger.read().addresses.size).toBe(256);
    });

    test('leaves the ledger ahead of the kernel if the channel breaks in the midst', async () => {
      const { kernel, ledger, dataplane } = nodeWith();
      kernel.faults = {
        before: (change) => {
          if (change === 'addAddress 10.96.1.7') throw new Error('ENOBUFS');
          return undefined;
        },
      };
      await expect(dataplane.apply([ADD_LINK, ...many], NEVER)).rejects.toThrow('ENOBUFS');
      expect(await kernel.addresses()).toHaveLength(2 + 263);
      expect(ledger.read().addresses.size).toBe(600);
    });

    test('does not take one link for another', async () => {
      const { dataplane } = nodeWith();
      await dataplane.apply([ADD_LINK, addAddress('10.96.0.9')], NEVER);
      const ops = ['gone0', 'eth0', LINK].map((link) =>
        op({ op: 'addAddress', link, address: ip('10.96.0.10') }),
      );
      const report = await dataplane.apply(ops, NEVER);
      expect(report.refused.map(({ op: { subject }, code }) => [subject, code])).toEqual([
        ['address 10.96.0.10', 'ENODEV'],
      ]);
      expect(report.acknowledged).toEqual(ops.slice(1));
    });
  });
});
