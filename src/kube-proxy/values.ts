import { parseGoDuration } from './duration.ts';
import type { FieldType } from './fields.ts';

/** A value as kube-proxy understands it; null is not set. */
export type TypedValue = string | number | boolean | readonly string[] | object | null;

const EXPECTED: Readonly<Record<FieldType, string>> = {
  text: 'text',
  boolean: 'true or false',
  'boolean?': 'true or false',
  number: 'a number',
  'number?': 'a number',
  duration: 'a duration such as 1h30m or 15s',
  'duration?': 'a duration such as 1h30m or 15s',
  list: 'a list of texts',
  map: 'a mapping',
  any: 'anything',
};

/**
 * Reads a value of a file, or the text of a flag.
 * @returns what was expected, if it is something else
 */
export function typedValue(
  type: FieldType,
  given: unknown,
  isFlag: boolean,
): { readonly value: TypedValue } | { readonly expected: string } {
  const value = given === null || given === undefined ? null : (isFlag ? fromFlag : fromFile)(type, given);
  return value === undefined ? { expected: EXPECTED[type] } : { value };
}

function fromFile(type: FieldType, given: unknown): TypedValue | undefined {
  switch (type) {
    case 'text':
      return typeof given === 'string' ? given : undefined;
    case 'boolean':
    case 'boolean?':
      return typeof given === 'boolean' ? given : undefined;
    case 'number':
    case 'number?':
      return typeof given === 'number' ? given : undefined;
    case 'duration':
    case 'duration?':
      return typeof given === 'string' && parseGoDuration(given) !== undefined ? given : undefined;
    case 'list':
      return isTexts(given) ? given : undefined;
    case 'map':
      return typeof given === 'object' && !Array.isArray(given) ? given : undefined;
    case 'any':
      return typeof given === 'object' ? given : String(given);
  }
}

/** The spellings of Go's strconv.ParseBool, which reads kube-proxy's flags. */
const GO_BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ...['1', 't', 'T', 'true', 'TRUE', 'True'].map((text) => [text, true] as const),
  ...['0', 'f', 'F', 'false', 'FALSE', 'False'].map((text) => [text, false] as const),
]);

/** What the text of a flag of kube-proxy says; undefined if it is neither true nor false. */
export function parseGoBoolean(text: string): boolean | undefined {
  return GO_BOOLEANS.get(text);
}

function fromFlag(type: FieldType, given: unknown): TypedValue | undefined {
  // A flag that stands alone.
  if (typeof given === 'boolean') return type === 'boolean' || type === 'boolean?' ? given : undefined;
  const text = String(given);
  switch (type) {
    case 'boolean':
    case 'boolean?':
      return parseGoBoolean(text);
    case 'number':
    case 'number?':
      return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : undefined;
    case 'list':
      return text.split(',').filter((item) => item !== '');
    case 'map':
    case 'any':
      return text;
    default:
      return fromFile(type, text);
  }
}

/**
 * Whether a value means that nothing was said: zero and empty, in the way of Go.
 * @param isFlag a flag is given because somebody means it, but an empty one says nothing
 */
export function isUnset(type: FieldType, value: TypedValue, isFlag: boolean): boolean {
  if (value === null || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  if (isFlag || type.endsWith('?')) return false;
  if (type === 'map') return Object.keys(value).length === 0;
  if (typeof value === 'object') return Object.values(value).every((inner) => isUnset('any', inner, false));
  if (type === 'duration') return parseGoDuration(String(value)) === 0;
  return value === 0 || value === false || (type === 'any' && value === '0');
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
