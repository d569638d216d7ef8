import { readlinkSync } from 'node:fs';
import type { SocketEnding } from './dataplane/socklb/kernel.ts';
import type { Ability } from './dataplane/socklb/place.ts';
import { NamespaceSockets } from './dataplane/socklb/sockets-client.ts';
import type { Transport } from './netlink/transport.ts';

/** What sockets are ended with. */
export interface EndingBindings {
  probeEndingUdpSockets(): Ability;
  inNetworkNamespace<Result>(path: string, body: () => Result): Result;
  probeSeeingNetworkNamespaces(): Ability;
  visibleNetworkNamespaces(): Iterable<{ readonly id: string; readonly path: string }>;
  readonly NetlinkSocket: { open(protocol: number): Transport & Disposable };
  readonly NETLINK_SOCK_DIAG: number;
}

/** What ends UDP sockets of this node, in all network namespaces that this process sees and may enter. */
export function openEnder(bindings: EndingBindings): NamespaceSockets {
  const ending = endingOf(bindings);
  const open = () => bindings.NetlinkSocket.open(bindings.NETLINK_SOCK_DIAG);
  return new NamespaceSockets(ending, {
    *candidates() {
      yield { id: ownNamespace(), path: null };
      if (ending.outcome === 'supported') yield* bindings.visibleNetworkNamespaces();
    },
    // A socket stays in the namespace where it was opened.
    open: ({ path }) => (path === null ? open() : bindings.inNetworkNamespace(path, open)),
  });
}

function endingOf(bindings: EndingBindings): SocketEnding {
  const ability = bindings.probeEndingUdpSockets();
  if (ability.outcome !== 'supported') return { outcome: 'unsupported', reason: ability.reason };
  try {
    bindings.inNetworkNamespace(OWN_NAMESPACE, () => undefined);
    const seeing = bindings.probeSeeingNetworkNamespaces();
    if (seeing.outcome === 'supported') return { outcome: 'supported' };
    const fix = `mount the /run/netns of the node here, with mountPropagation HostToContainer`;
    return { outcome: 'partly', reason: `${seeing.reason}: ${fix}` };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      outcome: 'partly',
      reason: `they can't be entered: ${reason}: run as root or with CAP_SYS_ADMIN`,
    };
  }
}

/** Whether UDP sockets can be ended, of this network namespace and of others. */
export function endingAbility(bindings: EndingBindings): Ability {
  const ending = endingOf(bindings);
  if (ending.outcome === 'supported') return ending;
  const which = ending.outcome === 'partly' ? 'those of other network namespaces are not: ' : '';
  return { outcome: 'unsupported', reason: `${which}${ending.reason}` };
}

const OWN_NAMESPACE = '/proc/thread-self/ns/net';

/** Its inode number. */
function ownNamespace(): string {
  return /\d+/.exec(readlinkSync(OWN_NAMESPACE))?.[0] ?? '';
}
