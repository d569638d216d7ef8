/** What every kernel behind a dataplane does with a batch: one answer per request. */
export type ExecuteBatch<Request, Answer> = (
  requests: readonly Request[],
  signal: AbortSignal,
) => Promise<readonly Answer[]>;

export interface FaultPlan<Answer> {
  readonly seed: number;
  /** Of a request to fail; half of the failures are refusals, half are lost answers. */
  readonly probability?: number;
  /** What a refused request is answered; it is not executed. */
  readonly refused: Answer;
  /** What a request is answered that was executed, but whose answer was lost. */
  readonly lost: Answer;
}

const DEFAULT_PROBABILITY = 0.1;

/** The same kernel, failing now and then; the same seed fails at the same requests. */
export function faulty<Request, Answer>(
  execute: ExecuteBatch<Request, Answer>,
  { seed, probability = DEFAULT_PROBABILITY, refused, lost }: FaultPlan<Answer>,
): ExecuteBatch<Request, Answer> {
  const random = seededRandom(seed);
  return async (requests, signal) => {
    const fates = requests.map(() =>
      random() >= probability ? 'none' : random() < 0.5 ? 'refused' : 'lost',
    );
    const passed = await execute(
      requests.filter((_, i) => fates[i] !== 'refused'),
      signal,
    );
    const answers = passed.values();
    return fates.map((fate) => {
      if (fate === 'refused') return refused;
      const { value } = answers.next();
      return fate === 'lost' || value === undefined ? lost : value;
    });
  };
}

/** The process has ended in the middle of a batch. */
export class Crash extends Error {
  override readonly name = 'Crash';
}

/** The same kernel, whose user dies after `count` requests: they are executed, the next is not. */
export function crashing<Request, Answer>(
  execute: ExecuteBatch<Request, Answer>,
  count: number,
): ExecuteBatch<Request, Answer> {
  let left = count;
  return async (requests, signal) => {
    const answers = await execute(requests.slice(0, left), signal);
    left -= requests.length;
    if (left < 0) throw new Crash();
    return answers;
  };
}

/** mulberry32: numbers from 0 to 1, the same for the same seed on every machine. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let hash = Math.imul(state ^ (state >>> 15), state | 1);
    hash ^= hash + Math.imul(hash ^ (hash >>> 7), hash | 61);
    return ((hash ^ (hash >>> 14)) >>> 0) / 2 ** 32;
  };
}
