import * as v from 'valibot';

type OperationSchema = v.GenericSchema<unknown, { readonly op: string }>;

/**
 * Reads back operations of a saved plan: undefined if the name is none of `schemas`.
 * @returns a function that throws RangeError if it is one of them and the operation is malformed; the message says where
 */
export function operationReader<Schemas extends Readonly<Record<string, OperationSchema>>>(
  schemas: Schemas,
): (value: unknown) => v.InferOutput<Schemas[keyof Schemas]> | undefined {
  return (value) => {
    const name = v.safeParse(v.object({ op: v.string() }), value);
    const schema =
      name.success && Object.hasOwn(schemas, name.output.op) ? schemas[name.output.op] : undefined;
    if (!name.success || !schema) return undefined;
    const parsed = v.safeParse(schema, value);
    if (parsed.success) return parsed.output as v.InferOutput<Schemas[keyof Schemas]>;
    const [issue] = parsed.issues;
    throw new RangeError(
      `Cannot read operation ${name.output.op}: ${v.getDotPath(issue) ?? 'it'}: ${issue.message}`,
    );
  };
}
