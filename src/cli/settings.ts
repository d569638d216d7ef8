import { Option } from 'commander';
import {
  type Config,
  ConfigError,
  type ConfigPath,
  checkConfig,
  nameOfPath,
  parseConfig,
} from '../config.ts';
import {
  type Conversion,
  convertFields,
  fieldsOfDocument,
  isKubeProxyDocument,
} from '../kube-proxy/configuration.ts';
import { parseGoBoolean } from '../kube-proxy/values.ts';
import type { ConfigDocument } from './config-document.ts';
import { COMMAND_LINE, givenFlags } from './kube-proxy-options.ts';
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

/** A configuration, and what to say of how it came about. */
export interface ResolvedConfig {
  readonly config: Config;
  /** What was given as it would be written in a file: keys in groups, values not parsed. */
  readonly written: Readonly<Record<string, unknown>>;
  /** What was given to kube-proxy and has no effect here, and the like; one line each. */
  readonly notes: readonly string[];
}

/** Values from one place; later layers lie over earlier ones. */
interface Layer {
  readonly values: unknown;
  /** Where a key is given, for messages. */
  placeOf(path: ConfigPath): string;
  /** How it is called there. */
  nameOf(path: ConfigPath): string;
}

/**
 * Lays flags and environment over the configuration file, ours or kube-proxy's.
 * @throws ConfigError naming every key that can't be used, with its line
 * @throws UsageError if a flag of kube-proxy asks for something else than to serve
 */
export function resolveConfig(given: GivenOptions, file: ConfigDocument | undefined): ResolvedConfig {
  const ofKubeProxy = isKubeProxyDocument(file?.value) ? file?.value : undefined;
  const flags = givenFlags(given);
  const placeOf = (path: ConfigPath) => `${file?.name}:${file?.lineOf(path)}`;
  const inFile = ofKubeProxy ? fieldsOfDocument(ofKubeProxy, placeOf) : [];
  const converted = convertFields([...inFile, ...flags.fields]);
  const layers = [
    ...(file && !ofKubeProxy ? [{ values: file.value, placeOf, nameOf: nameOfPath }] : []),
    conversionLayer(converted),
    { values: nested(flags.keys, ({ value }) => value), placeOf: () => COMMAND_LINE, nameOf: nameOfPath },
    { values: ownFlags(given), placeOf: () => COMMAND_LINE, nameOf: nameOfPath },
  ];
  const problems = [...converted.problems, ...layers.flatMap(problemsOf)];
  if (problems.length > 0) throw new ConfigError(`Cannot use ${byPlace(problems).join('; ')}`);
  const written = layers.map(({ values }) => values).reduce(overlay, {}) as Record<string, unknown>;
  const beaten = file ? flags.fields.filter(({ path }) => !APPLIED_BESIDE_FILE.test(path)) : [];
  const beats = beaten.map(({ name }) => name).join(', ');
  return {
    config: parseConfig(written, COMMAND_LINE),
    written,
    notes: [
      ...converted.notes,
      ...flags.notes,
      ...(beats ? [`kube-proxy ${beats}: beats --config here, where kube-proxy would ignore it`] : []),
    ],
  };
}

/** Flags that kube-proxy, too, lays over its file. */
const APPLIED_BESIDE_FILE = /^(hostnameOverride|logging\.)/;

function conversionLayer({ values, origins }: Conversion): Layer {
  const originOf = (path: ConfigPath) => origins.get(path.join('.')) ?? origins.get(String(path[0]));
  return {
    values: nested(values, (value) => value),
    placeOf: (path) => originOf(path)?.place ?? COMMAND_LINE,
    nameOf: (path) => originOf(path)?.name ?? nameOfPath(path),
  };
}

function ownFlags(given: GivenOptions): Record<string, unknown> {
  const values = new Map<string, unknown>();
  for (const { key, kind } of SETTINGS) {
    const value = given[key];
    if (value !== undefined) values.set(key, settingValue(kind, value));
  }
  return nested(values, (value) => value);
}

/** `{ 'log.level': x }` as `{ log: { level: x } }`. */
function nested<T>(values: ReadonlyMap<string, T>, read: (value: T) => unknown): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [path, value] of values) setPath(result, path, read(value));
  return result;
}

interface PlacedProblem {
  readonly place: string;
  readonly text: string;
}

function problemsOf({ values, placeOf, nameOf }: Layer): readonly PlacedProblem[] {
  const checked = checkConfig(values);
  if ('config' in checked) return [];
  return checked.problems.map(({ path, text }) => ({
    place: placeOf(path),
    text: `${nameOf(path)} ${text}`,
  }));
}

/** `FILE:3: one; another`, in the order of lines. */
function byPlace(problems: readonly PlacedProblem[]): readonly string[] {
  const places = [...Map.groupBy(problems, ({ place }) => place)];
  places.sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
  return places.map(([place, own]) => `${place}: ${own.map(({ text }) => text).join('; ')}`);
}

/** Groups are laid over each other key by key, lists and values as a whole. */
function overlay(under: unknown, over: unknown): unknown {
  if (!isGroup(under) || !isGroup(over)) return over;
  const entries = Object.entries(over).map(([key, value]) => [key, overlay(under[key], value)]);
  return { ...under, ...Object.fromEntries(entries) };
}

function isGroup(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function settingValue(kind: SettingKind, given: string | readonly string[] | boolean): unknown {
  if (kind === 'primaryOrList')
    return Array.isArray(given) && given.length === 1 && given[0] === 'primary' ? 'primary' : given;
  if (kind === 'number') return /^\d+(\.\d+)?$/.test(String(given)) ? Number(given) : given;
  if (kind === 'boolean' || kind === 'autoOrBoolean') {
    return typeof given === 'string' ? (parseGoBoolean(given) ?? given) : given;
  }
  return given;
}

function setPath(target: Record<string, unknown>, path: string, value: unknown): void {
  const [head = '', tail] = path.split('.', 2);
  if (tail === undefined) target[head] = value;
  else target[head] = { ...(target[head] as object | undefined), [tail]: value };
}
