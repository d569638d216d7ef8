import type { InstanceState } from './announcements.ts';
import { type InstanceName, parseInstanceName } from './rows.ts';

/** `Sun Nov 29 01:16:16 2026: (svcplane_4_12) Entering MASTER STATE` */
const ENTERING = /^(\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}): \((\w+)\) Entering (MASTER|BACKUP|FAULT) STATE/gm;

/** What keepalived's log says last of each instance; its times are those of the time zone that both are in. */
export function statesIn(log: string): ReadonlyMap<InstanceName, InstanceState> {
  const states = new Map<InstanceName, InstanceState>();
  for (const [, time = '', instance = '', entered] of log.matchAll(ENTERING)) {
    const name = parseInstanceName(instance);
    const state = entered === 'MASTER' || entered === 'BACKUP' ? entered : 'FAULT';
    if (name !== undefined) states.set(name, { state, sinceMs: Date.parse(time) });
  }
  return states;
}
