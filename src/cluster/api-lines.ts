const LINE_FEED = 0x0a;

/** Cuts a stream of bytes into lines, wherever it was cut before; a line is put together only once, however long. */
export class LineSplitter {
  #pieces: Uint8Array[] = [];

  /** @returns the lines that end in `chunk`, without their ends and without empty ones */
  push(chunk: Uint8Array): readonly string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      this.#pieces.push(chunk.subarray(start, end));
      const line = Buffer.concat(this.#pieces).toString('utf8');
      if (line.trim() !== '') lines.push(line);
      this.#pieces = [];
      start = end + 1;
    }
    if (start < chunk.length) this.#pieces.push(chunk.subarray(start));
    return lines;
  }
}
