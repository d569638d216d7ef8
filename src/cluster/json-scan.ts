/**
 * Where a JSON value ends, or where it stops being JSON: JSON.parse tells neither reliably. Only for texts that
 * JSON.parse has refused, as it is ten times slower.
 */
export type JsonScan = { readonly end: number } | { readonly errorAt: number };

/** One token after white space: punctuation, string, number or word, as RFC 8259 writes them. */
const TOKEN =
  /[ \t\r\n]*(?:([{}[\],:])|("[ !#-[\]-\u{10ffff}]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[ !#-[\]-\u{10ffff}]*)*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null))/uy;

type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | 'colon' | 'comma or close';

/** @param from offset at which a value, or white space before it, begins */
export function scanJson(text: string, from: number): JsonScan {
  const open: ('{' | '[')[] = [];
  let expected: Expected = 'value';
  for (let at = from; ; ) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (!match) return { errorAt: skipSpace(text, at) };
    const [token, punctuation, string] = match;
    const next = step(expected, punctuation ?? (string ? 'string' : 'scalar'), open);
    if (next === undefined) return { errorAt: at + token.length - token.trimStart().length };
    at += token.length;
    if (next === 'comma or close' && open.length === 0) return { end: at };
    expected = next;
  }
}

/** What may follow `token`, with `open` brought up to date; undefined if the token may not stand there. */
function step(expected: Expected, token: string, open: ('{' | '[')[]): Expected | undefined {
  const mayBeValue = expected === 'value' || expected === 'value or ]';
  switch (token) {
    case '{':
    case '[':
      if (!mayBeValue) return undefined;
      open.push(token);
      return token === '{' ? 'key or }' : 'value or ]';
    case '}':
      return (expected === 'key or }' || expected === 'comma or close') && open.pop() === '{'
        ? 'comma or close'
        : undefined;
    case ']':
      return (expected === 'value or ]' || expected === 'comma or close') && open.pop() === '['
        ? 'comma or close'
        : undefined;
    case ',':
      if (expected !== 'comma or close') return undefined;
      return open.at(-1) === '{' ? 'key' : 'value';
    case ':':
      return expected === 'colon' ? 'value' : undefined;
    case 'string':
      if (expected === 'key' || expected === 'key or }') return 'colon';
      return mayBeValue ? 'comma or close' : undefined;
    default:
      return mayBeValue ? 'comma or close' : undefined;
  }
}

/** The offset of the next character that is not white space, or the end. */
export function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && /[ \t\r\n]/.test(text.charAt(at))) at++;
  return at;
}
