import { dump } from 'js-yaml';
import { parseConfig } from '../config.ts';
import { isKubeProxyDocument } from '../kube-proxy/configuration.ts';
import { type ConfigDocument, parseConfigText } from './config-document.ts';
import { type CliContext, EXIT, type ExitCode, UsageError } from './context.ts';
import { kubeProxyOptions } from './kube-proxy-options.ts';
import { configFileOf, type GivenOptions, type ResolvedConfig, resolveConfig } from './settings.ts';
import { type Invocation, readConfig, type Verb } from './verb.ts';

export const configVerb: Verb = {
  name: 'config',
  arguments: '<convert|show>',
  summary:
    'convert: a configuration of kube-proxy as one of svcplane; show: what is in force, with the defaults',
  exitCodes: '0 printed; 1 error',
  options: kubeProxyOptions(),
  run: (invocation) => run(invocation),
};

async function run({ context, given, args }: Invocation): Promise<ExitCode> {
  await context.out(await printedConfig(context, given, args[0] ?? ''));
  return EXIT.done;
}

/**
 * What `svcplane config` prints: a file, with notes as comments.
 * @param action `convert` or `show`
 * @throws UsageError if it is neither
 */
export async function printedConfig(
  context: Pick<CliContext, 'readText'>,
  given: GivenOptions,
  action: string,
): Promise<string> {
  const defaults = parseConfig({}, 'defaults');
  if (action === 'show') {
    const { config, written, notes } = await readConfig(context, given);
    return renderConfig(
      shownOf(config, written, defaults, () => true),
      notes,
    );
  }
  if (action !== 'convert') throw new UsageError(`config ${action} is none of convert, show`);
  const { config, written, notes } = await convert(context, given);
  // What is not said follows the defaults of later versions, too.
  return renderConfig(
    shownOf(config, written, defaults, (value, fallback) => !equal(value, fallback)),
    notes,
  );
}

/** All that is in force, as JSON can hold it. */
export function configObject({ config, written }: Pick<ResolvedConfig, 'config' | 'written'>): object {
  return shownOf(config, written, config, () => true);
}

/** `-f` names what is converted: manifests are not read here. */
async function convert(context: Pick<CliContext, 'readText'>, given: GivenOptions): Promise<ResolvedConfig> {
  const { manifests, ...others } = given;
  const [file, ...more] = Array.isArray(manifests) ? manifests : [];
  if (file === undefined) return readConfig(context, given);
  if (more.length > 0 || configFileOf(given) !== undefined) {
    throw new UsageError('config convert takes one file');
  }
  const document = parseConfigText(await context.readText(file === '-' ? '/dev/stdin' : file), file);
  return resolveConfig(others, fromConfigMap(document));
}

/** The file in a ConfigMap, as kubeadm keeps it; any other document as it is. */
function fromConfigMap(document: ConfigDocument): ConfigDocument {
  const { kind, data } = Object(document.value);
  if (kind !== 'ConfigMap') return document;
  for (const [name, text] of Object.entries(Object(data))) {
    if (typeof text !== 'string' || !text.includes('KubeProxyConfiguration')) continue;
    const inside = parseConfigText(text, `${document.name} ${name}`);
    if (isKubeProxyDocument(inside.value)) return inside;
  }
  throw new UsageError(`Cannot use ${document.name}: this ConfigMap has no KubeProxyConfiguration`);
}

type Group = Readonly<Record<string, unknown>>;

/**
 * A configuration as it would be written.
 * @param isShown whether a value is written, by it and its default
 */
function shownOf(
  values: Group,
  written: unknown,
  defaults: unknown,
  isShown: (value: unknown, fallback: unknown) => boolean,
): Group {
  const entries = Object.entries(values).flatMap(([key, value]) => {
    const [source, fallback] = [Object(written)[key], Object(defaults)[key]];
    if (!isShown(value, fallback)) return [];
    return [[key, isGroup(value) ? shownOf(value, source, fallback, isShown) : writtenValue(value, source)]];
  });
  return Object.fromEntries(entries);
}

/** Lists as they were written, because ranges are parsed into more than text. */
function writtenValue(value: unknown, written: unknown): unknown {
  return typeof value === 'object' ? (written ?? value) : value;
}

function equal(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function isGroup(value: unknown): value is Group {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A configuration file, with notes as comments before it. */
function renderConfig(shown: Group, notes: readonly string[]): string {
  const comments = notes.map((note) => `# note: ${note}\n`);
  const document = {
    apiVersion: 'svcplane.io/v1alpha1',
    kind: 'SvcplaneConfiguration',
    ...shown,
  };
  return `${comments.join('')}${dump(document, { flowLevel: 1, flowBracketPadding: true, lineWidth: -1 })}`;
}
