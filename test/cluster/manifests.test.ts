import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { dump, load } from 'js-yaml';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateServices, listOf, toYamlDocuments } from '../../scripts/generate-services.ts';
import { ManifestError } from '../../src/cluster/manifest-error.ts';
import { readManifests } from '../../src/cluster/manifests.ts';

const signal = new AbortController().signal;

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'svcplane-manifests-'));
});
afterEach(() => rm(directory, { recursive: true }));

/** Writes a file and reads it as `-f FILE`; sources and messages are without the directory. */
async function read(name: string, content: string | Buffer) {
  await writeFile(join(directory, name), content);
  return readAll(name);
}

async function readAll(...names: readonly string[]) {
  const paths = names.map((name) => join(directory, name));
  const { objects, skipped, rejected } = await readManifests(paths, signal);
  const short = (source: string) => source.replace(`${directory}/`, '');
  return {
    objects: objects.map(({ object }) => object),
    sources: objects.map(({ kind, source }) => `${kind} ${short(source)}`),
    skipped: Object.fromEntries(skipped),
    rejected: rejected.map(({ subject, reason }) => `${short(subject)}: ${reason}`),
  };
}

async function failure(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ManifestError);
  const message = error instanceof Error ? error.message.replaceAll(`${directory}/`, '') : '';
  expect(message).not.toContain('\n');
  return message;
}

const SERVICE = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'front' } };

describe('readManifests() content', () => {
  it.each([
    { name: 'one document', text: 'kind: Service\n', sources: ['Service a.yaml:1'] },
    {
      name: 'several documents',
      text: '# front\n---\nkind: Service\n---\n# n\n\nkind: Node\n',
      sources: ['Service a.yaml:3', 'Node a.yaml:7'],
    },
    { name: 'empty documents', text: '---\n---\n# no\n---\nkind: Node\n---\n', sources: ['Node a.yaml:5'] },
    {
      name: 'directives and end markers',
      text: '%YAML 1.2\n---\nkind: Service\n...\n# x\n%YAML 1.2\n---\nkind: Node\n...\n',
      sources: ['Service a.yaml:3', 'Node a.yaml:8'],
    },
    {
      name: 'a document on the line of its marker',
      text: '--- {kind: Service}\n--- {"kind": "Node"}\n',
      sources: ['Service a.yaml:1', 'Node a.yaml:2'],
    },
    { name: 'a marker within a block scalar', text: 'kind: Service\na: |\n  x\n ---\n  y\n', sources: null },
    {
      name: 'dashes that are no marker',
      text: 'kind: Service\na: |\n  ---\n---- : x\n',
      sources: ['Service a.yaml:1'],
    },
    {
      name: 'CR LF',
      text: 'kind: Service\r\n---\r\nkind: Node\r\n',
      sources: ['Service a.yaml:1', 'Node a.yaml:3'],
    },
    {
      name: 'a List as kubectl writes it',
      text: 'apiVersion: v1\nitems:\n- kind: Service\n- # x\n  kind: Node\nkind: List\n',
      sources: ['Service a.yaml:3', 'Node a.yaml:4'],
    },
    {
      name: 'an indented List',
      text: 'kind: List\nitems: # all\n\n  - kind: Service\n    a:\n      - b\n  - kind: Node\n',
      sources: ['Service a.yaml:4', 'Node a.yaml:7'],
    },
    {
      name: 'a List with an alias across items',
      text: 'kind: List\nitems:\n- &a {kind: Service}\n- *a\n',
      sources: ['Service a.yaml:1 items[0]', 'Service a.yaml:1 items[1]'],
    },
    {
      name: 'a List in flow style',
      text: 'kind: List\nitems: [{kind: Service}]\n',
      sources: ['Service a.yaml:1 items[0]'],
    },
    {
      name: 'a List in a List',
      text: 'kind: List\nitems:\n- kind: List\n  items: [{kind: Node}]\n',
      sources: ['Node a.yaml:3 items[0]'],
    },
    {
      name: 'a quoted scalar across lines in items',
      text: 'kind: List\nitems:\n- kind: Service\n  a: "x\n    - y"\n- kind: Node\n',
      sources: ['Service a.yaml:3', 'Node a.yaml:6'],
    },
    { name: 'an empty List', text: 'kind: List\nitems: []\n', sources: [] },
    { name: 'a List of nothing', text: 'kind: ServiceList\nitems:\n', sources: [] },
    { name: 'JSON', text: ' {"kind": "Service"}\n', sources: ['Service a.yaml:1'] },
    {
      name: 'JSON documents',
      text: '---\n# c\n{"kind": "Service"}\n---\n{"kind": "Node"}\n',
      sources: ['Service a.yaml:3', 'Node a.yaml:5'],
    },
    {
      name: 'JSON values one after the other',
      text: '{"kind": "Service"}\n{"kind": "Node",\n"a": []} {"kind": "Node"}',
      sources: ['Service a.yaml:1', 'Node a.yaml:2', 'Node a.yaml:3'],
    },
    { name: 'a flow mapping that is no JSON', text: '{kind: Service,}\n', sources: ['Service a.yaml:1'] },
    { name: 'a byte order mark', text: '\uFEFFkind: Service\n', sources: ['Service a.yaml:1'] },
  ])('reads $name', async ({ text, sources }) => {
    if (sources) expect((await read('a.yaml', text)).sources).toEqual(sources);
    else await failure(read('a.yaml', text));
  });

  it.each(['utf16le' as const, 'utf-16be' as const])('reads %s', async (encoding) => {
    const bytes = Buffer.from('\uFEFFkind: Service\nname: é\n', 'utf16le');
    const content = encoding === 'utf16le' ? bytes : bytes.swap16();
    expect((await read('a.yaml', content)).objects).toEqual([{ kind: 'Service', apiVersion: '', name: 'é' }]);
  });

  it('keeps dates, yes and no as text, and reads numbers as YAML 1.2', async () => {
    const text =
      'kind: Service\na: 2024-01-01T00:00:00Z\nb: 2024-01-01\nc: yes\nd: "080"\ne: 1e3\nf: ~\ng: 0x1f\nh: 080\n';
    const [object] = (await read('a.yaml', text)).objects;
    expect(object).toMatchObject({
      a: '2024-01-01T00:00:00Z',
      b: '2024-01-01',
      c: 'yes',
      d: '080',
      e: 1000,
      f: null,
      g: 31,
      h: 80,
    });
  });

  it('merges << as kubectl does', async () => {
    const text = 'kind: Service\nbase: &b {a: 1, b: 2}\nspec:\n  <<: *b\n  b: 3\n';
    expect((await read('a.yaml', text)).objects[0]?.spec).toEqual({ a: 1, b: 3 });
  });

  it('gives items of a typed list the kind and apiVersion of the list', async () => {
    const list = { apiVersion: 'v1', kind: 'ServiceList', items: [{ metadata: { name: 'front' } }] };
    expect((await read('a.json', JSON.stringify(list))).objects).toEqual([SERVICE]);
  });

  it('counts other kinds, in the order of their names', async () => {
    const text = 'kind: Pod\n---\nkind: Service\n---\nkind: ConfigMap\n---\nkind: PodList\nitems: [{}, {}]\n';
    const { sources, skipped } = await read('a.yaml', text);
    expect(sources).toEqual(['Service a.yaml:3']);
    expect(Object.entries(skipped)).toEqual([
      ['ConfigMap', 1],
      ['Pod', 3],
    ]);
  });

  it('reads the same objects from a JSON List, YAML documents and a YAML List', async () => {
    const objects = generateServices(20, 3);
    const list = listOf(objects);
    expect((await read('list.json', JSON.stringify(list))).objects).toEqual(objects);
    expect((await read('documents.yaml', toYamlDocuments(objects))).objects).toEqual(objects);
    expect((await read('list.yaml', toYamlDocuments([list]))).objects).toEqual(objects);
  });

  it('reads a YAML List as the parser reads it in one piece, whatever is in it', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('---', '- a\n- b', 'items:', '...', '# c', '|\n'),
    );
    const value = fc.oneof(text, fc.integer(), fc.constant(null), fc.array(text), fc.dictionary(text, text));
    const item = fc.dictionary(text, value, { noNullPrototype: true });
    const options = fc.record({ noArrayIndent: fc.boolean(), lineWidth: fc.constantFrom(20, 80, -1) });
    await fc.assert(
      fc.asyncProperty(fc.array(item, { minLength: 1 }), options, async (items, style) => {
        const yaml = dump(
          {
            apiVersion: 'v1',
            items: items.map((fields) => ({ ...fields, kind: 'Node', apiVersion: 'v1' })),
            kind: 'List',
          },
          style,
        );
        const { objects } = await read('a.yaml', yaml);
        expect({ apiVersion: 'v1', items: objects, kind: 'List' }).toEqual(load(yaml));
      }),
    );
  });
});

describe('readManifests() refuses', () => {
  it.each([
    {
      name: 'a tab',
      file: 'a.yaml',
      text: 'kind: Service\nspec:\n\tports: []\n',
      message: 'a.yaml:3:1: broken YAML: tab',
    },
    {
      name: 'a flow list without end',
      file: 'a.yaml',
      text: 'kind: Node\n---\nkind: Service\na: [1\n---\n',
      message: 'a.yaml:5:1: broken YAML: ',
    },
    {
      name: 'a duplicate key',
      file: 'a.yaml',
      text: 'kind: Node\n---\nkind: Service\nkind: Node\n',
      message: 'a.yaml:4:1: broken YAML: duplicated mapping key',
    },
    {
      name: 'a duplicate key in an item',
      file: 'a.yaml',
      text: 'kind: List\nitems:\n- kind: Node\n- a: 1\n  a: 2\n',
      message: 'a.yaml:5:3: broken YAML: duplicated mapping key',
    },
    {
      name: 'two items',
      file: 'a.yaml',
      text: 'kind: List\nitems:\n- kind: Node\nitems:\n- kind: Node\n',
      message: 'a.yaml:4:1: broken YAML: duplicated mapping key',
    },
    { name: 'an unknown alias', file: 'a.yaml', text: 'kind: Service\na: *b\n', message: 'a.yaml:2:' },
    {
      name: 'an unknown tag',
      file: 'a.yaml',
      text: 'kind: Service\na: !b c\n',
      message: 'a.yaml:2:4: broken YAML: unknown',
    },
    {
      name: 'deep nesting',
      file: 'a.yaml',
      text: `kind: Service\na: ${'['.repeat(100_000)}`,
      message: 'a.yaml:2:',
    },
    {
      name: 'JSON cut short',
      file: 'a.json',
      text: '{"kind": "List",\n "items": [{}, {"a"\n',
      message: 'a.json:3:1: broken JSON: unexpected end of text',
    },
    {
      name: 'JSON with a comma too many',
      file: 'a.json',
      text: '{"kind": "Service",\n "a": 1,}',
      message: 'a.json:2:9: broken JSON: unexpected "}"',
    },
    {
      name: 'JSON with a bare word',
      file: 'a.json',
      text: '{"kind": Service}',
      message: 'a.json:1:10: broken JSON: unexpected "S"',
    },
    {
      name: 'JSON with a key too few',
      file: 'a.json',
      text: '[1, 2}',
      message: 'a.json:1:6: broken JSON: unexpected "}"',
    },
    {
      name: 'what is neither JSON nor YAML',
      file: 'a.yaml',
      text: '---\n{"kind": "Service"\n',
      message: 'a.yaml:3:1: broken JSON: unexpected end of text',
    },
    { name: 'deep JSON', file: 'a.json', text: '['.repeat(100_000), message: 'a.json:1:100001: broken JSON' },
    {
      name: 'a NUL byte',
      file: 'a.yaml',
      text: 'kind: Service\na: \0\n',
      message: 'a.yaml:2:4: it has a NUL byte',
    },
    {
      name: 'Latin-1',
      file: 'a.yaml',
      text: Buffer.from('kind: Service\na: é\n', 'latin1'),
      message: 'a.yaml:2: it is not UTF-8',
    },
    {
      name: 'text',
      file: 'a.yaml',
      text: 'kind: Node\n---\nsome text\n',
      message: 'a.yaml:3: a Kubernetes object is a mapping, and this is a string',
    },
    {
      name: 'a list',
      file: 'a.json',
      text: '[{"kind": "Service"}]',
      message: 'a.json:1: a Kubernetes object is a mapping, and this is a list',
    },
    {
      name: 'items that are no list',
      file: 'a.json',
      text: '{"kind": "List", "items": {}}',
      message: 'a.json:1: items of a List is a object, not a list',
    },
    {
      name: 'an empty file',
      file: 'a.yaml',
      text: '# nothing\n---\n',
      message: 'a.yaml: it holds no Kubernetes object',
    },
    {
      name: 'a List that holds itself',
      file: 'a.yaml',
      text: '&a\nkind: List\nitems: [*a]\n',
      message: 'a.yaml:1 items[0]',
    },
    {
      name: 'a YAML object of 5 MiB',
      file: 'a.yaml',
      text: `kind: Node\n---\nkind: Service\na: ${'x'.repeat(5 << 20)}\n`,
      message: 'a.yaml:2: one YAML object of 6 MiB, above the limit of 4 MiB',
    },
  ])('$name, naming file and line', async ({ file, text, message }) => {
    expect(await failure(read(file, text))).toContain(`Cannot read ${message}`);
  });

  it('lists of aliases that unfold to more objects than memory holds', async () => {
    let text = 'kind: List\nitems:\n- &l0 {kind: Pod}\n';
    for (let i = 1; i <= 8; i++) text += `- &l${i} {kind: List, items: [${Array(99).fill(`*l${i - 1}`)}]}\n`;
    expect(await failure(read('a.yaml', text))).toContain('more than 1000000 objects');
  });

  it('a file above 256 MiB, without reading it', async () => {
    await writeFile(join(directory, 'a.yaml'), '');
    await truncate(join(directory, 'a.yaml'), (256 << 20) + 1);
    expect(await failure(readAll('a.yaml'))).toBe('Cannot read a.yaml: it is larger than 256 MiB: split it');
  });

  it('a missing file, and a directory without manifests', async () => {
    expect(await failure(readAll('no.yaml'))).toBe('Cannot read no.yaml: no such file');
    await mkdir(join(directory, 'empty'));
    await writeFile(join(directory, 'empty/.hidden.yaml'), 'kind: Node\n');
    await writeFile(join(directory, 'empty/README.md'), 'kind: Node\n');
    expect(await failure(readAll('empty'))).toBe(
      'Cannot read empty: no .yaml, .yml or .json file in this directory',
    );
  });

  it('everything if one file is broken', async () => {
    await writeFile(join(directory, 'a.yaml'), 'kind: Service\n');
    await writeFile(join(directory, 'b.yaml'), 'kind: [\n');
    expect(await failure(readAll('a.yaml', 'b.yaml'))).toContain('Cannot read b.yaml:2:1: broken YAML');
  });
});

describe('readManifests() rejects, and keeps the others,', () => {
  it.each([
    {
      name: 'null',
      text: 'kind: List\nitems:\n- kind: Node\n- null\n',
      reason: 'a Kubernetes object is a mapping, and this is empty',
    },
    {
      name: 'text',
      text: 'kind: List\nitems:\n- kind: Node\n- text\n',
      reason: 'a Kubernetes object is a mapping, and this is a string',
    },
    {
      name: 'an item without kind',
      text: 'kind: List\nitems:\n- kind: Node\n- spec: {}\n',
      reason: 'it has no kind',
    },
    { name: 'a document without kind', text: 'kind: Node\n---\n\nspec: {}\n', reason: 'it has no kind' },
  ])('$name', async ({ text, reason }) => {
    const { sources, rejected } = await read('a.yaml', text);
    expect(sources).toHaveLength(1);
    expect(rejected).toEqual([`a.yaml:4: ${reason}`]);
  });

  it('but not where nothing else is in the file', async () => {
    expect(await failure(read('a.yaml', 'spec: {}\n'))).toBe(
      'Cannot read a.yaml: it holds no Kubernetes object',
    );
  });

  it('kinds of our names in other API groups are counted as what they are', async () => {
    const text = 'apiVersion: serving.knative.dev/v1\nkind: Service\n---\napiVersion: v1\nkind: Service\n';
    const { sources, skipped } = await read('a.yaml', text);
    expect(sources).toEqual(['Service a.yaml:4']);
    expect(skipped).toEqual({ 'Service.serving.knative.dev': 1 });
  });
});

describe('readManifests() aliases', () => {
  it('reads a cyclic object and shared ones without unfolding them', async () => {
    const bomb = Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`)}]\n`);
    const { objects } = await read('a.yaml', `kind: Service\nself: &s {me: *s}\na0: &a0 x\n${bomb.join('')}`);
    const self = Object(objects[0]).self;
    expect(self.me).toBe(self);
  });
});

describe('readManifests() paths', () => {
  it('reads a directory recursively in the order of names, without dot files', async () => {
    await mkdir(join(directory, 'd/b'), { recursive: true });
    await mkdir(join(directory, 'd/.git'));
    for (const name of [
      'c.yml',
      'b/2.json',
      'b/10.yaml',
      'a.yaml',
      '.git/x.yaml',
      '.a.yaml.swp',
      'notes.txt',
    ]) {
      await writeFile(join(directory, 'd', name), '{"kind": "Node"}');
    }
    const { sources } = await readAll('d');
    expect(sources).toEqual(['Node d/a.yaml:1', 'Node d/b/10.yaml:1', 'Node d/b/2.json:1', 'Node d/c.yml:1']);
  });

  it('reads a mounted ConfigMap, whose files are links, once', async () => {
    await mkdir(join(directory, 'd/..2024'), { recursive: true });
    await writeFile(join(directory, 'd/..2024/a.yaml'), 'kind: Node\n');
    await symlink('..2024', join(directory, 'd/..data'));
    await symlink('..data/a.yaml', join(directory, 'd/a.yaml'));
    expect((await readAll('d')).sources).toEqual(['Node d/a.yaml:1']);
  });

  it('ends at links that make a loop', async () => {
    await mkdir(join(directory, 'd/e'), { recursive: true });
    await writeFile(join(directory, 'd/e/a.yaml'), 'kind: Node\n');
    await symlink('..', join(directory, 'd/e/up'));
    await symlink('.', join(directory, 'd/here'));
    expect((await readAll('d')).sources).toEqual(['Node d/e/a.yaml:1']);
  });

  it('names a link that leads nowhere', async () => {
    await mkdir(join(directory, 'd'));
    await symlink('gone.yaml', join(directory, 'd/a.yaml'));
    expect(await failure(readAll('d'))).toBe('Cannot read d/a.yaml: no such file');
  });

  it('reads standard input for -', async () => {
    const stdin = Readable.from([Buffer.from('kind: Serv'), Buffer.from('ice\n')]);
    const { objects } = await readManifests(['-'], signal, stdin);
    expect(objects.map(({ source }) => source)).toEqual(['standard input:1']);
    const empty = readManifests(['-'], signal, Readable.from([]));
    expect(await failure(empty)).toBe('Cannot read standard input: it holds no Kubernetes object');
  });

  it('keeps the order of paths', async () => {
    await writeFile(join(directory, 'a.yaml'), 'kind: Node\n');
    await writeFile(join(directory, 'b.yaml'), 'kind: Service\n');
    expect((await readAll('b.yaml', 'a.yaml')).sources).toEqual(['Service b.yaml:1', 'Node a.yaml:1']);
  });

  it('stops when aborted', async () => {
    await writeFile(join(directory, 'a.yaml'), 'kind: Node\n');
    await expect(readManifests([join(directory, 'a.yaml')], AbortSignal.abort())).rejects.toThrow('aborted');
  });
});
