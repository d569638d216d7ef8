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
