import { Batch, type Codes } from './batch.ts';
import type { EndedSockets, SocklbKernel } from './kernel.ts';
import { BACKEND_STATE, BACKENDS, CONNECTIONS, packKeys, unpackElements } from './layout.ts';
import type { SocklbOpNamed } from './ops.ts';

type EndOp = SocklbOpNamed<'endSockets'>;

/** Id of the Service of a backend that no socket may come to: none has it. */
const NOBODY = 0;

/**
 * Ends the UDP sockets that were connected to backends, then deletes these. A backend stays until its sockets have been
 * ended, for nothing but its element tells where they are connected to: what fails, or is cut off, is planned again.
 * @throws as the kernel does, where it can't be asked
 */
export async function endSockets(
  ops: readonly EndOp[],
  kernel: SocklbKernel,
  signal: AbortSignal,
): Promise<Codes> {
  const batch = new Batch<EndOp>(kernel, signal);
  // A socket that had spoken to it before may connect to it up to here.
  await batch.update(BACKENDS, ops, ({ id, address, port }) => {
    const state = BACKEND_STATE.active;
    return [[id, { id, address, port, protocol: 'UDP', serviceId: NOBODY, state }] as const];
  });
  const cookies = await connectedTo(new Set(ops.map(({ id }) => id)), kernel, signal);
  const targets = ops.flatMap(({ id, address, port }): EndedSockets[] => {
    const connected = cookies.get(id);
    return connected ? [{ address, port, cookies: connected }] : [];
  });
  if (targets.length > 0) {
    const answer = await kernel.endSockets(targets, signal);
    if (answer.outcome === 'refused')
      batch.refuse(
        ops.filter(({ id }) => cookies.has(id)),
        answer.code,
      );
    else await forget(cookies, kernel, signal);
  }
  await batch.delete(BACKENDS, ops, ({ id }) => [id]);
  return batch.codes;
}

/** The cookies of the sockets that are, or were, connected to backends, by the backend's id. */
type Cookies = ReadonlyMap<number, ReadonlySet<bigint>>;

async function connectedTo(
  ids: ReadonlySet<number>,
  kernel: SocklbKernel,
  signal: AbortSignal,
): Promise<Cookies> {
  const found = new Map<number, Set<bigint>>();
  const elements = await kernel.readAll(CONNECTIONS.map, signal);
  for (const { key: cookie, value } of unpackElements(CONNECTIONS, elements)) {
    if (cookie === undefined || !value || !ids.has(value.backendId)) continue;
    const known = found.get(value.backendId);
    if (known) known.add(cookie);
    else found.set(value.backendId, new Set([cookie]));
  }
  return found;
}

/** Makes room. A socket that has connected anew meanwhile has its entry anew, too. */
async function forget(cookies: Cookies, kernel: SocklbKernel, signal: AbortSignal): Promise<void> {
  const keys = packKeys(
    CONNECTIONS,
    [...cookies.values()].flatMap((each) => [...each]),
  );
  const values = await kernel.lookUp(CONNECTIONS.map, keys, signal);
  const stale = values.flatMap((value, i) => {
    const key = keys.subarray(8 * i, 8 * (i + 1));
    const [element] = value ? unpackElements(CONNECTIONS, { keys: key, values: value }) : [];
    return element?.value && cookies.has(element.value.backendId) ? [key] : [];
  });
  // The kernel drops what was not used for long by itself: whatever fails here does no harm.
  await kernel.delete(CONNECTIONS.map, Buffer.concat(stale), signal);
}
