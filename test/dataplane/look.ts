import type { Look } from '../../src/dataplane/dataplane.ts';

const { signal } = new AbortController();

/** One that nobody waits for. */
export const LOOK: Look = { signal, givenUp: signal, pause: async () => undefined };
