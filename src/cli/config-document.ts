import {
  CORE_SCHEMA,
  constructFromEvents,
  EVENT_ID,
  getScalarValue,
  mergeTag,
  parseEvents,
  YAMLException,
} from 'js-yaml';
import { ConfigError, type ConfigPath } from '../config.ts';

type YamlEvent = ReturnType<typeof parseEvents>[number];

/** A configuration file, parsed, with the lines of what is in it. */
export interface ConfigDocument {
  /** The file, for messages. */
  readonly name: string;
  readonly value: unknown;
  /** The line of a key or an item, from 1; of what is around it, where it has none of its own. */
  lineOf(path: ConfigPath): number;
}

const SCHEMA = CORE_SCHEMA.withTags(mergeTag);

/**
 * Parses a configuration file, YAML or JSON; one without content is an empty mapping.
 * @throws ConfigError if it is broken, or more than one document
 */
export function parseConfigText(text: string, name: string): ConfigDocument {
  try {
    const events = parseEvents(text, {});
    const [value, ...more] = constructFromEvents(events, { source: text, schema: SCHEMA });
    if (more.length > 0) {
      throw new ConfigError(`Cannot use ${name}: it has ${more.length + 1} documents, expected one`);
    }
    const lines = linesOf(text, events);
    const lineOf = (path: ConfigPath): number =>
      lines.get(pathKey(path)) ?? (path.length === 0 ? 1 : lineOf(path.slice(0, -1)));
    return { name, value: value ?? {}, lineOf };
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const line = error.mark ? `:${error.mark.line + 1}` : '';
    throw new ConfigError(`Cannot parse ${name}${line}: ${error.reason}`);
  }
}

const pathKey = (path: ConfigPath): string => JSON.stringify(path.map(String));

/** A collection that is being read. */
interface Open {
  readonly path: ConfigPath;
  readonly isMapping: boolean;
  /** How many nodes of it have been read: of a mapping, keys and values. */
  count: number;
  key: string;
}

/** The lines of keys and items, by path. */
function linesOf(text: string, events: readonly YamlEvent[]): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  const open: Open[] = [];
  let [at, line] = [0, 1];
  for (const event of events) {
    if (event.type === EVENT_ID.POP) {
      open.pop();
      continue;
    }
    if (event.type === EVENT_ID.DOCUMENT) {
      open.push({ path: [], isMapping: false, count: 0, key: '' });
      continue;
    }
    const start = startOf(event);
    for (; at < start; at++) if (text[at] === '\n') line++;
    const around = open.at(-1);
    const isKey = around?.isMapping === true && around.count % 2 === 0;
    if (around && isKey) around.key = event.type === EVENT_ID.SCALAR ? getScalarValue(text, event) : '';
    // The one node of a document has the document's path.
    const path =
      around && open.length > 1 ? [...around.path, around.isMapping ? around.key : around.count] : [];
    if (!lines.has(pathKey(path))) lines.set(pathKey(path), line);
    if (around) around.count++;
    if (event.type === EVENT_ID.MAPPING || event.type === EVENT_ID.SEQUENCE) {
      open.push({ path, isMapping: event.type === EVENT_ID.MAPPING, count: 0, key: '' });
    }
  }
  return lines;
}

/** Offset of the first letter of a node; negative where it is empty. */
function startOf(
  event: Exclude<YamlEvent, { type: typeof EVENT_ID.POP | typeof EVENT_ID.DOCUMENT }>,
): number {
  if (event.type === EVENT_ID.SCALAR) return event.valueStart;
  return event.type === EVENT_ID.ALIAS ? event.anchorStart : event.start;
}
