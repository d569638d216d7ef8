/** An API object as it was parsed: nothing about it is known yet. */
export type RawObject = { readonly [field: string]: unknown };

/** Receives one reason for each part of an object that can't be used. */
export type Reject = (reason: string) => void;

/** Gives the reason, and nothing instead of the object. */
export function refused(reject: Reject, reason: string): null {
  reject(reason);
  return null;
}

/** @returns undefined unless `value` is an object (arrays and null are none) */
export function asObject(value: unknown): RawObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as RawObject)
    : undefined;
}

/** The object in a field; empty if it is absent or something else. */
export function objectIn(object: RawObject, field: string): RawObject {
  return asObject(object[field]) ?? {};
}

/** The list in a field; empty if it is absent or something else. */
export function listIn(object: RawObject, field: string): readonly unknown[] {
  const value = object[field];
  return Array.isArray(value) ? value : [];
}

/** The text in a field; undefined if it is absent, empty or something else. */
export function textIn(object: RawObject, field: string): string | undefined {
  const value = object[field];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** A label or annotation; an empty value counts as present. */
export function entryIn(object: RawObject, map: 'labels' | 'annotations', key: string): string | undefined {
  const value = objectIn(objectIn(object, 'metadata'), map)[key];
  return typeof value === 'string' ? value : undefined;
}

/** `namespace/name`, the namespace defaulting to `default`; undefined without a name. */
export function namespacedName(
  object: RawObject,
): { namespace: string; name: string; key: string } | undefined {
  const metadata = objectIn(object, 'metadata');
  const name = textIn(metadata, 'name');
  const namespace = textIn(metadata, 'namespace') ?? 'default';
  return name === undefined ? undefined : { namespace, name, key: `${namespace}/${name}` };
}

/** Whether the API could have such a name: no blanks, slashes or control characters, which would forge keys and lines. */
export function isPossibleName(name: string): boolean {
  return name.length <= 253 && !/[\s/\p{C}]/u.test(name);
}

/** Text of unknown origin on one line: control characters, which could forge lines or colours, are escaped. */
export function printable(text: string): string {
  return text.replace(/\p{C}/gu, (character) => JSON.stringify(character).slice(1, -1));
}

/** A value as it is shown in a reason: JSON, cut at 60 characters. */
export function shown(value: unknown): string {
  const text =
    (value !== null && typeof value === 'object' ? typeof value : JSON.stringify(value)) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
