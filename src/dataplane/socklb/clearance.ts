import { unreachable } from '../../model/brand.ts';
import type { SocklbChange } from './ops.ts';
import { type LeftElement, ownedEndpoint, type Remain, remainKey } from './remains.ts';
import { hasTable, type ServiceRow, slotsIn } from './rows.ts';

/** What a frontend leads to, and will not any more. */
export function leavesOf(
  have: ServiceRow,
  kept: ServiceRow['backends'],
  keepsTable: boolean,
): readonly LeftElement[] {
  const { place, backends, protocol } = have;
  if (!place) return [];
  const { id: serviceId, generation } = place;
  const slots = Array.from({ length: slotsIn(backends) }, (_, slot) => slot);
  const left = [...backends].filter(([key]) => !kept.has(key)).map(([, backend]) => backend);
  return [
    ...(slots.length > 0 ? [{ kind: 'slots', serviceId, generation, slots } as const] : []),
    ...(hasTable(have) && !keepsTable ? [{ kind: 'table', serviceId } as const] : []),
    ...left
      .flatMap(({ id, address, port }) =>
        id === null ? [] : [{ id, endpoint: { address, port, protocol } }],
      )
      .sort((a, b) => a.id - b.id)
      .map((backend) => ({ kind: 'backend', ...backend, serviceId, isTerminating: false }) as const),
  ];
}

/**
 * The operation that takes away what remains.
 * @param endsSockets whether sockets that are connected to it are to be ended
 */
export function clearing(remain: Remain, endsSockets: boolean): SocklbChange {
  switch (remain.kind) {
    case 'entry':
      return { op: 'deleteSocketEntry', key: remain.key };
    case 'slots':
      return {
        op: 'deleteSocketSlots',
        serviceId: remain.serviceId,
        generation: remain.generation,
        slots: remain.slots,
      };
    case 'table':
      return { op: 'deleteSocketTable', serviceId: remain.serviceId };
    case 'backend': {
      const { id, endpoint } = remain;
      if (!endsSockets || endpoint?.protocol !== 'UDP') return { op: 'deleteSocketBackend', id };
      return { op: 'endSockets', id, address: endpoint.address, port: endpoint.port };
    }
    default:
      return unreachable(remain);
  }
}

const KINDS: readonly Remain['kind'][] = ['entry', 'slots', 'table', 'backend'];

/** By kind, in the order they go, then by number. */
export function compareRemains(a: LeftElement, b: LeftElement): number {
  if (a.kind !== b.kind) return KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind);
  if (a.kind === 'entry' || b.kind === 'entry') return remainKey(a) < remainKey(b) ? -1 : 1;
  const numbers = (left: typeof a | typeof b): readonly [number, number] =>
    left.kind === 'backend' ? [left.id, 0] : [left.serviceId, left.kind === 'slots' ? left.generation : 0];
  const [first, second] = [numbers(a), numbers(b)];
  return first[0] - second[0] || first[1] - second[1];
}

/** What remains, for whoever reads the operation. */
export function detailOf(remain: Remain): string {
  if (remain.kind === 'slots') return `${remain.slots.length} slots`;
  if (remain.kind !== 'backend') return '';
  return remain.endpoint === null
    ? 'damaged'
    : ownedEndpoint(remain.serviceId, remain.endpoint).replace(/^\d+ /, '');
}
