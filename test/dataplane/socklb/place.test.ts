import { describe, expect, it } from 'vitest';
import {
  choosePlace,
  hostNamespaceOf,
  PIN_DIRECTORY,
  type SocketSurroundings,
} from '../../../src/dataplane/socklb/place.ts';

const ROOT = { path: '/sys/fs/cgroup', isHostRoot: true, isHandedIn: false };
const OWN = { path: '/sys/fs/cgroup', isHostRoot: false, isHandedIn: false };

const NODE: SocketSurroundings = {
  hasPins: () => false,
  isInHostNetwork: () => true,
  cgroups: () => [ROOT],
  abilities: () => [{ outcome: 'supported', what: 'bpf(2)', fix: 'run as root' }],
};

const LACKS: Partial<SocketSurroundings> = {
  abilities: () => [
    { outcome: 'supported', what: 'bpf(2)', fix: '' },
    { outcome: 'unsupported', reason: 'x is no bpffs', what: 'bpffs at x', fix: 'mount -t bpf bpf x' },
  ],
};

describe('choosePlace()', () => {
  it.each(['auto', 'on', 'hostOnly'] as const)('is the root of all cgroups with %s', (mode) => {
    const place = { directory: PIN_DIRECTORY, cgroup: '/sys/fs/cgroup' };
    expect(choosePlace({ mode, cgroup: '' }, NODE)).toEqual({ outcome: 'used', place });
  });

  it('is the cgroup that is configured', () => {
    const choice = choosePlace({ mode: 'on', cgroup: '/cg/pods' }, { ...NODE, cgroups: () => [] });
    expect(choice).toMatchObject({ place: { cgroup: '/cg/pods' } });
  });

  it('is what a node in a container hands in, where no root of all is seen', () => {
    const handedIn = { path: '/host/cgroup', isHostRoot: false, isHandedIn: true };
    const cgroups = () => [OWN, handedIn];
    expect(choosePlace({ mode: 'auto', cgroup: '' }, { ...NODE, cgroups })).toMatchObject({
      place: { cgroup: '/host/cgroup' },
    });
    expect(
      choosePlace({ mode: 'auto', cgroup: '' }, { ...NODE, cgroups: () => [OWN, handedIn, ROOT] }),
    ).toMatchObject({ place: { cgroup: ROOT.path } });
  });

  it.each([
    {
      name: 'auto in a network of its own',
      mode: 'auto',
      change: { isInHostNetwork: () => false },
      outcome: 'unasked',
      reason: /network/,
    },
    { name: 'off', mode: 'off', change: {}, outcome: 'unasked', reason: /mode is off/ },
    {
      name: 'no cgroup2 at all',
      mode: 'auto',
      change: { cgroups: () => [] },
      outcome: 'lacking',
      reason: /^no cgroup2 is mounted: mount -t cgroup2/,
    },
    {
      name: 'a cgroup namespace of its own',
      mode: 'on',
      change: { cgroups: () => [OWN] },
      outcome: 'refused',
      reason: /mode is on, but .* cgroup namespace of its own: mount .*hostPath.*socketLoadBalancer.cgroup/,
    },
    {
      name: 'a machine that lacks something, which is left at that',
      mode: 'auto',
      change: LACKS,
      outcome: 'lacking',
      reason: /^x is no bpffs: mount -t bpf bpf x$/,
    },
    {
      name: 'a machine that lacks something, against what was said',
      mode: 'hostOnly',
      change: LACKS,
      outcome: 'refused',
      reason: /mode is hostOnly, but all sockets are left to IPVS: x is no bpffs/,
    },
    {
      name: 'a machine that lacks something, and programs that nobody keeps up to date',
      mode: 'auto',
      change: { ...LACKS, hasPins: () => true },
      outcome: 'refused',
      reason: /programs of an earlier svcplane are pinned in .*v1 and can't be reached: x is no bpffs/,
    },
    {
      name: 'the same against what was said',
      mode: 'on',
      change: { ...LACKS, hasPins: () => true },
      outcome: 'refused',
      reason: /mode is on, but programs of an earlier svcplane are pinned in .*v1 and can't be reached/,
    },
  ] as const)('leaves sockets alone: $name', ({ mode, change, outcome, reason }) => {
    const choice = choosePlace({ mode, cgroup: '' }, { ...NODE, ...change });
    const isPinned = 'hasPins' in change && change.hasPins();
    const told = { outcome, reason: expect.stringMatching(reason) };
    expect(choice).toEqual(outcome === 'refused' ? { ...told, isPinned } : told);
  });

  it('asks for abilities last, for that takes a while', () => {
    const abilities = () => {
      throw new Error('asked');
    };
    const surroundings = { ...NODE, isInHostNetwork: () => false, abilities };
    expect(choosePlace({ mode: 'auto', cgroup: '' }, surroundings).outcome).toBe('unasked');
  });

  it('is used even if off, where there is something to switch off', () => {
    const choice = choosePlace({ mode: 'off', cgroup: '' }, { ...NODE, hasPins: () => true });
    expect(choice.outcome).toBe('used');
  });

  it('is used if told, whatever the network', () => {
    const choice = choosePlace({ mode: 'on', cgroup: '' }, { ...NODE, isInHostNetwork: () => false });
    expect(choice.outcome).toBe('used');
  });
});

describe('hostNamespaceOf()', () => {
  it.each([
    { name: 'that of this process on the node', isInHostNetwork: true, cookie: 17n, is: 17 },
    {
      name: 'the initial one where this process has one of its own',
      isInHostNetwork: false,
      cookie: 17n,
      is: 0,
    },
    {
      name: 'the initial one where the kernel does not tell',
      isInHostNetwork: true,
      cookie: undefined,
      is: 0,
    },
    { name: 'the initial one where the switch has no room', isInHostNetwork: true, cookie: 2n ** 30n, is: 0 },
  ])('is $name', ({ isInHostNetwork, cookie, is }) => {
    expect(hostNamespaceOf(isInHostNetwork, cookie)).toBe(is);
  });
});
