import { type GeneratedObject, generateServices, listOf } from '../../scripts/generate-services.ts';
import { run } from './probe.ts';

/** What `generateServices` made, as svcplane reads it. */
export function manifest(objects: readonly GeneratedObject[]): string {
  return JSON.stringify(listOf(objects));
}

/** A manifest of `services` Services with `endpoints` each. */
export function load(services: number, endpoints: number): string {
  return manifest(generateServices(services, endpoints));
}

/** The rows that a manifest means, as `ipvsadm -Sn` prints them, sorted. Needs no kernel, and no host. */
export function wantedTable(file: string): readonly string[] {
  const args = ['snapshot', '--desired', '-f', file, '--node', 'n0', '-o', 'ipvsadm-save'];
  return run(['scripts/svcplane', ...args])
    .split('\n')
    .filter(Boolean)
    .sort();
}

/** `base` with the last endpoint of the first Service replaced, or removed if there is no `address`. */
export function withLastEndpoint(
  base: readonly GeneratedObject[],
  address: string | undefined,
): readonly GeneratedObject[] {
  const [service, slice, ...rest] = base;
  if (!service || !slice || !Array.isArray(slice.endpoints)) throw new TypeError('no Service with endpoints');
  const kept: readonly unknown[] = slice.endpoints.slice(0, -1);
  const endpoints = address === undefined ? kept : [...kept, { addresses: [address] }];
  return [service, { ...slice, endpoints }, ...rest];
}
