/** The answer to "can this host do that?"; `unknown` when the look itself failed. */
export type Ability =
  | { readonly outcome: 'supported' }
  | { readonly outcome: 'unsupported' | 'unknown'; readonly reason: string };

/** One thing that doctor says. */
export interface Finding {
  /** `error`: svcplane can't work here; `warning`: it can, and somebody should know. */
  readonly level: 'ok' | 'warning' | 'error';
  readonly what: string;
  readonly fix: string;
}

/** Nothing to be done. */
export function ok(what: string): Finding {
  return { level: 'ok', what, fix: '' };
}

/** What cannot be had without is an error where it is not there. */
export function ability(found: Ability, what: string, fix: string): Finding {
  if (found.outcome === 'supported') return ok(what);
  const level = found.outcome === 'unsupported' ? 'error' : 'warning';
  return { level, what: `${what}: ${found.outcome}: ${found.reason}`, fix };
}
