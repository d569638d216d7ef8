import { SOURCE_TIMES } from '../cluster/manifest-watch.ts';
import type { CliContext } from './context.ts';
import { configFileOf, type GivenOptions, type ResolvedConfig } from './settings.ts';
import { readConfig } from './verb.ts';

/** A look costs a node at rest as much as all else in five seconds, and most changes are told of. */
const TIMES = { ...SOURCE_TIMES, pollMs: 30_000 };

/** A configuration file that has changed: read again, or why it can't be. */
export type ConfigNews = ResolvedConfig | { readonly error: Error };

/**
 * Yields what the file of `--config` says, once when it is watched and then whenever it has changed and has rested
 * since, until aborted; at once over without one. A file that is broken or gone is news too: what was read before
 * stays in force.
 */
export async function* watchConfig(
  context: Pick<CliContext, 'readText' | 'watchManifests'>,
  given: GivenOptions,
  signal: AbortSignal,
): AsyncGenerator<ConfigNews> {
  const file = configFileOf(given);
  if (file === undefined) return;
  for await (const _ of context.watchManifests([file], signal, TIMES)) yield await readAgain(context, given);
}

async function readAgain(context: Pick<CliContext, 'readText'>, given: GivenOptions): Promise<ConfigNews> {
  try {
    return await readConfig(context, given);
  } catch (error) {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }
}
