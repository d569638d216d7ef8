import type { Brand } from './brand.ts';

/** A transport port, 1–65535, host order. */
export type Port = Brand<number, 'Port'>;

/** @returns undefined unless `value` is an integer from 1 to 65535 */
export function parsePort(value: unknown): Port | undefined {
  const valid = typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535;
  return valid ? (value as Port) : undefined;
}

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** @returns undefined unless `value` names a protocol that IPVS balances */
export function parseProtocol(value: unknown): Protocol | undefined {
  return value === 'TCP' || value === 'UDP' || value === 'SCTP' ? value : undefined;
}
