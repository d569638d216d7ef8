import type { Config } from '../config.ts';
import type { SocketRecord } from '../status/records.ts';

/** One line for the log. */
export function socketsLine({ mode, outcome, cgroup, reason }: SocketRecord): string {
  if (cgroup !== null)
    return `sockets: mode ${mode}, at ${cgroup}${outcome === 'used' ? '' : `: FAILED: ${reason}`}`;
  const again = outcome === 'unasked' ? '' : '; start svcplane again when it is there';
  return `sockets: mode ${mode}, all left to IPVS: ${reason}${again}`;
}

/** What is missing for `auto`, as lines for whoever calls; anything worse is among what is rejected. */
export function socketNotes({
  outcome,
  reason,
}: Pick<SocketRecord, 'outcome' | 'reason'>): readonly string[] {
  return outcome === 'lacking' ? [`note: sockets are left to IPVS: ${reason}\n`] : [];
}

/** With what `auto` has come to on this node. */
export function withSockets(config: Config, { cgroup }: Pick<SocketRecord, 'cgroup'>): Config {
  const { socketLoadBalancer } = config;
  if (socketLoadBalancer.mode !== 'auto') return config;
  return { ...config, socketLoadBalancer: { ...socketLoadBalancer, mode: cgroup === null ? 'off' : 'on' } };
}
