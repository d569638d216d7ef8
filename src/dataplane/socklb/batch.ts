import type { SocklbKernel, SocklbOutcome } from './kernel.ts';
import { type MapCodec, packElements, packKeys } from './layout.ts';
import type { SocklbOp } from './ops.ts';

/** Why operations were refused, by operation. */
export type Codes = ReadonlyMap<SocklbOp, string>;

/** Elements of many operations, of which one that is refused leaves the others alone. */
export class Batch<Op extends SocklbOp = SocklbOp> {
  readonly #kernel: SocklbKernel;
  readonly #signal: AbortSignal;
  readonly #codes = new Map<SocklbOp, string>();

  constructor(kernel: SocklbKernel, signal: AbortSignal) {
    this.#kernel = kernel;
    this.#signal = signal;
  }

  /** Why operations were refused so far. */
  get codes(): Codes {
    return this.#codes;
  }

  async one(op: Op, request: () => Promise<SocklbOutcome>): Promise<void> {
    if (this.#codes.has(op)) return;
    const answer = await request();
    if (answer.outcome === 'refused') this.#codes.set(op, answer.code);
  }

  /** What the kernel has refused otherwise. */
  refuse(ops: readonly Op[], code: string): void {
    for (const op of ops) this.#codes.set(op, code);
  }

  /** Writes the elements of all operations that are not refused yet, in order. */
  async update<Key, Value>(
    codec: MapCodec<Key, Value>,
    ops: readonly Op[],
    elementsOf: (op: Op) => readonly (readonly [Key, Value])[],
  ): Promise<void> {
    await this.send(ops, elementsOf, async (elements) =>
      this.#kernel.update(codec.map, packElements(codec, elements), this.#signal),
    );
  }

  /** Deletes elements; what is gone already is as it should be. */
  async delete<Key, Value>(
    codec: MapCodec<Key, Value>,
    ops: readonly Op[],
    keysOf: (op: Op) => readonly Key[],
  ): Promise<void> {
    const missing = new Set(['ENOENT']);
    await this.send(
      ops,
      keysOf,
      async (keys) => this.#kernel.delete(codec.map, packKeys(codec, keys), this.#signal),
      missing,
    );
  }

  /** Sends what belongs to all operations that are not refused yet, in order. @param ignored codes of no refusal */
  async send<Item>(
    ops: readonly Op[],
    itemsOf: (op: Op) => readonly Item[],
    request: (items: readonly Item[]) => Promise<{ readonly done: number; readonly code: string | null }>,
    ignored: ReadonlySet<string> = new Set(),
  ): Promise<void> {
    const owned = ops
      .filter((op) => !this.#codes.has(op))
      .flatMap((op) => itemsOf(op).map((item) => ({ op, item })));
    let next = 0;
    while (next < owned.length) {
      const { done, code } = await request(owned.slice(next).map(({ item }) => item));
      next += done;
      const failed = code === null ? undefined : owned[next];
      if (code === null || !failed) return;
      next += 1;
      if (ignored.has(code)) continue;
      this.#codes.set(failed.op, code);
      while (owned[next]?.op === failed.op) next += 1;
    }
  }
}
