import type { Rejected } from '../model/rejected.ts';
import { ManifestError } from './manifest-error.ts';
import type { ManifestDocument } from './manifest-text.ts';
import { asObject, printable, type RawObject, textIn } from './object-fields.ts';

/** One Kubernetes object of a kind that svcplane reads, not decoded. */
export interface SourcedObject {
  readonly kind: ManifestKind;
  /** As it says; "" if it says nothing */
  readonly apiVersion: string;
  /** `front.yaml:12`, or `all.json items[17]` */
  readonly source: string;
  /** Has `kind` and `apiVersion`, from the typed list it was in if not of its own; can be cyclic. */
  readonly object: RawObject;
}

export interface SourcedObjects {
  /** In the order of paths, files and documents. */
  readonly objects: readonly SourcedObject[];
  /** How many objects of which other kinds were passed over; a kind of another API group with its group. */
  readonly skipped: ReadonlyMap<string, number>;
  /** What is no Kubernetes object among others that are; the subject is its source. */
  readonly rejected: readonly Rejected[];
}

/** The kinds that mean something to a node, with their API group; other groups have kinds of these names too. */
const GROUPS = {
  Service: '',
  Endpoints: '',
  Node: '',
  EndpointSlice: 'discovery.k8s.io',
  ServiceCIDR: 'networking.k8s.io',
} as const;

export type ManifestKind = keyof typeof GROUPS;

/** What is collected while files are read. */
export interface Collection {
  /** Objects of any kind, lists too. */
  visited: number;
  readonly objects: SourcedObject[];
  readonly skipped: Map<string, number>;
  readonly rejected: Rejected[];
}

/** Lists in lists; nobody writes more than one level, but YAML aliases can make cycles. */
const MAX_LIST_DEPTH = 8;

/** 3 times the largest cluster (150,000 Services with slices); aliases can make a small file name any number. */
const MAX_OBJECTS = 1_000_000;

/**
 * Adds the objects of a document, lists unpacked.
 * @throws ManifestError if the document is no mapping: then the file is something else than a manifest
 */
export function collectDocument(into: Collection, file: string, document: ManifestDocument): void {
  const { value, line, itemLines } = document;
  collect(into, value, { file, place: `:${line}`, line, itemLines: itemLines ?? [], depth: 0, defaults: {} });
}

interface Place {
  readonly file: string;
  /** `:12`, or `:12 items[3]` */
  readonly place: string;
  readonly line: number;
  /** Lines of the items of this very document. */
  readonly itemLines: readonly number[];
  readonly depth: number;
  /** What items of a typed list, as the API server writes them, leave out. */
  readonly defaults: { readonly kind?: string; readonly apiVersion?: string };
}

function collect(into: Collection, value: unknown, at: Place): void {
  if (++into.visited > MAX_OBJECTS) throw problem(at, `more than ${MAX_OBJECTS} objects`);
  const object = asObject(value);
  if (!object) {
    const reason = `a Kubernetes object is a mapping, and this is ${nameOf(value)}`;
    if (at.depth === 0) throw problem(at, reason);
    reject(into, at, reason);
    return;
  }
  const kind = textIn(object, 'kind') ?? at.defaults.kind;
  if (kind === undefined) reject(into, at, 'it has no kind');
  else if (kind.endsWith('List') && 'items' in object) collectItems(into, object, kind, at);
  else collectObject(into, object, kind, at);
}

function collectObject(into: Collection, object: RawObject, kind: string, at: Place): void {
  const apiVersion = textIn(object, 'apiVersion') ?? at.defaults.apiVersion ?? '';
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
  if (isManifestKind(kind) && (group === GROUPS[kind] || apiVersion === '')) {
    const isComplete = 'kind' in object && 'apiVersion' in object;
    into.objects.push({
      kind,
      apiVersion,
      source: `${at.file}${at.place}`,
      object: isComplete ? object : { ...object, kind, apiVersion },
    });
    return;
  }
  const name = printable(isManifestKind(kind) ? `${kind}.${group}` : kind);
  into.skipped.set(name, (into.skipped.get(name) ?? 0) + 1);
}

function reject(into: Collection, at: Place, reason: string): void {
  into.rejected.push({ subject: `${at.file}${at.place}`, reason });
}

function collectItems(into: Collection, list: RawObject, kind: string, at: Place): void {
  const { items } = list;
  if (items === null) return;
  if (!Array.isArray(items)) throw problem(at, `items of a ${kind} is ${nameOf(items)}, not a list`);
  if (at.depth === MAX_LIST_DEPTH) throw problem(at, `lists within lists, more than ${MAX_LIST_DEPTH} deep`);
  const itemKind = kind.slice(0, -'List'.length);
  const apiVersion = textIn(list, 'apiVersion');
  const defaults = itemKind === '' ? {} : { kind: itemKind, ...(apiVersion && { apiVersion }) };
  for (const [i, item] of items.entries()) {
    const line = at.itemLines[i];
    const place = line === undefined ? `${at.place} items[${i}]` : `:${line}`;
    collect(into, item, {
      ...at,
      place,
      line: line ?? at.line,
      itemLines: [],
      depth: at.depth + 1,
      defaults,
    });
  }
}

function isManifestKind(kind: string): kind is ManifestKind {
  return Object.hasOwn(GROUPS, kind);
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}

function problem(at: Place, text: string): ManifestError {
  return new ManifestError(at.file, at.place, text, { line: at.line, column: null });
}
