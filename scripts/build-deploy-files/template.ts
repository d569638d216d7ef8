/** An object of Kubernetes as data, with marks where Helm's user has a say. */
export type Template = string | number | boolean | Mark | readonly Template[] | Mapping;

/**
 * Entries in order. A key `if CONDITION` has a mapping whose entries are there if Helm's condition holds; in the place of
 * a key `...PATH` are the entries of that setting.
 */
export type Mapping = { readonly [key: string]: Template };

export type Mark =
  /** The value at this path of values.yaml; where it is empty, so is the entry. */
  | { readonly mark: 'setting'; readonly path: string }
  /** A text that Helm puts together, and what it is with the default values. */
  | { readonly mark: 'text'; readonly helm: string; readonly plain: string };

/** Of values.yaml. */
export type Values = { readonly [key: string]: unknown };

/** How marks are written. */
interface Form {
  spread(path: string, indent: string): readonly string[];
  entry(key: string, mark: Mark, indent: string): readonly string[];
  condition(condition: string, lines: readonly string[], indent: string): readonly string[];
}

export function setting(path: string): Mark {
  return { mark: 'setting', path };
}

export function text(helm: string, plain: string): Mark {
  return { mark: 'text', helm, plain };
}

/** The template as Helm reads it. @throws RangeError if values.yaml has no such setting */
export function helmOf(template: Mapping, values: Values): string {
  return render(template, {
    entry: (key, mark, indent) => {
      if (mark.mark === 'text') return block(key, mark.helm, indent);
      const { path } = mark;
      const value = valueAt(values, path);
      if (typeof value === 'string') return [`${indent}${key}: {{ .Values.${path} | quote }}`];
      if (typeof value !== 'object') return [`${indent}${key}: {{ .Values.${path} }}`];
      return [
        `${indent}{{- with .Values.${path} }}`,
        `${indent}${key}:`,
        `${indent}  {{- toYaml . | nindent ${indent.length + 2} }}`,
        `${indent}{{- end }}`,
      ];
    },
    spread: (path, indent) => [
      `${indent}{{- with .Values.${path} }}`,
      `${indent}{{- toYaml . | nindent ${indent.length} }}`,
      `${indent}{{- end }}`,
    ],
    condition: (condition, lines, indent) => [
      `${indent}{{- if ${condition} }}`,
      ...lines,
      `${indent}{{- end }}`,
    ],
  });
}

/** The YAML that the template is with the default values, all conditions taken as true. */
export function plainOf(template: Mapping, values: Values): string {
  const form: Form = {
    entry: (key, mark, indent) =>
      mark.mark === 'text'
        ? block(key, mark.plain, indent)
        : entryLines(key, asTemplate(valueAt(values, mark.path)), indent, form),
    spread: (path, indent) => {
      const entries = asTemplate(valueAt(values, path));
      return isMapping(entries) ? mappingLines(entries, indent, form) : [];
    },
    condition: (_, lines) => lines,
  };
  return render(template, form);
}

function render(template: Mapping, form: Form): string {
  return `${mappingLines(template, '', form).join('\n')}\n`;
}

function mappingLines(mapping: Mapping, indent: string, form: Form): readonly string[] {
  return Object.entries(mapping).flatMap(([key, value]) => {
    if (key.startsWith('...')) return form.spread(key.slice(3), indent);
    if (!key.startsWith('if ')) return entryLines(key, value, indent, form);
    if (!isMapping(value)) throw new TypeError(`${key} has no entries`);
    return form.condition(key.slice(3), mappingLines(value, indent, form), indent);
  });
}

function entryLines(key: string, value: Template, indent: string, form: Form): readonly string[] {
  if (isMark(value)) return form.entry(key, value, indent);
  if (isList(value) || isMapping(value)) {
    const inner = isList(value)
      ? value.flatMap((each) => itemLines(each, `${indent}  `, form))
      : mappingLines(value, `${indent}  `, form);
    return inner.length === 0 ? [] : [`${indent}${key}:`, ...inner];
  }
  return block(key, scalar(value), indent, value);
}

function itemLines(item: Template, indent: string, form: Form): readonly string[] {
  if (isMark(item) || isList(item)) throw new TypeError('a list of settings or of lists is not written here');
  if (!isMapping(item)) {
    const [first = '', ...rest] = block('', scalar(item), indent, item);
    return [`${indent}- ${first.slice(indent.length + 2)}`, ...rest];
  }
  const [first = '', ...rest] = mappingLines(item, `${indent}  `, form);
  return [`${indent}- ${first.trimStart()}`, ...rest];
}

/** Text of several lines keeps them. @param raw what `written` is of, where that is one line however it is quoted */
function block(key: string, written: string, indent: string, raw: Template = written): readonly string[] {
  if (typeof raw !== 'string' || !raw.includes('\n')) return [`${indent}${key}: ${written}`];
  const lines = raw.trimEnd().split('\n');
  return [`${indent}${key}: |`, ...lines.map((line) => (line === '' ? '' : `${indent}  ${line}`))];
}

/** Quoted where YAML could take it for something else. */
function scalar(value: string | number | boolean): string {
  const isPlain =
    typeof value !== 'string' || /^(?!(true|false|yes|no|on|off|null)$)[a-z/][\w./-]*$/i.test(value);
  return isPlain ? String(value) : JSON.stringify(value);
}

function asTemplate(value: unknown): Template {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.map(asTemplate);
  if (!isRecord(value)) throw new TypeError(`${value} is no value of a setting`);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, asTemplate(each)]));
}

function valueAt(values: Values, path: string): unknown {
  let value: unknown = values;
  for (const key of path.split('.')) {
    if (!isRecord(value) || !(key in value)) throw new RangeError(`values.yaml has no ${path}`);
    value = value[key];
  }
  return value;
}

function isRecord(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isList(value: Template): value is readonly Template[] {
  return Array.isArray(value);
}

function isMark(value: Template): value is Mark {
  return isRecord(value) && 'mark' in value;
}

function isMapping(value: Template): value is Mapping {
  return isRecord(value) && !isMark(value);
}
