import type { Ability, Finding } from './finding.ts';

/** What of this host the socket load balancer can use. */
export interface SocketReport {
  readonly mode: 'auto' | 'on' | 'off' | 'hostOnly';
  /** Why nothing is asked of the host for it; null where something is. */
  readonly unasked: string | null;
  readonly abilities: readonly (Ability & { readonly what: string; readonly fix: string })[];
  /** Whether UDP sockets can be ended whose endpoint is gone; null where that was not asked. */
  readonly ending: Ability | null;
  /** Whether a program can say which error a client gets. */
  readonly canTellErrors: boolean;
}

/** What is missing is an error only where the configuration wants it: else all goes through IPVS. Pure. */
export function socketFindings({
  mode,
  unasked,
  abilities,
  ending,
  canTellErrors,
}: SocketReport): readonly Finding[] {
  if (unasked !== null) return [{ level: 'ok', what: `sockets are left to IPVS: ${unasked}`, fix: '' }];
  const level = mode === 'on' || mode === 'hostOnly' ? 'error' : 'warning';
  const missing = abilities.some(({ outcome }) => outcome !== 'supported');
  const ofErrors: Finding = {
    level: 'warning',
    what: 'sockets: a client of a Service without endpoints gets EPERM, not ECONNREFUSED',
    fix: 'Linux 5.18 or newer',
  };
  return [
    ...abilities.map((each): Finding => {
      const { what, fix } = each;
      if (each.outcome === 'supported') return { level: 'ok', what: `sockets: ${what}`, fix: '' };
      return { level, what: `sockets: ${what}: ${each.outcome}: ${each.reason}`, fix };
    }),
    ...(missing || canTellErrors ? [] : [ofErrors]),
    ...(missing || ending === null ? [] : [endingFinding(ending)]),
  ];
}

/** Never an error: without it all works, until a resolver asks an endpoint that is gone. */
function endingFinding(ending: Ability): Finding {
  const what = 'sockets: UDP sockets are ended whose endpoint is gone';
  if (ending.outcome === 'supported') return { level: 'ok', what, fix: '' };
  const fix =
    'a kernel built with CONFIG_INET_DIAG_DESTROY; run as root, or grant CAP_NET_ADMIN and CAP_SYS_ADMIN to the container, and mount /run/netns; with mode auto UDP is left to IPVS until then';
  return { level: 'warning', what: `${what}: ${ending.outcome}: ${ending.reason}`, fix };
}
