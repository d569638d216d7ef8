import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { dump, load } from 'js-yaml';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateServices, listOf, toYamlDocuments } from '../../scripts/generate-services.ts';
import { readManifests } from '../../src/cluster/manifests.ts';
import { ManifestDirectory } from './manifest-directory.ts';

let manifests: ManifestDirectory;
beforeEach(() => {
  manifests = new ManifestDirectory();
});
afterEach(() => manifests[Symbol.dispose]());

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
    if (sources) expect((await manifests.read('a.yaml', text)).sources).toEqual(sources);
    else await manifests.failure(manifests.read('a.yaml', text));
  });

  it.each(['utf16le' as const, 'utf-16be' as const])('reads %s', async (encoding) => {
    const bytes = Buffer.from('\uFEFFkind: Service\nname: é\n', 'utf16le');
    const content = encoding === 'utf16le' ? bytes : bytes.swap16();
    expect((await manifests.read('a.yaml', content)).objects).toEqual([
      { kind: 'Service', apiVersion: '', name: 'é' },
    ]);
  });

  it('keeps dates, yes and no as text, and reads numbers as YAML 1.2', async () => {
    const text =
      'kind: Service\na: 2024-01-01T00:00:00Z\nb: 2024-01-01\nc: yes\nd: "080"\ne: 1e3\nf: ~\ng: 0x1f\nh: 080\n';
    const [object] = (await manifests.read('a.yaml', text)).objects;
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
    expect((await manifests.read('a.yaml', text)).objects[0]?.spec).toEqual({ a: 1, b: 3 });
  });

  it('gives items of a typed list the kind and apiVersion of the list', async () => {
    const list = { apiVersion: 'v1', kind: 'ServiceList', items: [{ metadata: { name: 'front' } }] };
    expect((await manifests.read('a.json', JSON.stringify(list))).objects).toEqual([SERVICE]);
  });

  it('counts other kinds, in the order of their names', async () => {
    const text = 'kind: Pod\n---\nkind: Service\n---\nkind: ConfigMap\n---\nkind: PodList\nitems: [{}, {}]\n';
    const { sources, skipped } = await manifests.read('a.yaml', text);
    expect(sources).toEqual(['Service a.yaml:3']);
    expect(Object.entries(skipped)).toEqual([
      ['ConfigMap', 1],
      ['Pod', 3],
    ]);
  });

  it('reads the same objects from a JSON List, YAML documents and a YAML List', async () => {
    const objects = generateServices(20, 3);
    const list = listOf(objects);
    expect((await manifests.read('list.json', JSON.stringify(list))).objects).toEqual(objects);
    expect((await manifests.read('documents.yaml', toYamlDocuments(objects))).objects).toEqual(objects);
    expect((await manifests.read('list.yaml', toYamlDocuments([list]))).objects).toEqual(objects);
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
        const { objects } = await manifests.read('a.yaml', yaml);
        expect({ apiVersion: 'v1', items: objects, kind: 'List' }).toEqual(load(yaml));
      }),
    );
  });
});

describe('readManifests() aliases', () => {
  it('reads a cyclic object and shared ones without unfolding them', async () => {
    const bomb = Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`)}]\n`);
    const { objects } = await manifests.read(
      'a.yaml',
      `kind: Service\nself: &s {me: *s}\na0: &a0 x\n${bomb.join('')}`,
    );
    const self = Object(objects[0]).self;
    expect(self.me).toBe(self);
  });
});

describe('readManifests() paths', () => {
  it('reads a directory recursively in the order of names, without dot files', async () => {
    await mkdir(join(manifests.path, 'd/b'), { recursive: true });
    await mkdir(join(manifests.path, 'd/.git'));
    for (const name of [
      'c.yml',
      'b/2.json',
      'b/10.yaml',
      'a.yaml',
      '.git/x.yaml',
      '.a.yaml.swp',
      'notes.txt',
    ]) {
      await writeFile(join(manifests.path, 'd', name), '{"kind": "Node"}');
    }
    const { sources } = await manifests.readAll('d');
    expect(sources).toEqual(['Node d/a.yaml:1', 'Node d/b/10.yaml:1', 'Node d/b/2.json:1', 'Node d/c.yml:1']);
  });

  it('reads a mounted ConfigMap, whose files are links, once', async () => {
    await mkdir(join(manifests.path, 'd/..2024'), { recursive: true });
    await writeFile(join(manifests.path, 'd/..2024/a.yaml'), 'kind: Node\n');
    await symlink('..2024', join(manifests.path, 'd/..data'));
    await symlink('..data/a.yaml', join(manifests.path, 'd/a.yaml'));
    expect((await manifests.readAll('d')).sources).toEqual(['Node d/a.yaml:1']);
  });

  it('ends at links that make a loop', async () => {
    await mkdir(join(manifests.path, 'd/e'), { recursive: true });
    await writeFile(join(manifests.path, 'd/e/a.yaml'), 'kind: Node\n');
    await symlink('..', join(manifests.path, 'd/e/up'));
    await symlink('.', join(manifests.path, 'd/here'));
    expect((await manifests.readAll('d')).sources).toEqual(['Node d/e/a.yaml:1']);
  });

  it('names a link that leads nowhere', async () => {
    await mkdir(join(manifests.path, 'd'));
    await symlink('gone.yaml', join(manifests.path, 'd/a.yaml'));
    expect(await manifests.failure(manifests.readAll('d'))).toBe('Cannot read d/a.yaml: no such file');
  });

  it('reads standard input for -', async () => {
    const stdin = Readable.from([Buffer.from('kind: Serv'), Buffer.from('ice\n')]);
    const { objects } = await readManifests(['-'], manifests.signal, stdin);
    expect(objects.map(({ source }) => source)).toEqual(['standard input:1']);
    const empty = readManifests(['-'], manifests.signal, Readable.from([]));
    expect(await manifests.failure(empty)).toBe('Cannot read standard input: it holds no Kubernetes object');
  });

  it('keeps the order of paths', async () => {
    await writeFile(join(manifests.path, 'a.yaml'), 'kind: Node\n');
    await writeFile(join(manifests.path, 'b.yaml'), 'kind: Service\n');
    expect((await manifests.readAll('b.yaml', 'a.yaml')).sources).toEqual([
      'Service b.yaml:1',
      'Node a.yaml:1',
    ]);
  });

  it('stops when aborted', async () => {
    await writeFile(join(manifests.path, 'a.yaml'), 'kind: Node\n');
    await expect(readManifests([join(manifests.path, 'a.yaml')], AbortSignal.abort())).rejects.toThrow(
      'aborted',
    );
  });
});
