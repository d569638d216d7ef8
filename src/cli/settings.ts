import { Option } from 'commander';
import { type Config, parseConfig } from '../config.ts';
import { SETTINGS, type Setting, type SettingKind } from './setting-table.ts';

const NAME_OF_CONFIG = 'svcplaneConfig';

/** The commander options of every setting, and `--config` itself. */
export function settingOptions(): Option[] {
  const config = new Option('--config <file>', 'configuration file').env('SVCPLANE_CONFIG');
  config.attributeName = () => NAME_OF_CONFIG;
  return [config, ...SETTINGS.map(optionOf)];
}

function optionOf(setting: Setting): Option {
  const option = new Option(setting.flags, setting.help).env(setting.env);
  // The configuration path is the name under which the value arrives.
  option.attributeName = () => setting.key;
  if (setting.kind === 'list' || setting.kind === 'primaryOrList') {
    option.argParser((value: string, before: string[] | undefined) => [
      ...(before ?? []),
      ...value.split(',').filter((part) => part !== ''),
    ]);
  }
  return option;
}

/** What the command line and the environment gave; a value is text, a list of texts, or true for a bare flag. */
export type GivenOptions = Readonly<Record<string, string | readonly string[] | boolean | undefined>>;

/** The file named by `--config`, if any. */
export function configFileOf(given: GivenOptions): string | undefined {
  const file = given[NAME_OF_CONFIG];
  return typeof file === 'string' ? file : undefined;
}

/**
 * Lays flags and environment over the configuration file.
 * @param file the parsed document, undefined without one
 * @throws ConfigError naming every key that can't be used
 */
export function resolveConfig(
  given: GivenOptions,
  file: { name: string; document: unknown } | undefined,
): Config {
  const fromFile = file ? parseableDocument(file.document) : {};
  if (file) parseConfig(fromFile, file.name);
  const merged = structuredClone(fromFile) as Record<string, unknown>;
  for (const { key, kind } of SETTINGS) {
    const value = given[key];
    if (value !== undefined) setPath(merged, key, settingValue(kind, value));
  }
  return parseConfig(merged, 'the command line and environment');
}

function parseableDocument(document: unknown): unknown {
  return document === null || document === undefined ? {} : document;
}

function settingValue(kind: SettingKind, given: string | readonly string[] | boolean): unknown {
  if (kind === 'primaryOrList')
    return Array.isArray(given) && given.length === 1 && given[0] === 'primary' ? 'primary' : given;
  if (kind === 'number') return /^\d+(\.\d+)?$/.test(String(given)) ? Number(given) : given;
  if (kind === 'boolean' || kind === 'autoOrBoolean') {
    return given === true || given === 'true' ? true : given === 'false' ? false : given;
  }
  return given;
}

function setPath(target: Record<string, unknown>, path: string, value: unknown): void {
  const [head = '', tail] = path.split('.', 2);
  if (tail === undefined) target[head] = value;
  else target[head] = { ...(target[head] as object | undefined), [tail]: value };
}
