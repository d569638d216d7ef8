import type { ConfigPath } from '../config.ts';
import { suggestion } from '../model/suggestion.ts';
import { FIELDS, type Field } from './fields.ts';
import { isUnset, type TypedValue, typedValue } from './values.ts';

/** What tells a KubeProxyConfiguration from other documents. */
export const KUBE_PROXY_TYPE = {
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  kind: 'KubeProxyConfiguration',
} as const;

/** One value that somebody gave kube-proxy, in a file or as a flag. */
export interface GivenField {
  /** Of KubeProxyConfiguration: `ipvs.scheduler`. */
  readonly path: string;
  /** As in the file; of a flag its text. */
  readonly value: unknown;
  readonly isFlag: boolean;
  /** How it is called in messages: `ipvs.scheduler`, `--ipvs-scheduler`. */
  readonly name: string;
  /** `kube-proxy.yaml:12`; the command line of a flag. */
  readonly place: string;
}

/** A configuration of ours, made from one of kube-proxy. */
export interface Conversion {
  /** Keys of ours, in full, with values that are still to be validated. */
  readonly values: ReadonlyMap<string, unknown>;
  /** What each of these keys was made from. */
  readonly origins: ReadonlyMap<string, GivenField>;
  /** What has no effect and why, and what else to know; one line each. */
  readonly notes: readonly string[];
  /** What kube-proxy itself would refuse. */
  readonly problems: readonly { readonly place: string; readonly text: string }[];
}

/** Whether a document is meant for kube-proxy, of whatever version. */
export function isKubeProxyDocument(document: unknown): document is Record<string, unknown> {
  return (
    isMapping(document) &&
    (document.kind === KUBE_PROXY_TYPE.kind ||
      String(document.apiVersion).startsWith('kubeproxy.config.k8s.io/'))
  );
}

/**
 * The fields of a KubeProxyConfiguration, known or not.
 * @param placeOf where something is, by its path
 */
export function fieldsOfDocument(
  document: Record<string, unknown>,
  placeOf: (path: ConfigPath) => string,
): readonly GivenField[] {
  const known = new Set(FIELDS.map(({ path }) => path));
  const groups = new Set(FIELDS.flatMap(({ path }) => (path.includes('.') ? path.split('.', 1) : [])));
  const read = (mapping: Record<string, unknown>, above: ConfigPath): readonly GivenField[] =>
    Object.entries(mapping).flatMap(([name, value]) => {
      const path = [...above, name];
      const dotted = path.join('.');
      if (!known.has(dotted) && groups.has(dotted) && isMapping(value)) return read(value, path);
      return [{ path: dotted, value, isFlag: false, name: dotted, place: placeOf(path) }];
    });
  return read(document, []);
}

/**
 * What kube-proxy's configuration means to svcplane. Zeros and empty values mean nothing, as in Go: whole files are
 * written with them.
 * @param given of the same path the last one counts
 */
export function convertFields(given: readonly GivenField[]): Conversion {
  const conversion = new Converter();
  const byPath = new Map(given.map((field) => [field.path, field]));
  conversion.checkType(byPath);
  for (const field of FIELDS) {
    const from = byPath.get(field.path);
    if (from) conversion.take(field, from);
  }
  conversion.combine();
  conversion.nameUnknown(byPath);
  return conversion;
}

class Converter implements Conversion {
  readonly values = new Map<string, unknown>();
  readonly origins = new Map<string, GivenField>();
  readonly notes: string[] = [];
  readonly problems: { place: string; text: string }[] = [];
  readonly #combined = new Map<string, { readonly value: TypedValue; readonly from: GivenField }>();

  checkType(byPath: ReadonlyMap<string, GivenField>): void {
    for (const [path, expected] of Object.entries(KUBE_PROXY_TYPE)) {
      const from = byPath.get(path);
      if (from && from.value !== expected) {
        this.#problem(from, `is ${JSON.stringify(from.value)}, expected ${expected}`);
      }
    }
  }

  take({ path, type, effect }: Field, from: GivenField): void {
    const typed = typedValue(type, from.value, from.isFlag);
    if ('expected' in typed) {
      this.#problem(from, `is ${JSON.stringify(from.value)}, expected ${typed.expected}`);
      return;
    }
    if (isUnset(type, typed.value, from.isFlag)) return;
    if (effect.kind === 'key') this.#set(effect.key, typed.value, from);
    else if (effect.kind === 'combined') this.#combined.set(path, { value: typed.value, from });
    else this.notes.push(`kube-proxy ${from.name}: without effect: ${effect.reason}`);
  }

  /** What more than one field decides, or not by its value alone. */
  combine(): void {
    const mode = this.#text('mode');
    if (mode && mode.text !== 'ipvs') {
      this.notes.push(`kube-proxy ${mode.from.name}: ${mode.text}: svcplane serves by IPVS all the same`);
    }
    const name = this.#text('hostnameOverride');
    // As kube-proxy and the kubelet do with it.
    if (name) this.#set('nodeName', name.text.trim().toLowerCase(), name.from);
    const strictArp = this.#combined.get('ipvs.strictARP');
    if (strictArp) {
      // A flag is there because somebody wrote it.
      if (strictArp.value === true || strictArp.from.isFlag) {
        this.#set('strictARP', strictArp.value, strictArp.from);
      }
    }
    const clusterCidr = this.#text('clusterCIDR');
    if (clusterCidr) this.#set('clusterCIDRs', clusterCidr.text.split(','), clusterCidr.from);
    const verbosity = this.#combined.get('logging.verbosity');
    if (verbosity && Number(verbosity.value) >= 4) this.#set('log.level', 'debug', verbosity.from);
    else if (verbosity) {
      this.notes.push(`kube-proxy ${verbosity.from.name}: without effect: log.level info tells as much`);
    }
    this.#combineDetectLocal();
    this.#combineAddresses();
  }

  #combineDetectLocal(): void {
    const mode = this.#text('detectLocalMode');
    const names = {
      BridgeInterface: { prefix: 'bridge:', part: 'detectLocal.bridgeInterface' },
      InterfaceNamePrefix: { prefix: 'interfacePrefix:', part: 'detectLocal.interfaceNamePrefix' },
    } as const;
    for (const [needed, { part }] of Object.entries(names)) {
      const unused = mode?.text === needed ? undefined : this.#text(part);
      if (unused) {
        this.notes.push(`kube-proxy ${unused.from.name}: without effect: detectLocalMode is not ${needed}`);
      }
    }
    if (!mode) return;
    if (mode.text === 'ClusterCIDR') this.#set('detectLocal', 'clusterCIDR', mode.from);
    else if (mode.text === 'NodeCIDR') this.#set('detectLocal', 'nodeCIDR', mode.from);
    else if (mode.text === 'BridgeInterface' || mode.text === 'InterfaceNamePrefix') {
      const { prefix, part } = names[mode.text];
      const name = this.#text(part);
      if (name) this.#set('detectLocal', `${prefix}${name.text}`, name.from);
      else this.#problem(mode.from, `is ${mode.text}, which needs ${part}`);
    } else {
      const expected = ['ClusterCIDR', 'NodeCIDR', ...Object.keys(names)].join(', ');
      this.#problem(mode.from, `is ${JSON.stringify(mode.text)}, expected one of ${expected}`);
    }
  }

  #combineAddresses(): void {
    const bind = this.#text('bindAddress');
    if (!bind) return;
    if (!bind.text.includes(':')) {
      this.notes.push(`kube-proxy ${bind.from.name}: without effect: nothing listens there`);
      return;
    }
    const defaults = { healthzBindAddress: '[::]:10256', metricsBindAddress: '[::1]:10249' };
    for (const [key, address] of Object.entries(defaults)) {
      if (!this.values.has(key)) this.#set(key, address, bind.from);
    }
  }

  nameUnknown(byPath: ReadonlyMap<string, GivenField>): void {
    const paths = FIELDS.map(({ path }) => path);
    const known = new Set<string>([...paths, ...Object.keys(KUBE_PROXY_TYPE)]);
    for (const { path, place, value } of byPath.values()) {
      const isEmptyGroup = value === null && paths.some((each) => each.startsWith(`${path}.`));
      if (known.has(path) || isEmptyGroup) continue;
      this.notes.push(
        `${place}: ${path} is no field of ${KUBE_PROXY_TYPE.kind}, and without effect${suggestion(path, paths)}`,
      );
    }
  }

  #text(path: string): { readonly text: string; readonly from: GivenField } | undefined {
    const entry = this.#combined.get(path);
    return entry && { text: String(entry.value), from: entry.from };
  }

  #set(key: string, value: TypedValue, from: GivenField): void {
    this.values.set(key, value);
    this.origins.set(key, from);
  }

  #problem({ place, name }: GivenField, text: string): void {
    this.problems.push({ place, text: `${name} ${text}` });
  }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
