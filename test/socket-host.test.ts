import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import * as links from '../native-bindings/bpf-links.ts';
import * as maps from '../native-bindings/bpf-maps.ts';
import * as objects from '../native-bindings/bpf-object.ts';
import * as programs from '../native-bindings/bpf-programs.ts';
import * as netlink from '../native-bindings/netlink-socket.ts';
import * as namespaces from '../native-bindings/network-namespace.ts';
import { probeCapability } from '../native-bindings/probe.ts';
import * as diagnosis from '../native-bindings/socket-diagnosis-probe.ts';
import { openEnder } from '../src/socket-ending-host.ts';
import { inspectSockets, NodeSockets, type SocketBindings } from '../src/socket-host.ts';
import { FakeSockDiag } from './netlink/fake-sock-diag.ts';
import { address } from './trace/build.ts';

const SUPPORTED = { outcome: 'supported' } as const;
const EXCLUSIVE = { connect4: { flags: 0, ids: [7] }, sendmsg4: { flags: 1, ids: [8, 9] } };

/** A kernel that can do everything, but for `change`; nothing is made in it. */
function bindings(change: Partial<SocketBindings> = {}): SocketBindings {
  return {
    ...links,
    ...maps,
    ...objects,
    ...programs,
    ...namespaces,
    ...netlink,
    ...diagnosis,
    findCgroup2Mounts: () => [{ path: '/sys/fs/cgroup', isHostRoot: true, isHandedIn: false }],
    probeBpffs: () => SUPPORTED,
    probeMakingDirectories: () => SUPPORTED,
    mountFileSystem: (type, path) => expect.fail(`mount ${type} ${path}`),
    unmountFileSystem: (path) => expect.fail(`umount ${path}`),
    probeBpf: () => SUPPORTED,
    probeSockAddrPrograms: () => SUPPORTED,
    probeSocketStorage: () => SUPPORTED,
    probeLinks: () => SUPPORTED,
    probeSetRetval: () => SUPPORTED,
    probeSeeingNetworkNamespaces: () => SUPPORTED,
    queryPrograms: () => ({ flags: 0, ids: [] }),
    ...change,
  };
}

/** Who may not look at process 1 can't know. */
function isOnNode(): boolean {
  const [own, first] = ['self', '1'].map((process) => statSync(`/proc/${process}/net/dev`).ino);
  return own === first;
}

const LACKS = { outcome: 'unsupported', reason: 'the process lacks CAP_BPF' } as const;
const ON = { mode: 'on', cgroup: '' } as const;

/** As with CAP_SYS_ADMIN, and without. */
const ENTERS = { inNetworkNamespace: <Result>(_: string, body: () => Result) => body() };
const STAYS = {
  inNetworkNamespace: (): never => {
    throw new Error('setns: EPERM');
  },
};

it('NodeSockets is there where the machine can do it, whatever becomes of the mode', async () => {
  using sockets = await NodeSockets.open(ON, 'write', async () => bindings());
  expect(sockets.state()).toMatchObject({ outcome: 'used', cgroup: '/sys/fs/cgroup', reason: null });
  expect(sockets.state('why')).toMatchObject({
    outcome: 'refused',
    cgroup: '/sys/fs/cgroup',
    reason: 'why',
  });
  const { kernel } = sockets;
  expect(kernel).toBeDefined();
  await sockets.configure({ ...ON, mode: 'off' });
  expect([sockets.kernel, sockets.state().mode]).toEqual([kernel, 'off']);
});

it('NodeSockets knows which network namespace is that of the node', async () => {
  const networkNamespaceCookie = () => 17n;
  using sockets = await NodeSockets.open(ON, 'write', async () => bindings({ networkNamespaceCookie }));
  expect(sockets.kernel?.hostNamespace).toBe(isOnNode() ? 17 : 0);
});

it('NodeSockets goes on without, says why, and looks again when the mode changes', async () => {
  let change: Partial<SocketBindings> = { probeBpf: () => LACKS };
  using sockets = await NodeSockets.open(ON, 'write', async () => bindings(change));
  expect(sockets.kernel).toBeUndefined();
  expect(sockets.refusal?.reason).toMatch(
    /mode is on, but .*the process lacks CAP_BPF: run as root, or grant CAP_BPF/,
  );
  expect(sockets.state()).toMatchObject({ outcome: 'refused', cgroup: null, events: null });
  change = {};
  await sockets.configure({ ...ON, mode: 'hostOnly' });
  expect([sockets.refusal, sockets.kernel !== undefined]).toEqual([undefined, true]);
});

it('NodeSockets names the programs of others that stand alone, by number', async () => {
  const numbers = new Map<number, string>(
    Object.entries(programs.ATTACH_TYPE).map(([hook, number]) => [number, hook]),
  );
  const queryPrograms = (_: string, attachType: number) =>
    Object.entries(EXCLUSIVE).find(([hook]) => hook === numbers.get(attachType))?.[1] ?? {
      flags: 2,
      ids: [3],
    };
  using sockets = await NodeSockets.open(ON, 'write', async () => bindings({ queryPrograms }));
  expect(sockets.refusal?.reason).toMatch(
    /stand alone on \/sys\/fs\/cgroup: program 7 at connect4; program 8, 9 at sendmsg4/,
  );
});

it('NodeSockets mounts the bpffs that is missing, unless it is only to look', async () => {
  const mounted: string[] = [];
  const probeBpffs = () =>
    mounted.length > 0 ? SUPPORTED : ({ outcome: 'unsupported', reason: '' } as const);
  const mountFileSystem = (type: string, path: string) => void mounted.push(`${type} ${path}`);
  const load = async () => bindings({ probeBpffs, mountFileSystem });
  using looking = await NodeSockets.open(ON, 'read', load);
  expect([looking.state().outcome, mounted]).toEqual(['refused', []]);
  using sockets = await NodeSockets.open(ON, 'write', load);
  expect([sockets.state().outcome, mounted]).toEqual(['used', ['bpf /sys/fs/bpf']]);
});

it('NodeSockets says what is missing where it may not mount it', async () => {
  const probeBpffs = () => ({ outcome: 'unsupported', reason: 'it is no bpffs' }) as const;
  const mountFileSystem = () => {
    throw new Error('mount: EPERM');
  };
  using sockets = await NodeSockets.open(ON, 'write', async () => bindings({ probeBpffs, mountFileSystem }));
  expect(sockets.refusal?.reason).toMatch(/it is no bpffs: mount -t bpf bpf \/sys\/fs\/bpf/);
});

it('NodeSockets leaves sockets alone where nothing can be pinned, which only who writes finds out', async () => {
  const probes = {
    probeMakingDirectories: () => ({ outcome: 'unsupported', reason: 'mkdir: EACCES' }) as const,
  };
  const open = (access: 'read' | 'write') => NodeSockets.open(ON, access, async () => bindings(probes));
  using writing = await open('write');
  expect(writing.refusal?.reason).toMatch(
    /mkdir: EACCES: let it be written, as by appArmorProfile Unconfined/,
  );
  using reading = await open('read');
  expect(reading.state().outcome).toBe('used');
});

it('inspectSockets() names each ability, with its fix, and what is missing beside the rest', async () => {
  const probes = { probeBpffs: () => ({ outcome: 'unsupported', reason: 'it is no bpffs' }) as const };
  const { abilities, canTellErrors } = await inspectSockets(ON, async () =>
    bindings({ ...probes, probeSetRetval: () => LACKS }),
  );
  expect(abilities).toHaveLength(7);
  const missing = abilities.filter(({ outcome }) => outcome !== 'supported');
  expect(missing).toMatchObject([{ what: 'bpffs at /sys/fs/bpf', fix: 'mount -t bpf bpf /sys/fs/bpf' }]);
  expect(canTellErrors).toBe(false);
});

it('inspectSockets() tells whether UDP sockets can be ended, of this namespace and of others', async () => {
  const ending = async (change: Partial<SocketBindings>) =>
    (
      await inspectSockets(ON, async () =>
        bindings({ probeEndingUdpSockets: () => SUPPORTED, ...ENTERS, ...change }),
      )
    ).ending;
  expect(await ending({})).toEqual(SUPPORTED);
  expect(await ending({ probeEndingUdpSockets: () => LACKS })).toEqual(LACKS);
  const seesNone = { outcome: 'unsupported', reason: 'there is no /run/netns' } as const;
  expect(await ending({ probeSeeingNetworkNamespaces: () => seesNone })).toMatchObject({
    outcome: 'unsupported',
    reason: expect.stringMatching(/^those of other network namespaces are not: .* mount the \/run\/netns/),
  });
  expect(await ending(STAYS)).toMatchObject({
    outcome: 'unsupported',
    reason: expect.stringMatching(/^those of other network namespaces are not: .*EPERM.*CAP_SYS_ADMIN/),
  });
});

it.each([
  { name: 'all namespaces that it sees', enters: true, opened: ['own', '/run/netns/pod'] },
  { name: 'its own namespace where it can enter no other', enters: false, opened: ['own'] },
])('openEnder() looks at $name', async ({ enters, opened }) => {
  const looked: string[] = [];
  let at = 'own';
  const ender = openEnder({
    ...bindings(),
    probeEndingUdpSockets: () => SUPPORTED,
    visibleNetworkNamespaces: () => [{ id: '7', path: '/run/netns/pod' }],
    inNetworkNamespace: (path, body) => {
      if (!enters) return STAYS.inNetworkNamespace();
      at = path;
      try {
        return body();
      } finally {
        at = 'own';
      }
    },
    NetlinkSocket: {
      open: () => {
        looked.push(at);
        return new FakeSockDiag([]);
      },
    },
  });
  const target = { address: address('10.0.0.3'), port: 53, cookies: new Set([1n]) };
  expect(await ender.endSockets([target], new AbortController().signal)).toEqual({ outcome: 'ok' });
  expect(looked).toEqual(opened);
});

it('inspectSockets() asks nothing of the kernel that only the privilege tells', async () => {
  const asked = () => ({ outcome: 'unknown', reason: 'EPERM' }) as const;
  const { abilities } = await inspectSockets(ON, async () =>
    bindings({ probeBpf: () => LACKS, probeSockAddrPrograms: asked, probeSocketStorage: asked }),
  );
  expect(abilities.filter(({ outcome }) => outcome !== 'supported')).toMatchObject([LACKS]);
});

const ROOT = join(import.meta.dirname, '..');

/** Prints why mode auto leaves sockets alone, before it looks at what the kernel can do. */
const WHY_UNASKED = `
  const { NodeSockets } = await import('${ROOT}/src/socket-host.ts');
  const load = () => { throw new Error('asked'); };
  const asked = NodeSockets.open({ mode: 'auto', cgroup: '' }, 'read', load);
  console.log(await asked.then((sockets) => sockets.state().reason, (error) => error.message));
`;
const adminCapability = probeCapability('CAP_SYS_ADMIN');
const asRoot =
  adminCapability.outcome === 'supported' ? {} : { skip: true, meta: { skipReason: adminCapability.reason } };

const ELSEWHERE = 'this process is not in the network namespace of the node, that of process 1';

it.each([
  { where: 'here', command: [], why: isOnNode() ? 'asked' : ELSEWHERE },
  { where: 'in another network', command: ['unshare', '--net'], why: ELSEWHERE },
])(
  'NodeSockets knows where it is with no more than the unit gives it: $where',
  asRoot,
  ({ command, why }) => {
    // Process 1 has more, so that its namespaces are not to be read.
    const kept = '-all,+net_admin,+bpf';
    const [file, ...args] = [
      ...command,
      'setpriv',
      '--bounding-set',
      kept,
      '--inh-caps',
      kept,
      '--no-new-privs',
    ];
    const node = [process.execPath, '--input-type=module', '-e', WHY_UNASKED];
    const { stdout, stderr } = spawnSync(file ?? '', [...args, ...node], { encoding: 'utf8' });
    expect(`${stdout}${stderr}`.trim()).toBe(why);
  },
);
