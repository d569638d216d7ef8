import { describe, expect, test } from 'vitest';
import { findCgroup2Mounts } from '../../native-bindings/mounts.ts';
import { whyNoBpf } from '../native-bindings/bpf-environment.ts';
import { RawSocket } from '../native-bindings/raw-sockets.ts';
import { describeSocklb } from '../native-bindings/socklb-cases.ts';
import { SocklbLab } from '../native-bindings/socklb-lab.ts';

/** The top of all cgroups, where the daemon attaches. */
function rootCgroup(): string {
  const [mount] = findCgroup2Mounts();
  if (!mount?.isHostRoot) throw new Error('no root of all cgroups is mounted');
  return mount.path;
}

/** Attached to the root of all cgroups the programs would reach every process of a shared machine. */
function whyNotAtRoot(): string | undefined {
  if (process.env.SVCPLANE_LAB_KERNEL === 'native') return 'it would reach every process of this machine';
  return whyNoBpf();
}

const skipReason = whyNotAtRoot();
const options = skipReason === undefined ? {} : { skip: true, meta: { skipReason } };

describe('the socket balancer at the root of all cgroups', options, () => {
  describeSocklb(rootCgroup);

  test('host only balances the sockets of the initial network namespace', () => {
    using lab = SocklbLab.open(rootCgroup());
    lab.configure({ flags: lab.object.constants.CFG_HOST_ONLY ?? -1 });
    lab.putService({ frontend: '127.0.0.1:30081', id: 1, slots: [1] });
    lab.putBackend({ id: 1, service: 1, address: '127.0.0.1:18084' });
    using server = new RawSocket('TCP').bind('127.0.0.1:18084', true);
    using client = new RawSocket('TCP');
    expect(client.connect('127.0.0.1:30081')).toBe('');
    expect([server.accept(), client.peer()]).toEqual([true, '127.0.0.1:30081']);
  });
});
