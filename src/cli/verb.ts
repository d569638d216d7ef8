import type { Option } from 'commander';
import type { Config } from '../config.ts';
import { parseConfigText } from './config-document.ts';
import { type CliContext, type ExitCode, UsageError } from './context.ts';
import { configFileOf, type GivenOptions, type ResolvedConfig, resolveConfig } from './settings.ts';

/** One verb of the command line, as data. */
export interface Verb {
  readonly name: string;
  /** Positional arguments in commander's notation, "" for none. */
  readonly arguments: string;
  readonly summary: string;
  /** Exit codes that mean more than done and error. */
  readonly exitCodes: string;
  readonly options: readonly Option[];
  run(invocation: Invocation): Promise<ExitCode>;
}

/** One call of a verb. */
export interface Invocation {
  readonly context: CliContext;
  readonly given: GivenOptions;
  readonly args: readonly string[];
}

/** The configuration that this call runs with; what it has to say is said on standard error. */
export async function configOf(invocation: Invocation): Promise<Config> {
  const { config, notes } = await readConfig(invocation.context, invocation.given);
  invocation.context.err(notes.map((note) => `note: ${note}\n`).join(''));
  return config;
}

/**
 * The configuration that this call runs with, and what there is to say of it.
 * @throws ConfigError if it can't be used
 */
export async function readConfig(
  context: Pick<CliContext, 'readText'>,
  given: GivenOptions,
): Promise<ResolvedConfig> {
  const name = configFileOf(given);
  if (name === undefined) return resolveConfig(given, undefined);
  return resolveConfig(given, parseConfigText(await context.readText(name), name));
}

/** The value of a `-o`-like option that must be one of a few. */
export function chosen<T extends string>(
  given: GivenOptions,
  option: string,
  choices: readonly T[],
  fallback: T,
): T {
  const value = given[option] ?? fallback;
  const choice = choices.find((candidate) => candidate === value);
  if (choice === undefined)
    throw new UsageError(`--${option} ${String(value)} is none of ${choices.join(', ')}`);
  return choice;
}

/** The text of an option, undefined if it was not given. */
export function textOption(given: GivenOptions, option: string): string | undefined {
  const value = given[option];
  return typeof value === 'string' ? value : undefined;
}
