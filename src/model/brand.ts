declare const brand: unique symbol;

/** A `T` that has passed the one parser named by `Name`; nothing else may make it. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** Ends every `switch` over a tagged union: a new variant does not compile until it is handled. */
export function unreachable(value: never): never {
  throw new Error(`Unreachable variant: ${JSON.stringify(value)}`);
}
