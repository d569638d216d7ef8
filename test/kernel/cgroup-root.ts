import { findCgroup2Mounts } from '../../native-bindings/mounts.ts';
import { whyNoBpf } from '../native-bindings/bpf-environment.ts';

/** The top of all cgroups, where the daemon attaches. */
export function rootCgroup(): string {
  const [mount] = findCgroup2Mounts();
  if (!mount?.isHostRoot) throw new Error('no root of all cgroups is mounted');
  return mount.path;
}

/** Attached to the root of all cgroups the programs would reach every process of a shared machine. */
function whyNotAtRoot(): string | undefined {
  if (process.env.SVCPLANE_LAB_KERNEL === 'native') return 'it would reach every process of this machine';
  return whyNoBpf();
}

/** Options of tests that attach there: elsewhere than in a machine of the lab they are skipped, with the reason. */
export function atCgroupRoot(): { readonly skip?: true; readonly meta?: { readonly skipReason: string } } {
  const skipReason = whyNotAtRoot();
  return skipReason === undefined ? {} : { skip: true, meta: { skipReason } };
}
