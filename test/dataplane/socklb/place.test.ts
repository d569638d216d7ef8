import { describe, expect, it } from 'vitest';
import { choosePlace, PIN_DIRECTORY, type SocketSurroundings } from '../../../src/dataplane/socklb/place.ts';

const ROOT = { path: '/sys/fs/cgroup', isHostRoot: true };

const NODE: SocketSurroundings = {
  hasPins: () => false,
  isInHostNetwork: () => true,
  cgroups: () => [ROOT],
  ability: () => ({ outcome: 'supported' }),
};

const LACKS = { outcome: 'unsupported', reason: 'the process lacks CAP_BPF' } as const;

describe('choosePlace()', () => {
  it.each(['auto', 'on', 'hostOnly'] as const)('is the root of all cgroups with %s', (mode) => {
    const place = { directory: PIN_DIRECTORY, cgroup: '/sys/fs/cgroup' };
    expect(choosePlace({ mode, cgroup: '' }, NODE)).toEqual({ outcome: 'used', place });
  });

  it('is the cgroup that is configured', () => {
    const choice = choosePlace({ mode: 'on', cgroup: '/cg/pods' }, { ...NODE, cgroups: () => [] });
    expect(choice).toMatchObject({ place: { cgroup: '/cg/pods' } });
  });

  it.each([
    {
      name: 'auto in a network of its own',
      mode: 'auto',
      change: { isInHostNetwork: () => false },
      reason: /network/,
    },
    { name: 'off', mode: 'off', change: {}, reason: /mode is off/ },
    {
      name: 'no root of all cgroups',
      mode: 'on',
      change: { cgroups: () => [{ ...ROOT, isHostRoot: false }] },
      reason: /socketLoadBalancer.cgroup/,
    },
    {
      name: 'a kernel that lacks something',
      mode: 'auto',
      change: { ability: () => LACKS },
      reason: /CAP_BPF/,
    },
  ] as const)('leaves sockets alone: $name', ({ mode, change, reason }) => {
    const choice = choosePlace({ mode, cgroup: '' }, { ...NODE, ...change });
    expect(choice).toEqual({ outcome: 'left alone', reason: expect.stringMatching(reason) });
  });

  it('asks for abilities last, for that takes a while', () => {
    const ability = () => {
      throw new Error('asked');
    };
    const surroundings = { ...NODE, isInHostNetwork: () => false, ability };
    expect(choosePlace({ mode: 'auto', cgroup: '' }, surroundings).outcome).toBe('left alone');
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
