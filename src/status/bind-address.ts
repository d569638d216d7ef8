import { parseIpAddress } from '../model/address.ts';
import { parsePort } from '../model/port.ts';
import type { ListenPlace } from './listener-http.ts';

/** Both mean all addresses of both families, as to Go, and so to kube-proxy. */
const UNSPECIFIED: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/**
 * Reads `127.0.0.1:10249`, `[::1]:10249` or `:10249`.
 * @returns null for "": nowhere; undefined for anything else
 */
export function parseBindAddress(text: string): Extract<ListenPlace, { port: number }> | null | undefined {
  if (text === '') return null;
  const [, ipv6, other = '', digits = ''] = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d+)$/.exec(text) ?? [];
  const port = parsePort(Number(digits));
  const host = ipv6 ?? other;
  if (port === undefined) return undefined;
  if (host === '' || UNSPECIFIED.has(host)) return { port, host: null };
  const address = parseIpAddress(host);
  return address === undefined || address.includes(':') !== (ipv6 !== undefined)
    ? undefined
    : { port, host: address };
}
