import type { Option } from 'commander';
import * as yaml from 'js-yaml';
import { type Config, ConfigError } from '../config.ts';
import { type CliContext, type ExitCode, UsageError } from './context.ts';
import { configFileOf, type GivenOptions, resolveConfig } from './settings.ts';

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

/** The configuration that this call runs with. */
export async function configOf({ context, given }: Invocation): Promise<Config> {
  const name = configFileOf(given);
  if (name === undefined) return resolveConfig(given, undefined);
  return resolveConfig(given, { name, document: parseConfigFile(await context.readText(name), name) });
}

function parseConfigFile(text: string, name: string): unknown {
  try {
    return yaml.load(text);
  } catch (error) {
    if (!(error instanceof yaml.YAMLException)) throw error;
    const line = error.mark ? `:${error.mark.line + 1}` : '';
    throw new ConfigError(`Cannot parse ${name}${line}: ${error.reason}`);
  }
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
