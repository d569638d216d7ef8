import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManifestDirectory } from './manifest-directory.ts';

let manifests: ManifestDirectory;
beforeEach(() => {
  manifests = new ManifestDirectory();
});
afterEach(() => manifests[Symbol.dispose]());

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
    expect(await manifests.failure(manifests.read(file, text))).toContain(`Cannot read ${message}`);
  });

  it('lists of aliases that unfold to more objects than memory holds', async () => {
    let text = 'kind: List\nitems:\n- &l0 {kind: Pod}\n';
    for (let i = 1; i <= 8; i++) text += `- &l${i} {kind: List, items: [${Array(99).fill(`*l${i - 1}`)}]}\n`;
    expect(await manifests.failure(manifests.read('a.yaml', text))).toContain('more than 1000000 objects');
  });

  it('a file above 256 MiB, without reading it', async () => {
    await writeFile(join(manifests.path, 'a.yaml'), '');
    await truncate(join(manifests.path, 'a.yaml'), (256 << 20) + 1);
    expect(await manifests.failure(manifests.readAll('a.yaml'))).toBe(
      'Cannot read a.yaml: it is larger than 256 MiB: split it',
    );
  });

  it('a missing file, and a directory without manifests', async () => {
    expect(await manifests.failure(manifests.readAll('no.yaml'))).toBe('Cannot read no.yaml: no such file');
    await mkdir(join(manifests.path, 'empty'));
    await writeFile(join(manifests.path, 'empty/.hidden.yaml'), 'kind: Node\n');
    await writeFile(join(manifests.path, 'empty/README.md'), 'kind: Node\n');
    expect(await manifests.failure(manifests.readAll('empty'))).toBe(
      'Cannot read empty: no .yaml, .yml or .json file in this directory',
    );
  });

  it('everything if one file is broken', async () => {
    await writeFile(join(manifests.path, 'a.yaml'), 'kind: Service\n');
    await writeFile(join(manifests.path, 'b.yaml'), 'kind: [\n');
    expect(await manifests.failure(manifests.readAll('a.yaml', 'b.yaml'))).toContain(
      'Cannot read b.yaml:2:1: broken YAML',
    );
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
    const { sources, rejected } = await manifests.read('a.yaml', text);
    expect(sources).toHaveLength(1);
    expect(rejected).toEqual([`a.yaml:4: ${reason}`]);
  });

  it('but not where nothing else is in the file', async () => {
    expect(await manifests.failure(manifests.read('a.yaml', 'spec: {}\n'))).toBe(
      'Cannot read a.yaml: it holds no Kubernetes object',
    );
  });

  it('kinds of our names in other API groups are counted as what they are', async () => {
    const text = 'apiVersion: serving.knative.dev/v1\nkind: Service\n---\napiVersion: v1\nkind: Service\n';
    const { sources, skipped } = await manifests.read('a.yaml', text);
    expect(sources).toEqual(['Service a.yaml:4']);
    expect(skipped).toEqual({ 'Service.serving.knative.dev': 1 });
  });
});
