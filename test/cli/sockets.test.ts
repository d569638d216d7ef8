import { describe, expect, it } from 'vitest';
import { socketNotes, socketsLine, withSockets } from '../../src/cli/sockets.ts';
import { parseConfig } from '../../src/config.ts';
import { NO_SOCKETS } from './harness.ts';

describe('socketsLine()', () => {
  it.each([
    { outcome: 'unasked', line: 'sockets: mode auto, all left to IPVS: why' },
    {
      outcome: 'lacking',
      line: 'sockets: mode auto, all left to IPVS: why; start svcplane again when it is there',
    },
  ] as const)('of sockets that are $outcome', ({ outcome, line }) => {
    expect(socketsLine({ ...NO_SOCKETS, outcome, reason: 'why' })).toBe(line);
  });
});

it('socketsLine() says what fails at the cgroup', () => {
  const cgroup = '/sys/fs/cgroup';
  const used = { ...NO_SOCKETS, outcome: 'used', cgroup, reason: null } as const;
  expect(socketsLine(used)).toBe('sockets: mode auto, at /sys/fs/cgroup');
  const line = 'sockets: mode auto, at /sys/fs/cgroup: FAILED: why';
  expect(socketsLine({ ...used, outcome: 'refused', reason: 'why' })).toBe(line);
});

describe('socketNotes()', () => {
  it.each(['used', 'unasked', 'refused'] as const)('has none of sockets that are %s', (outcome) => {
    expect(socketNotes({ outcome, reason: 'why' })).toEqual([]);
  });
});

describe('withSockets()', () => {
  it.each([
    { mode: 'auto', cgroup: '/sys/fs/cgroup', counts: 'on' },
    { mode: 'auto', cgroup: null, counts: 'off' },
    { mode: 'hostOnly', cgroup: null, counts: 'hostOnly' },
  ] as const)('makes of $mode at $cgroup: $counts', ({ mode, cgroup, counts }) => {
    const config = parseConfig({ socketLoadBalancer: { mode, cgroup: '/a' } }, 'test');
    const wanted = { ...config, socketLoadBalancer: { mode: counts, cgroup: '/a' } };
    expect(withSockets(config, { cgroup })).toEqual(wanted);
  });
});
