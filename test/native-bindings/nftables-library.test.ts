import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { NftablesContext, parseRefusal } from '../../native-bindings/nftables-library.ts';

/** What changes the ruleset is tested in test/kernel: this is the network namespace of whoever runs the tests. */
function whyNoNftables(): string | undefined {
  const { error, status, stderr } = spawnSync('nft', ['list', 'table', 'inet', 'svcplane-none'], {
    encoding: 'utf8',
  });
  if (error) return `cannot run nft: ${error.message}`;
  // The kernel shows the table to be missing to those only who may look.
  return status === 1 && stderr.includes('No such file or directory') ? undefined : stderr.trim();
}

const skipReason = whyNoNftables();
const kernel = skipReason === undefined ? {} : { skip: true, meta: { skipReason } };
const descriptors = () => readdirSync('/proc/self/fd').length;

describe('parseRefusal()', () => {
  const codes = new Map([
    ['No such file or directory', 'ENOENT'],
    ['Operation not permitted', 'EPERM'],
    ['Unknown error 524', 'ENOTSUPP'],
  ]);

  test.each([
    {
      name: 'takes the first of many errors, without the text it points into',
      text: 'Error: Could not process rule: Operation not permitted\nadd table inet t\n^^^^\nError: syntax error\n',
      refusal: { code: 'EPERM', message: 'Could not process rule: Operation not permitted' },
    },
    {
      name: 'knows an errno that the library found by itself',
      text: 'Error: No such file or directory\nadd element inet t s { 1.2.3.4 }\n                   ^\n',
      refusal: { code: 'ENOENT', message: 'No such file or directory' },
    },
    {
      name: 'passes over a suggestion',
      text: 'Error: No such file or directory; did you mean set ‘vips’ in table inet ‘t’?\n',
      refusal: {
        code: 'ENOENT',
        message: 'No such file or directory; did you mean set ‘vips’ in table inet ‘t’?',
      },
    },
    {
      name: 'passes over where it was',
      text: 'internal:0:0-0: Error: cache initialization failed: Operation not permitted\n',
      refusal: { code: 'EPERM', message: 'cache initialization failed: Operation not permitted' },
    },
    {
      name: 'knows ENOTSUPP, which has no text',
      text: 'Error: Could not process rule: Unknown error 524\n',
      refusal: { code: 'ENOTSUPP', message: 'Could not process rule: Unknown error 524' },
    },
    {
      name: "takes the library's own words for EINVAL",
      text: 'Error: syntax error, unexpected string\n',
      refusal: { code: 'EINVAL', message: 'syntax error, unexpected string' },
    },
    {
      name: 'admits that no error was told',
      text: '\n',
      refusal: { code: 'unknown', message: 'libnftables told no error' },
    },
    {
      name: 'admits that it knows not what was told',
      text: 'perhaps\nmore\n',
      refusal: { code: 'unknown', message: 'perhaps' },
    },
  ])('parseRefusal() $name', ({ text, refusal }) => {
    expect(parseRefusal(text, codes)).toEqual(refusal);
  });
});

describe('NftablesContext', kernel, () => {
  test('run() tells the code of a refusal of the kernel, of the library, and of the parser', async () => {
    using context = NftablesContext.open();
    expect(await context.run('delete table inet svcplane-none')).toMatchObject({ code: 'ENOENT' });
    expect(await context.run('add element inet svcplane-none s { 1.2.3.4 }')).toMatchObject({
      code: 'ENOENT',
    });
    expect(await context.run('add tables')).toEqual({
      outcome: 'refused',
      code: 'EINVAL',
      message: expect.stringMatching(/^syntax error/),
    });
  });

  test('check() forgets what it pretended to add', async () => {
    using context = NftablesContext.open();
    const create = 'create table inet svcplane-none';
    expect(await context.check(create)).toEqual({ outcome: 'ok', output: '' });
    expect(await context.check(create)).toEqual({ outcome: 'ok', output: '' });
    expect(await context.check('add chain inet svcplane-none c')).toMatchObject({ code: 'ENOENT' });
  });

  test('listJson() takes commands as JSON and as text', async () => {
    using context = NftablesContext.open();
    const command = { nftables: [{ list: { table: { family: 'inet', name: 'svcplane-none' } } }] };
    expect(await context.listJson(JSON.stringify(command))).toMatchObject({ code: 'ENOENT' });
    const tables = await context.listJson('list tables inet');
    const { nftables } = JSON.parse(tables.outcome === 'ok' ? tables.output : '{}');
    expect(nftables[0]).toHaveProperty('metainfo.json_schema_version');
  });

  test('calls wait for one another, and one that fails does not fail the next', async () => {
    using context = NftablesContext.open();
    const results = await Promise.all([
      context.check('nonsense'),
      context.check('add table inet svcplane-none'),
      context.check('nonsense'),
    ]);
    expect(results.map(({ outcome }) => outcome)).toEqual(['refused', 'ok', 'refused']);
  });

  test('calls leave no descriptor behind', async () => {
    using context = NftablesContext.open();
    const before = descriptors();
    for (let i = 0; i < 20; i++) await context.check(i % 2 ? 'nonsense' : 'add table inet svcplane-none');
    expect(descriptors()).toBe(before);
  });

  test('dispose lets a call under way end, and rejects those that wait and that come', async () => {
    const context = NftablesContext.open();
    const underWay = context.check('add table inet svcplane-none');
    const waiting = context.check('add table inet svcplane-none').catch(String);
    // By now the first is on its thread.
    await new Promise((resolve) => queueMicrotask(() => queueMicrotask(() => resolve(undefined))));
    context[Symbol.dispose]();
    context[Symbol.dispose]();
    expect(await underWay).toEqual({ outcome: 'ok', output: '' });
    expect(await waiting).toContain('closed');
    await expect(context.run('add table inet svcplane-none')).rejects.toThrow('closed');
  });
});
