/** Runs what must not overlap: whoever asks while something runs waits for its turn, in the order of asking. */
export class Exclusive {
  #last: Promise<unknown> = Promise.resolve();

  /** @throws as `body`; a failure is that of its asker alone */
  run<Result>(body: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(body);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
