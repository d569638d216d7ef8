import { spawnSync } from 'node:child_process';
import { mkdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  inNetworkNamespace,
  networkNamespaceCookie,
  probeSeeingNetworkNamespaces,
  visibleNetworkNamespaces,
} from '../../native-bindings/network-namespace.ts';
import { probeCapability } from '../../native-bindings/probe.ts';
import { createNamespace, type NetworkNamespace } from '../kernel/probe.ts';
import { RawSocket } from './raw-sockets.ts';

const own = () => readlinkSync('/proc/thread-self/ns/net');
const capability = probeCapability('CAP_SYS_ADMIN');
const options =
  capability.outcome === 'supported' ? {} : { skip: true, meta: { skipReason: capability.reason } };

describe('inNetworkNamespace()', options, () => {
  let namespace: NetworkNamespace | undefined;
  let path = '';
  const home = own();

  beforeAll(() => {
    namespace = createNamespace('setns');
    path = `/run/netns/${namespace.name}`;
  });

  afterAll(() => namespace?.[Symbol.dispose]());

  test('inNetworkNamespace() is there while it runs, and back after', () => {
    expect(inNetworkNamespace(path, own)).not.toBe(home);
    expect(own()).toBe(home);
  });

  test('networkNamespaceCookie() is another one in each namespace, and that of its sockets', () => {
    const cookie = networkNamespaceCookie();
    const other = inNetworkNamespace(path, networkNamespaceCookie);
    using socket = inNetworkNamespace(path, () => new RawSocket('UDP'));
    expect([typeof cookie, other]).toEqual(['bigint', socket.namespaceCookie()]);
    expect(other).not.toBe(cookie);
    expect(networkNamespaceCookie()).toBe(cookie);
  });

  test('inNetworkNamespace() comes back when it throws', () => {
    const body = () => {
      throw new RangeError(own());
    };
    expect(() => inNetworkNamespace(path, body)).toThrow(RangeError);
    expect(own()).toBe(home);
  });

  test('inNetworkNamespace() refuses what would go on later', () => {
    expect(() => inNetworkNamespace(path, async () => own())).toThrow('must be synchronous');
    expect(own()).toBe(home);
  });

  test('inNetworkNamespace() throws for what is no namespace, and stays', () => {
    expect(() => inNetworkNamespace('/proc/self/status', own)).toThrow(
      expect.objectContaining({ syscall: 'setns /proc/self/status', code: 'EINVAL' }),
    );
    expect(() => inNetworkNamespace('/no/such', own)).toThrow('ENOENT');
    expect(own()).toBe(home);
  });
});

describe('visibleNetworkNamespaces()', options, () => {
  test('finds that of a process, and that of a name', () => {
    using namespace = createNamespace('seen');
    const idAt = (path: string) => inNetworkNamespace(path, own).replace(/\D/g, '');
    const seen = [...visibleNetworkNamespaces()];
    const path = `/run/netns/${namespace.name}`;
    expect(seen).toContainEqual({ id: idAt(path), path });
    const mine = `/proc/${process.pid}/ns/net`;
    expect(seen).toContainEqual({ id: idAt(mine), path: mine });
  });

  test('passes over a name whose namespace is not mounted any more', () => {
    const path = '/run/netns/svcplane-no-namespace';
    mkdirSync('/run/netns', { recursive: true });
    writeFileSync(path, '');
    using _ = { [Symbol.dispose]: () => rmSync(path) };
    expect([...visibleNetworkNamespaces()].filter((each) => each.path === path)).toEqual([]);
  });
});

describe('probeSeeingNetworkNamespaces()', options, () => {
  test('says yes where names are bound', () => {
    using _ = createNamespace('probed');
    expect(probeSeeingNetworkNamespaces()).toEqual({ outcome: 'supported' });
  });

  test('says no in a container that has neither the names nor the processes of the node', () => {
    const script = `
      const { probeSeeingNetworkNamespaces } = await import('${join(import.meta.dirname, '../../native-bindings/network-namespace.ts')}');
      console.log(JSON.stringify(probeSeeingNetworkNamespaces()));
    `;
    const within = 'mount -t tmpfs tmpfs /run && mount -t proc proc /proc && exec "$@"';
    const command = ['--mount', '--pid', '--fork', 'sh', '-c', within, 'sh', process.execPath];
    const { stdout, stderr } = spawnSync('unshare', [...command, '--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    if (stdout === '') throw new Error(stderr);
    expect(JSON.parse(stdout)).toEqual({
      outcome: 'unsupported',
      reason: 'there is no /run/netns, and the namespaces of processes are not to be seen',
    });
  });
});
