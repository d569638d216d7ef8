import { compareText, type Rejected } from '../../model/rejected.ts';
import { type IpvsOp, restoreSysctl, setSysctl } from './ops.ts';
import type { IpvsRows } from './rows.ts';
import { STRICT_ARP_SYSCTLS } from './sysctls.ts';

const RELEASED: readonly string[] = STRICT_ARP_SYSCTLS.map(([name]) => name);

/** What the sysctls need: `make` sets, `break` gives back what nothing wants any more. */
export interface SysctlPlan {
  readonly make: readonly IpvsOp[];
  readonly break: readonly IpvsOp[];
  readonly conflicts: readonly Rejected[];
}

/**
 * Forwarding and what IPVS itself needs are given back by teardown only: others come to rely on the first, and the
 * second concern nobody else.
 * @param release whether what is wanted no longer is of no use to any address that stays
 */
export function planSysctls(observed: IpvsRows, wanted: IpvsRows, release: boolean): SysctlPlan {
  const make: IpvsOp[] = [];
  const conflicts: Rejected[] = [];
  if (observed.sysctls === null || wanted.sysctls === null) return { make, break: [], conflicts };
  for (const [name, want] of [...wanted.sysctls].sort(([a], [b]) => compareText(a, b))) {
    const have = observed.sysctls.get(name);
    if (!have) {
      const reason = `can't be read in this network namespace; it should be ${want.value}`;
      conflicts.push({ subject: `sysctl ${name}`, reason });
    } else if (have.value !== want.value) {
      make.push(setSysctl(name, have.value, want.value, 'IPVS for Services needs it'));
    }
  }
  const unwanted = RELEASED.filter((name) => release && !wanted.sysctls?.has(name));
  return { make, break: restoreSysctls(observed, unwanted), conflicts };
}

/** Gives each of `names` its old value back unless somebody has changed it since; in the order of names. */
export function restoreSysctls(observed: IpvsRows, names: Iterable<string>): readonly IpvsOp[] {
  return [...names].sort(compareText).flatMap((name) => {
    const have = observed.sysctls?.get(name);
    if (!have?.changed || have.changed.set !== have.value) return [];
    return [restoreSysctl(name, have.value, have.changed.before)];
  });
}
