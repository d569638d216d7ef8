import { errnoOf } from './errno.ts';
import type { MapDefinition, MapHandle, SocketPrograms, WriteResult } from './handles.ts';
import type {
  BatchOutcome,
  EndedSockets,
  ProgramState,
  ServiceTable,
  SocketEnder,
  SocketEnding,
  SocklbKernel,
  SocklbOutcome,
} from './kernel.ts';
import { MAP_SHAPES, type PackedElements, type SocketMap } from './layout.ts';
import { PinnedPrograms, type SocketPlace } from './program.ts';
import { ServiceTables } from './tables.ts';

const NOTHING: PackedElements = { keys: new Uint8Array(0), values: new Uint8Array(0) };

const NO_ENDER: SocketEnder = {
  ending: { outcome: 'unsupported', reason: 'there is nothing to end them with' },
  endSockets: async () => ({ outcome: 'refused', code: 'EOPNOTSUPP' }),
};

/** The kernel's socket balancer over bpf(2). Maps are made by the first write; before it there is nothing to read. */
export class BpfSocklbKernel implements SocklbKernel, Disposable {
  readonly #programs: SocketPrograms;
  readonly #pinned: PinnedPrograms;
  #maps: ReadonlyMap<string, MapHandle> | undefined;
  readonly #tables = new ServiceTables({
    create: () => this.#programs.createTable(this.#definition('lb_maglev')),
    codeOf,
  });
  readonly #ender: SocketEnder;
  readonly hostNamespace: number;

  /** @param hostNamespace as SocklbKernel has it */
  constructor(
    programs: SocketPrograms,
    place: SocketPlace,
    ender: SocketEnder = NO_ENDER,
    hostNamespace = 0,
  ) {
    this.#ender = ender;
    this.hostNamespace = hostNamespace;
    this.#programs = programs;
    this.#pinned = new PinnedPrograms(programs, place);
  }

  get ending(): SocketEnding {
    return this.#ender.ending;
  }

  async endSockets(targets: readonly EndedSockets[], signal: AbortSignal): Promise<SocklbOutcome> {
    return this.#ender.endSockets(targets, signal);
  }

  async programs(signal: AbortSignal): Promise<ProgramState> {
    signal.throwIfAborted();
    return this.#pinned.state();
  }

  async attach(signal: AbortSignal): Promise<SocklbOutcome> {
    return this.#attempt(signal, () => this.#pinned.attach(this.#made()));
  }

  async remove(signal: AbortSignal): Promise<SocklbOutcome> {
    return this.#attempt(signal, () => {
      this[Symbol.dispose]();
      this.#pinned.remove();
    });
  }

  async readAll(map: SocketMap, signal: AbortSignal): Promise<PackedElements> {
    signal.throwIfAborted();
    return this.#opened()?.get(map)?.entries() ?? NOTHING;
  }

  async lookUp(map: SocketMap, keys: Uint8Array, signal: AbortSignal) {
    signal.throwIfAborted();
    const { keySize } = MAP_SHAPES[map];
    const handle = this.#opened()?.get(map);
    return Array.from({ length: keys.length / keySize }, (_, i) =>
      handle?.lookup(keys.subarray(i * keySize, (i + 1) * keySize)),
    );
  }

  async update(map: SocketMap, { keys, values }: PackedElements, signal: AbortSignal): Promise<BatchOutcome> {
    return this.#batch(signal, () => this.#map(map).updateAll(keys, values));
  }

  async delete(map: SocketMap, keys: Uint8Array, signal: AbortSignal): Promise<BatchOutcome> {
    return this.#batch(signal, () => this.#map(map).deleteAll(keys));
  }

  async tables(signal: AbortSignal): Promise<readonly number[]> {
    signal.throwIfAborted();
    const { keys } = this.#opened()?.get('lb_maglev')?.entries() ?? NOTHING;
    const view = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
    return Array.from({ length: keys.length / 4 }, (_, i) => view.getUint32(4 * i, true));
  }

  async setTables(tables: readonly ServiceTable[], signal: AbortSignal): Promise<BatchOutcome> {
    return this.#batch(signal, () => this.#tables.write(this.#map('lb_maglev'), tables));
  }

  async deleteTables(serviceIds: readonly number[], signal: AbortSignal): Promise<BatchOutcome> {
    return this.#batch(signal, () => this.#tables.delete(this.#map('lb_maglev'), serviceIds));
  }

  async statistics(signal: AbortSignal): Promise<readonly bigint[]> {
    signal.throwIfAborted();
    return this.counters();
  }

  /** As `statistics`, at once: it may be asked while a sync waits for something else. */
  counters(): readonly bigint[] {
    const { keys, values } = this.#opened()?.get('lb_stat')?.entries() ?? NOTHING;
    const count = keys.length / 4;
    const numbers = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
    const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
    const sums = new Array<bigint>(count).fill(0n);
    const size = count === 0 ? 0 : values.length / count;
    for (let i = 0; i < count; i++) {
      let sum = 0n;
      for (let at = 0; at < size; at += 8) sum += view.getBigUint64(i * size + at, true);
      sums[numbers.getUint32(4 * i, true)] = sum;
    }
    return sums;
  }

  /** Closes descriptors; what is pinned stays. Again is harmless. */
  [Symbol.dispose](): void {
    this.#tables[Symbol.dispose]();
    for (const handle of this.#maps?.values() ?? []) handle[Symbol.dispose]();
    this.#maps = undefined;
  }

  #opened(): ReadonlyMap<string, MapHandle> | undefined {
    this.#maps ??= this.#pinned.openMaps();
    return this.#maps;
  }

  #made(): ReadonlyMap<string, MapHandle> {
    this.#maps = this.#opened() ?? this.#pinned.makeMaps();
    return this.#maps;
  }

  #map(name: string): MapHandle {
    const map = this.#made().get(name);
    if (!map) throw new RangeError(`Cannot use map ${name}: our object has none`);
    return map;
  }

  #definition(name: string): MapDefinition {
    const found = this.#programs.maps.find((definition) => definition.name === name);
    if (!found) throw new RangeError(`Cannot make map ${name}: our object has none`);
    return found;
  }

  #attempt(signal: AbortSignal, act: () => void): SocklbOutcome {
    signal.throwIfAborted();
    try {
      act();
      return { outcome: 'ok' };
    } catch (error) {
      return { outcome: 'refused', code: codeOf(error) };
    }
  }

  /** Without maps that could be made, nothing of it is done. */
  async #batch(signal: AbortSignal, act: () => WriteResult | Promise<WriteResult>): Promise<BatchOutcome> {
    signal.throwIfAborted();
    try {
      const { done, refusal } = await act();
      return { done, code: refusal?.code ?? null };
    } catch (error) {
      return { done: 0, code: codeOf(error) };
    }
  }
}

/** The kernel's refusals have a name; whatever has none is no refusal. @throws the error itself then */
function codeOf(error: unknown): string {
  const code = errnoOf(error);
  if (code === undefined) throw error;
  return code;
}
