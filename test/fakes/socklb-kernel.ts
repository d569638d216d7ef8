import type {
  BatchOutcome,
  EndedSockets,
  ProgramState,
  ServiceTable,
  SocketEnding,
  SocklbKernel,
  SocklbOutcome,
} from '../../src/dataplane/socklb/kernel.ts';
import { MAP_SHAPES, type PackedElements, type SocketMap } from '../../src/dataplane/socklb/layout.ts';

const OK: SocklbOutcome = { outcome: 'ok' };

/**
 * The maps of the socket balancer, with the kernel's rules: a map has room for so many elements (E2BIG), what is
 * deleted must be there (ENOENT), a batch stops at the first element that fails, the array has always all of its
 * elements, and the element that was deleted last is used again first, so that a reader that holds it sees another's
 * value.
 */
export class FakeSocklbKernel implements SocklbKernel {
  readonly #maps = new Map<SocketMap, Map<string, { bytes: Uint8Array }>>();
  readonly #free = new Map<SocketMap, { bytes: Uint8Array }[]>();
  readonly #limits: Readonly<Partial<Record<SocketMap | 'lb_maglev', number>>>;
  readonly tablesById = new Map<number, Uint32Array>();
  state: ProgramState = 'absent';
  hostNamespace = 0;
  ending: SocketEnding = { outcome: 'supported' };
  /** Where UDP sockets are connected to, `10.0.0.3 53`, by cookie. */
  readonly sockets = new Map<bigint, string>();
  /** Requests that have changed something. */
  writes = 0;
  /** Elements and tables that were read. */
  reads = 0;
  /** Every change in order: `lb_svc +`, `lb_slot -`. */
  readonly log: string[] = [];
  /** Asked before each request that writes; an errno's name takes its place. */
  faults: (() => string | undefined) | undefined;
  /** Thrown by whatever reads, as where maps can't be opened. */
  unreadable: Error | undefined;

  /** @param limits how many elements a map takes, where other than in the kernel */
  constructor(limits: Readonly<Partial<Record<SocketMap | 'lb_maglev', number>>> = {}) {
    this.#limits = limits;
    this.#reset();
  }

  async endSockets(targets: readonly EndedSockets[], signal: AbortSignal): Promise<SocklbOutcome> {
    return this.#single(signal, () => {
      for (const { address, port, cookies } of targets) {
        for (const cookie of cookies) {
          if (this.sockets.get(cookie) !== `${address} ${port}`) continue;
          this.sockets.delete(cookie);
          this.log.push(`end ${cookie}`);
        }
      }
      return undefined;
    });
  }

  async programs(signal: AbortSignal): Promise<ProgramState> {
    this.#read(signal);
    return this.state;
  }

  async attach(signal: AbortSignal): Promise<SocklbOutcome> {
    return this.#single(signal, () => {
      this.state = 'attached';
      return undefined;
    });
  }

  async remove(signal: AbortSignal): Promise<SocklbOutcome> {
    return this.#single(signal, () => {
      this.state = 'absent';
      this.#reset();
      return undefined;
    });
  }

  async readAll(map: SocketMap, signal: AbortSignal): Promise<PackedElements> {
    this.#read(signal);
    const elements = [...this.#of(map)];
    this.reads += elements.length;
    return {
      keys: Buffer.concat(elements.map(([key]) => Buffer.from(key, 'hex'))),
      values: Buffer.concat(elements.map(([, { bytes }]) => bytes)),
    };
  }

  async lookUp(map: SocketMap, keys: Uint8Array, signal: AbortSignal) {
    this.#read(signal);
    return slices(keys, MAP_SHAPES[map].keySize).map((key) => {
      this.reads += 1;
      const found = this.#of(map).get(hex(key));
      return found && Uint8Array.from(found.bytes);
    });
  }

  async update(map: SocketMap, { keys, values }: PackedElements, signal: AbortSignal): Promise<BatchOutcome> {
    signal.throwIfAborted();
    const { keySize, valueSize } = MAP_SHAPES[map];
    const parts = slices(values, valueSize);
    return this.#batch(slices(keys, keySize), (key, i) => {
      const elements = this.#of(map);
      const present = elements.get(hex(key));
      if (!present && elements.size >= (this.#limits[map] ?? MAP_SHAPES[map].maxEntries)) return 'E2BIG';
      // A hash puts another element in the place of the one there is; an array writes into it.
      const element = (map === 'lb_cfg' ? present : this.#free.get(map)?.pop()) ?? { bytes: key };
      element.bytes = Uint8Array.from(parts[i] ?? []);
      elements.set(hex(key), element);
      if (present && present !== element) this.#release(map, present);
      this.log.push(`${map} +`);
      return undefined;
    });
  }

  async delete(map: SocketMap, keys: Uint8Array, signal: AbortSignal): Promise<BatchOutcome> {
    signal.throwIfAborted();
    return this.#batch(slices(keys, MAP_SHAPES[map].keySize), (key) => {
      if (map === 'lb_cfg') return 'EINVAL';
      const elements = this.#of(map);
      const present = elements.get(hex(key));
      if (!present) return 'ENOENT';
      elements.delete(hex(key));
      this.#release(map, present);
      this.log.push(`${map} -`);
      return undefined;
    });
  }

  async tables(signal: AbortSignal): Promise<readonly number[]> {
    this.#read(signal);
    return [...this.tablesById.keys()];
  }

  async setTables(tables: readonly ServiceTable[], signal: AbortSignal): Promise<BatchOutcome> {
    signal.throwIfAborted();
    return this.#batch(tables, ({ serviceId, backendIds }) => {
      const limit = this.#limits.lb_maglev ?? MAP_SHAPES.lb_maglev.maxEntries;
      if (!this.tablesById.has(serviceId) && this.tablesById.size >= limit) return 'E2BIG';
      this.tablesById.set(serviceId, backendIds.slice());
      this.log.push('lb_maglev +');
      return undefined;
    });
  }

  async deleteTables(serviceIds: readonly number[], signal: AbortSignal): Promise<BatchOutcome> {
    signal.throwIfAborted();
    return this.#batch(serviceIds, (serviceId) => {
      this.log.push('lb_maglev -');
      this.tablesById.delete(serviceId);
      return undefined;
    });
  }

  async statistics(signal: AbortSignal): Promise<readonly bigint[]> {
    this.#read(signal);
    return [];
  }

  /** The elements of a map, keys and values in hexadecimal. */
  elements(map: SocketMap): ReadonlyMap<string, string> {
    return new Map([...this.#of(map)].map(([key, { bytes }]) => [key, hex(bytes)]));
  }

  /** Takes an element away, as somebody else may. */
  damage(map: SocketMap, key: string): void {
    const element = this.#of(map).get(key);
    if (!element) throw new Error(`${map} has no ${key}`);
    this.#of(map).delete(key);
    this.#release(map, element);
  }

  /** Writes an element, as somebody else may. */
  put(map: SocketMap, key: string, value: string): void {
    this.#of(map).set(key, { bytes: Buffer.from(value, 'hex') });
  }

  #read(signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.unreadable) throw this.unreadable;
  }

  #of(map: SocketMap): Map<string, { bytes: Uint8Array }> {
    const known = this.#maps.get(map) ?? new Map<string, { bytes: Uint8Array }>();
    this.#maps.set(map, known);
    return known;
  }

  #release(map: SocketMap, element: { bytes: Uint8Array }): void {
    const free = this.#free.get(map) ?? [];
    free.push(element);
    this.#free.set(map, free);
  }

  #reset(): void {
    this.#maps.clear();
    this.#free.clear();
    this.tablesById.clear();
    this.put('lb_cfg', '00'.repeat(MAP_SHAPES.lb_cfg.keySize), '00'.repeat(MAP_SHAPES.lb_cfg.valueSize));
  }

  #batch<Item>(items: readonly Item[], each: (item: Item, i: number) => string | undefined): BatchOutcome {
    const fault = this.faults?.();
    for (const [i, item] of items.entries()) {
      // A fault is in the middle of a batch, as an interrupt or a lack of memory is.
      const code = fault !== undefined && i === Math.floor(items.length / 2) ? fault : each(item, i);
      if (code !== undefined) return { done: i, code };
      this.writes += 1;
    }
    return { done: items.length, code: null };
  }

  #single(signal: AbortSignal, act: () => string | undefined): SocklbOutcome {
    signal.throwIfAborted();
    const code = this.faults?.() ?? act();
    if (code !== undefined) return { outcome: 'refused', code };
    this.writes += 1;
    return OK;
  }
}

function slices(bytes: Uint8Array, size: number): readonly Uint8Array[] {
  return Array.from({ length: bytes.length / size }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
