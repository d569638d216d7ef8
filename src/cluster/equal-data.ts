/** Whether two values that JSON could hold say the same; the order of an object's fields does not count. */
export function equalData(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const fields = Object.entries(a);
  return (
    fields.length === Object.keys(b).length &&
    fields.every(([field, value]) => Object.hasOwn(b, field) && equalData(value, Reflect.get(b, field)))
  );
}
