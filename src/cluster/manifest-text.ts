import { CORE_SCHEMA, loadAll, mergeTag, YAMLException } from 'js-yaml';
import { scanJson, skipSpace } from './json-scan.ts';
import { type Chunk, type Piece, splitDocuments, splitItems } from './manifest-chunks.ts';
import { SyntaxProblem } from './manifest-error.ts';

/** One document of a file. */
export interface ManifestDocument {
  readonly value: unknown;
  /** The first line of its content, from 1. */
  readonly line: number;
  /** The lines of its `items`, where they were found on the way. */
  readonly itemLines?: readonly number[];
}

/**
 * The largest text that goes to the YAML parser in one piece, in bytes. The API server takes no object above
 * 3 MiB, and a YAML text takes up to 130 times its size while it is parsed (a flow sequence of digits).
 */
const MAX_PIECE_BYTES = 4 * 1024 * 1024;

/** As Kubernetes reads YAML in what matters here: dates and yes/no stay text, `<<` merges. */
const SCHEMA = CORE_SCHEMA.withTags(mergeTag);

/**
 * The documents of a manifest file, JSON or YAML, one after the other; empty ones are left out. JSON documents,
 * in a YAML file too, are parsed as JSON, which is 5 times faster. Values can be cyclic where YAML aliases are.
 * @param bytes UTF-8, or UTF-16 with a byte order mark
 * @param options strictJson: a document that begins as JSON has to be JSON to its end
 * @throws SyntaxProblem at the first thing that is wrong
 */
export function* parseDocuments(
  bytes: Buffer,
  options: { readonly strictJson: boolean },
): Generator<ManifestDocument> {
  const utf8 = toUtf8(bytes);
  for (const chunk of splitDocuments(utf8)) {
    const isJson = /^\s*[[{]/.test(utf8.toString('latin1', chunk.contentStart, chunk.contentStart + 200));
    const documents = isJson ? parseJsonChunk(utf8, chunk, options.strictJson) : parseYamlChunk(utf8, chunk);
    for (const document of documents) if (document.value !== null) yield document;
  }
}

function toUtf8(bytes: Buffer): Buffer {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return decodeUtf16(bytes, 'utf-16le');
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return decodeUtf16(bytes, 'utf-16be');
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const text = hasMark ? bytes.subarray(3) : bytes;
  const zero = text.indexOf(0);
  if (zero < 0) return text;
  const before = text.toString('latin1', 0, zero);
  const position = { line: before.split('\n').length, column: zero - before.lastIndexOf('\n') };
  throw new SyntaxProblem('it has a NUL byte, so it is no text', position);
}

function decodeUtf16(bytes: Buffer, encoding: 'utf-16le' | 'utf-16be'): Buffer {
  try {
    return Buffer.from(new TextDecoder(encoding, { fatal: true }).decode(bytes));
  } catch {
    throw new SyntaxProblem(`it is not ${encoding}, as its byte order mark says`, { line: 1, column: null });
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** A string of its own, so that values cut from it don't keep the whole file in memory. */
function decodeUtf8(bytes: Buffer, { start, end, line }: Piece): string {
  try {
    return UTF8.decode(bytes.subarray(start, end));
  } catch {
    throw new SyntaxProblem('it is not UTF-8', { line: line + validLines(bytes, start, end), column: null });
  }
}

/** How many lines come before the one that is not UTF-8. */
function validLines(bytes: Buffer, start: number, end: number): number {
  let lines = 0;
  for (let at = start; at < end; lines++) {
    const feed = bytes.indexOf('\n', at);
    const next = feed < 0 || feed >= end ? end : feed + 1;
    if (bytes.toString('utf8', at, next).includes('\ufffd')) return lines;
    at = next;
  }
  return lines;
}

function* parseJsonChunk(bytes: Buffer, chunk: Chunk, strict: boolean): Generator<ManifestDocument> {
  const text = decodeUtf8(bytes, { start: chunk.contentStart, end: chunk.end, line: chunk.contentLine });
  const whole = tryParse(text);
  if (whole) {
    yield { value: whole.value, line: chunk.contentLine };
    return;
  }
  try {
    yield* parseJsonSequence(text, chunk.contentLine).toArray();
  } catch (problem) {
    // A flow collection of YAML begins as JSON does.
    const documents = strict || text.length > MAX_PIECE_BYTES ? undefined : tryYaml(bytes, chunk);
    if (!documents) throw problem;
    yield* documents;
  }
}

/** JSON values one after the other, as jq prints them. */
function* parseJsonSequence(text: string, firstLine: number): Generator<ManifestDocument> {
  for (let at = skipSpace(text, 0); at < text.length; ) {
    const scan = scanJson(text, at);
    const end = 'end' in scan ? scan.end : scan.errorAt;
    const parsed = 'end' in scan ? tryParse(text.slice(at, end)) : undefined;
    if (!parsed) throw jsonProblem(text, end, firstLine);
    yield { value: parsed.value, line: lineAt(text, at, firstLine) };
    at = skipSpace(text, end);
  }
}

function jsonProblem(text: string, at: number, firstLine: number): SyntaxProblem {
  const found = at >= text.length ? 'end of text' : JSON.stringify(text.slice(at, at + 1));
  const column = at - text.lastIndexOf('\n', at - 1);
  return new SyntaxProblem(`broken JSON: unexpected ${found}`, { line: lineAt(text, at, firstLine), column });
}

function lineAt(text: string, at: number, firstLine: number): number {
  let line = firstLine;
  for (let i = text.indexOf('\n'); i >= 0 && i < at; i = text.indexOf('\n', i + 1)) line++;
  return line;
}

function tryParse(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined; // the scan finds where, and says it
  }
}

function tryYaml(bytes: Buffer, chunk: Chunk): readonly ManifestDocument[] | undefined {
  try {
    return parseYamlChunk(bytes, chunk);
  } catch {
    return undefined; // the text began as JSON: what is wrong with it as JSON says more
  }
}

function parseYamlChunk(bytes: Buffer, chunk: Chunk): readonly ManifestDocument[] {
  const items = splitItems(bytes, chunk);
  if (items.length > 0) {
    try {
      return [parseYamlList(bytes, chunk, items)];
    } catch (problem) {
      // An alias may point into another item. If not, parsing the whole finds the same problem again.
      if (chunk.end - chunk.start > MAX_PIECE_BYTES) throw problem;
    }
  }
  return parseYaml(bytes, chunk).map((value) => ({ value, line: chunk.contentLine }));
}

function parseYamlList(bytes: Buffer, chunk: Chunk, items: readonly Piece[]): ManifestDocument {
  const head = bytes.subarray(chunk.start, items[0]?.start);
  const tail = bytes.subarray(items.at(-1)?.end, chunk.end);
  const around = onlyOf(
    parseYaml(Buffer.concat([head, tail]), { start: 0, end: head.length + tail.length, line: chunk.line }),
  );
  const values = items.map((item) => onlyOf(onlyOf(parseYaml(bytes, item))));
  const value = { ...Object(around), items: values };
  return { value, line: chunk.contentLine, itemLines: items.map(({ line }) => line) };
}

/** @throws SyntaxProblem unless `value` is a list of one */
function onlyOf(value: unknown): unknown {
  if (Array.isArray(value) && value.length === 1) return value[0];
  throw new SyntaxProblem('broken YAML: a part of a list is no list of one', { line: 1, column: null });
}

function parseYaml(bytes: Buffer, { start, end, line }: Piece): readonly unknown[] {
  if (end - start > MAX_PIECE_BYTES) {
    const [size, limit] = [end - start, MAX_PIECE_BYTES].map((n) => `${Math.ceil(n / 1024 / 1024)} MiB`);
    const problem = `one YAML object of ${size}, above the limit of ${limit}: write it as JSON, or one document for each object`;
    throw new SyntaxProblem(problem, { line, column: null });
  }
  const text = decodeUtf8(bytes, { start, end, line });
  try {
    return loadAll(text, { schema: SCHEMA });
  } catch (error) {
    throw yamlProblem(error, line);
  }
}

function yamlProblem(error: unknown, firstLine: number): SyntaxProblem {
  if (!(error instanceof YAMLException)) {
    const message = error instanceof Error ? error.message : String(error);
    return new SyntaxProblem(`broken YAML: ${message}`, { line: firstLine, column: null });
  }
  const { reason, mark } = error;
  const position = { line: firstLine + (mark?.line ?? 0), column: mark ? mark.column + 1 : null };
  return new SyntaxProblem(`broken YAML: ${reason}`, position);
}
