/** How many lower bits of a firewall mark tell frontends apart; the bits above are the base, reserved for us. */
export const FIREWALL_MARK_BITS = 24;

const STEP = 2 ** FIREWALL_MARK_BITS;

/** Whether `value` can be the base of our firewall marks: no bit below, and not 0, which unmarked packets have. */
export function isMarkBase(value: number): boolean {
  return value >= STEP && value < 2 ** 32 && value % STEP === 0;
}
