import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { needsBpf } from './bpf-environment.ts';
import { describeSocklb } from './socklb-cases.ts';
import { type JoinedCgroup, joinNewCgroup, SocklbLab } from './socklb-lab.ts';

describe('the socket balancer in a cgroup of its own', needsBpf(), () => {
  let cgroup: JoinedCgroup | undefined;

  beforeAll(() => {
    cgroup = joinNewCgroup();
  });

  afterAll(() => {
    cgroup?.[Symbol.dispose]();
  });

  describeSocklb(() => cgroup?.path ?? '');

  test('sockets of other cgroups are left alone', () => {
    using outside = SocklbLab.open(cgroup?.path ?? '');
    outside.configure({});
    outside.putService({ frontend: '10.96.0.10:80', id: 1, slots: [] });
    using inside = outside.socket('TCP');
    cgroup?.[Symbol.dispose]();
    cgroup = undefined;
    using client = outside.socket('TCP');
    // A socket stays in the cgroup where it was made.
    expect(client.connect('10.96.0.10:80')).toBe('ENETUNREACH');
    expect(inside.connect('10.96.0.10:80')).toBe('ECONNREFUSED');
  });
});
