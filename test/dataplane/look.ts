import type { Look } from '../../src/dataplane/dataplane.ts';

/** One that nobody waits for. */
export const LOOK: Look = { signal: new AbortController().signal, pause: async () => undefined };
