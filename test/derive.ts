import { decodeObjects } from '../src/cluster/decode.ts';
import type { RawObject } from '../src/cluster/object-fields.ts';
import { parseConfig } from '../src/config.ts';
import { derive, nodeContext } from '../src/desired/derive.ts';
import type { DesiredState } from '../src/model/desired-state.ts';
import { realServerKey } from '../src/model/virtual-server.ts';

/** Objects → desired state of node n0, with a configuration file's keys. */
export function desiredOf(objects: readonly RawObject[], config: object = {}): DesiredState {
  const parsed = parseConfig(config, 'test');
  const facts = decodeObjects(objects, 'n0');
  const options = {
    ...parsed,
    node: 'n0',
    nodeAddresses: parsed.nodeAddresses.length > 0 ? parsed.nodeAddresses : null,
    hostAddresses: [],
  };
  return derive(facts, nodeContext(facts, options)).desired;
}

/** One line per virtual server: key, scheduler, affinity and real servers. */
export function linesOf(desired: DesiredState): string[] {
  return [...desired.virtualServers.values()].map((virtualServer) => {
    const { key, scheduler, persistenceTimeoutSeconds: affinity, realServers } = virtualServer;
    return [
      key,
      scheduler,
      ...(affinity === null ? [] : [`p${affinity}`]),
      '->',
      ...realServers.map(realServerKey),
    ].join(' ');
  });
}

/** `subject: reason` of everything that is not served. */
export function reasonsOf(desired: DesiredState): string[] {
  return desired.rejected.map(({ subject, reason }) => `${subject}: ${reason}`);
}
