/** Something in the input that is not programmed, and why: shown, counted, never silent. */
export interface Rejected {
  /** Kind and namespace/name, e.g. `Service web/front`. */
  readonly subject: string;
  /** One line: what is wrong and, where there is one, the way out. */
  readonly reason: string;
}

/** By subject, then reason. */
export function compareRejected(a: Rejected, b: Rejected): number {
  return compareText(a.subject, b.subject) || compareText(a.reason, b.reason);
}

/** Code unit order: the same on every machine, whatever its locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
