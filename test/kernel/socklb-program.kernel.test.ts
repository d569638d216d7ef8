import { describe, expect, test } from 'vitest';
import { acceptedBy, RawSocket } from '../native-bindings/raw-sockets.ts';
import { describeSocklb } from '../native-bindings/socklb-cases.ts';
import { SocklbLab } from '../native-bindings/socklb-lab.ts';
import { atCgroupRoot, rootCgroup } from './cgroup-root.ts';

describe('the socket balancer at the root of all cgroups', atCgroupRoot(), () => {
  describeSocklb(rootCgroup);

  test('host only balances the sockets of the initial network namespace', () => {
    using lab = SocklbLab.open(rootCgroup());
    lab.configure({ flags: lab.object.constants.CFG_HOST_ONLY ?? -1 });
    lab.putService({ frontend: '127.0.0.1:30081', id: 1, slots: [1] });
    lab.putBackend({ id: 1, service: 1, address: '127.0.0.1:18084' });
    using server = new RawSocket('TCP').bind('127.0.0.1:18084', true);
    using client = new RawSocket('TCP');
    expect(client.connect('127.0.0.1:30081')).toBe('');
    expect([...acceptedBy(server), client.peer()]).toEqual([true, '127.0.0.1:30081']);
  });
});
