/** A part of a file, from byte `start` up to byte `end`. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  /** Line of `start`, from 1 */
  readonly line: number;
}

/** One document of a file. */
export interface Chunk extends Piece {
  /** Where the first line begins that is more than a comment, a directive or a document marker. */
  readonly contentStart: number;
  readonly contentLine: number;
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const TAB = 0x09;
const SPACE = 0x20;
const HASH = 0x23;
const PERCENT = 0x25;
const DASH = 0x2d;
const DOT = 0x2e;

/**
 * Splits a YAML stream into its documents without parsing it. `---` and `...` at the start of a line are markers
 * wherever they stand (YAML 1.2.2, 9.1.2 c-forbidden), in block scalars and quotes too, so this is exact.
 */
export function splitDocuments(bytes: Uint8Array): readonly Chunk[] {
  const chunks: Chunk[] = [];
  let start = 0;
  let startLine = 1;
  let content: { readonly at: number; readonly line: number } | null = null;
  let hasMarker = false;
  const close = (end: number, nextLine: number) => {
    if (content) {
      chunks.push({ start, end, line: startLine, contentStart: content.at, contentLine: content.line });
    }
    start = end;
    startLine = nextLine;
    content = null;
    hasMarker = false;
  };
  let line = 1;
  for (let at = 0; at < bytes.length; line++) {
    const next = endOfLine(bytes, at);
    if (isMarker(bytes, at, DASH)) {
      // Directives and comments before the first marker belong to the document that it begins.
      if (content || hasMarker) close(at, line);
      hasMarker = true;
      if (!isBlank(bytes, at + 3, next)) content = { at, line };
    } else if (isMarker(bytes, at, DOT)) {
      close(next, line + 1);
    } else if (!content && !isBlank(bytes, at, next) && (hasMarker || bytes[at] !== PERCENT)) {
      content = { at, line };
    }
    at = next;
  }
  close(bytes.length, line);
  return chunks;
}

/**
 * Finds the items of a document written as `kubectl get -o yaml` writes a List, a block sequence under a top-level
 * `items:`, so that each can be parsed alone. Nothing inside an item can begin a line at its column with a dash,
 * but the text of a quoted scalar that breaks the rules of indentation: then the parts don't parse.
 * @returns nothing if the document isn't written so
 */
export function splitItems(bytes: Buffer, chunk: Chunk): readonly Piece[] {
  const starts: { start: number; line: number }[] = [];
  const upTo = (end: number) => starts.map((item, i) => ({ ...item, end: starts[i + 1]?.start ?? end }));
  let indent = -1;
  let isList = false;
  let line = chunk.line;
  for (let at = chunk.start; at < chunk.end; line++) {
    const next = endOfLine(bytes, at);
    if (!isList) isList = isItemsKey(bytes, at, next);
    else if (!isBlank(bytes, at, next)) {
      const column = indentOf(bytes, at);
      if (indent < 0) indent = column;
      if (column === indent && isDash(bytes, at + column)) starts.push({ start: at, line });
      else if (column <= indent) return upTo(at);
    }
    at = next;
  }
  return upTo(chunk.end);
}

const ITEMS_KEY = /^items:\s*(#.*)?$/;

function isItemsKey(bytes: Buffer, at: number, next: number): boolean {
  return bytes[at] === 0x69 && ITEMS_KEY.test(bytes.toString('latin1', at, next).trimEnd());
}

function isDash(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === DASH && isSpace(bytes[at + 1]);
}

function isMarker(bytes: Uint8Array, at: number, byte: number): boolean {
  return bytes[at] === byte && bytes[at + 1] === byte && bytes[at + 2] === byte && isSpace(bytes[at + 3]);
}

/** The end of the file counts. */
function isSpace(byte: number | undefined): boolean {
  return (
    byte === undefined || byte === SPACE || byte === LINE_FEED || byte === CARRIAGE_RETURN || byte === TAB
  );
}

/** Whether nothing but blanks and a comment stands between two offsets of one line. */
function isBlank(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    if (bytes[i] === HASH) return true;
    if (!isSpace(bytes[i])) return false;
  }
  return true;
}

function indentOf(bytes: Uint8Array, at: number): number {
  let end = at;
  while (bytes[end] === SPACE) end++;
  return end - at;
}

function endOfLine(bytes: Uint8Array, at: number): number {
  let end = at;
  while (end < bytes.length && bytes[end] !== LINE_FEED) end++;
  return Math.min(end + 1, bytes.length);
}
