import { constants } from 'node:os';
import { BpfMap, MAP_TYPE } from './bpf-maps.ts';
import { type CAPABILITY, type Probe, probeCapability, probeOfError, SUPPORTED } from './probe.ts';

/** What the socket balancer asks of a kernel. A feature is asked for by using it, never by a version. */

const { ENOSYS, EPERM } = constants.errno;

/**
 * May this process use bpf(2) for programs of sockets? That takes CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN for
 * both. Each that is missing is named.
 */
export function probeBpf(): Probe {
  const missing = missingCapabilities();
  if (missing.length > 0) {
    return { outcome: 'unsupported', reason: `the process lacks ${missing.join(' and ')}` };
  }
  try {
    const shape = { type: MAP_TYPE.array, keyBytes: 4, valueBytes: 4, maxEntries: 1, flags: 0 };
    using _ = BpfMap.create('probe', shape);
    return SUPPORTED;
  } catch (error) {
    // EPERM with all capabilities: of another user namespace, or seccomp or lockdown forbid it.
    return probeOfError(error, [ENOSYS, EPERM]);
  }
}

function missingCapabilities(): readonly string[] {
  const lacks = (name: keyof typeof CAPABILITY) => probeCapability(name).outcome === 'unsupported';
  return lacks('CAP_SYS_ADMIN') ? (['CAP_BPF', 'CAP_NET_ADMIN'] as const).filter(lacks) : [];
}
