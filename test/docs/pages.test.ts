import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SETTINGS } from '../../src/cli/setting-table.ts';
import { type Config, parseConfig } from '../../src/config.ts';
import { renderTraffic } from '../../src/status/traffic-metrics.ts';
import { CliHarness } from '../cli/harness.ts';
import { daemonStatus } from '../status/status-build.ts';
import { codeOf, type Page, ROOT, readPages, tableRowsOf } from './pages.ts';

const PAGES = readPages();
const USER_PAGES = PAGES.filter(({ path }) => path === 'README.md' || path.startsWith('docs/'));

/** Calls of svcplane, up to what the shell does with them; `inet svcplane` is the table. */
const COMMANDS = /(?<!inet )\bsvcplane +([a-z][a-z-]*)\b[^|;>&]*/g;

function page(path: string): Page {
  const found = PAGES.find((candidate) => candidate.path === path);
  if (!found) throw new RangeError(`There is no page ${path}`);
  return found;
}

function source(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** What `svcplane [VERB] --help` prints. */
async function help(...verb: string[]): Promise<string> {
  return (await new CliHarness().run(...verb, '--help')).out;
}

/** Names of the verbs, from the help of the program. */
async function verbs(): Promise<readonly string[]> {
  const [, list = ''] = (await help()).split('Commands:\n');
  return [...list.matchAll(/^ {2}([a-z][a-z-]*)/gm)].flatMap(([, verb]) =>
    verb && verb !== 'help' ? verb : [],
  );
}

describe('docs/configuration.md', () => {
  const rows = tableRowsOf(page('docs/configuration.md'));
  const keys = leavesOf(parseConfig({}, 'defaults'));
  const rowOf = (key: string) => rows.find(([cell]) => cell === `\`${key}\``) ?? [];

  it.each(keys)('has key $key with its default', ({ key, value }) => {
    expect(rowOf(key)[3]).toBe(`\`${value}\``);
  });

  it('has no key that does not exist', () => {
    const documented = rows
      .filter((row) => row.length === 5)
      .flatMap(([cell]) => cell?.match(/^`(.*)`$/)?.[1] ?? []);
    expect(documented.sort()).toEqual(keys.map(({ key }) => key).sort());
  });

  it.each(SETTINGS)('has the flag and the environment variable of $key', ({ key, flags, env }) => {
    const names = flags.match(/-{1,2}[a-z][a-z-]*/g)?.map((name) => `\`${name}\``);
    expect(rowOf(key).slice(1, 3)).toEqual([names?.join(', '), `\`${env}\``]);
  });

  it('has no flag for a key without one', () => {
    const withFlag = new Set(SETTINGS.map(({ key }) => key));
    const wrong = keys.filter(({ key }) => !withFlag.has(key)).filter(({ key }) => rowOf(key)[1] !== '—');
    expect(wrong).toEqual([]);
  });

  it('says "no effect yet" of no key that the code reads', () => {
    const code = globSync('src/**/*.ts', { cwd: ROOT })
      .filter((file) => !['src/config.ts', 'src/cli/setting-table.ts', 'src/cli/reload.ts'].includes(file))
      .map((file) => source(file).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ''))
      .join('\n');
    const idle = keys.filter(({ key }) => rowOf(key)[4]?.startsWith('**no effect yet**'));
    const read = idle.filter(({ key }) => {
      const [head = ''] = key.split('.');
      return new RegExp(`\\b(config|options)\\??\\.${head}\\b|[{,]\\s*${head}\\s*[,:}]`).test(code);
    });
    expect(read).toEqual([]);
  });

  it('has every flag and environment variable that --help shows', async () => {
    const shown = new Set<string>();
    for (const verb of [[], ...(await verbs()).map((name) => [name])]) {
      const [, options = ''] = (await help(...verb)).split('Options:\n');
      for (const [, names = ''] of options.matchAll(/^ {2}(-{1,2}[A-Za-z][a-z-]*(?:, --[a-z-]+)?)/gm)) {
        for (const name of names.split(', ')) shown.add(name);
      }
      for (const [name] of options.matchAll(/SVCPLANE_[A-Z_]+/g)) shown.add(name);
    }
    const code = new Set(codeOf(page('docs/configuration.md')));
    expect([...shown].filter((name) => !code.has(name))).toEqual([]);
  });
});

describe('every page', () => {
  it.each(PAGES)('$path: links resolve', (from) => {
    const broken = linksOf(from).filter((link) => !resolves(from, link));
    expect(broken).toEqual([]);
  });

  it('is reached from the README', () => {
    const reached = new Set(['README.md', ...linksOf(page('README.md'))]);
    expect(PAGES.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
  });

  it.each(PAGES)('$path: names no verb and no flag that does not exist', async (each) => {
    const known = await verbs();
    const unknown: string[] = [];
    for (const code of codeOf(each)) {
      for (const [call, verb = ''] of code.matchAll(COMMANDS)) {
        if (!known.includes(verb)) unknown.push(call);
        else {
          const text = await help(verb);
          for (const [flag] of call.matchAll(/--[a-z][a-z-]*/g)) if (!text.includes(flag)) unknown.push(call);
        }
      }
    }
    expect(unknown).toEqual([]);
  });

  it.each(PAGES)('$path: names no environment variable that does not exist', ({ text }) => {
    const code = globSync(['src/**/*.ts', 'scripts/**/*', 'test/kernel/**/*.ts'], {
      cwd: ROOT,
      withFileTypes: true,
    })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
      .join('\n');
    const named = new Set([...text.matchAll(/\bSVCPLANE_[A-Z_]+\b/g)].map(([name]) => name));
    expect([...named].filter((name) => !code.includes(name))).toEqual([]);
  });

  it.each(PAGES)('$path: names no file of the tree that does not exist', (each) => {
    const paths = codeOf(each).flatMap((code) =>
      [...code.matchAll(/(?<![\w./-])(?:src|test|scripts|docs|examples|native-bindings)\/[\w./-]*\w/g)].map(
        ([path]) => path,
      ),
    );
    expect([...new Set(paths)].filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});

describe('tables', () => {
  it('docs/plan-and-apply.md has every operation, with its sign', () => {
    const ops = ['nftables', 'ipvs', 'addresses', 'socklb'].flatMap((name) => {
      const map = /interface \w+Ops \{([\s\S]*?)\n\}/.exec(source(`src/dataplane/${name}/ops.ts`))?.[1] ?? '';
      return [...map.matchAll(/^ {2}(\w+): /gm)].map(([, op]) => op ?? '');
    });
    const sign = (op: string) => (op.startsWith('add') ? '+' : op.startsWith('delete') ? '-' : '~');
    const rows = tableRowsOf(page('docs/plan-and-apply.md')).map(([op, shown]) => `${op} ${shown}`);
    expect(ops.length).toBeGreaterThan(25);
    expect(rows).toEqual(expect.arrayContaining(ops.map((op) => `\`${op}\` \`${sign(op)}\``)));
  });

  it('docs/monitoring.md has every metric', async () => {
    const { body } = await daemonStatus({ seconds: 1 }).metrics();
    const ofTraffic = renderTraffic([], () => undefined, 1);
    const names = [...`${body}${ofTraffic}`.matchAll(/^# HELP (\S+) /gm)].map(([, name]) => name ?? '');
    const code = codeOf(page('docs/monitoring.md'));
    expect(names.length).toBeGreaterThan(40);
    expect(names.filter((name) => !code.includes(name))).toEqual([]);
    const shown = code.filter((span) => /^(kubeproxy|svcplane|process|nodejs)_[a-z_]+$/.test(span));
    expect(shown.filter((name) => !names.includes(name))).toEqual([]);
  });

  it('docs/snapshot-and-diff.md has every field', () => {
    const fields = [...source('src/snapshot/snapshot.ts').matchAll(/^ {2}readonly (\w+)\??:/gm)];
    const code = codeOf(page('docs/snapshot-and-diff.md'));
    expect(fields.length).toBeGreaterThan(20);
    expect(fields.map(([, field]) => field).filter((field) => !code.some((span) => span === field))).toEqual(
      [],
    );
  });

  it('docs/services.md has only reasons that the code gives', () => {
    const code = globSync('src/**/*.ts', { cwd: ROOT }).map(source).join('\n');
    const [, section = ''] = page('docs/services.md').text.split('## Reasons for rejecting');
    const reasons = tableRowsOf({ path: '', text: section })
      .slice(1)
      .flatMap(([cell]) => [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, reason]) => reason ?? ''));
    expect(reasons.length).toBeGreaterThan(10);
    expect(reasons.filter((reason) => !code.includes(reason))).toEqual([]);
  });

  it('docs/configuration.md has every scheduler', async () => {
    const { SCHEDULERS } = await import('../../src/model/scheduler.ts');
    const code = codeOf(page('docs/configuration.md'));
    expect(SCHEDULERS.filter((scheduler) => !code.includes(scheduler))).toEqual([]);
  });
});

describe('user pages', () => {
  it.each(USER_PAGES)('$path: opens with a title and a paragraph', ({ text }) => {
    expect(text).toMatch(/^# .+\n\n\S/);
  });
});

/** Every key of the configuration with its default as text: `externalIPs.policy`, `allowAll`. */
function leavesOf(config: Config): readonly { key: string; value: string }[] {
  const leaf = (value: unknown) =>
    value === '' ? '""' : typeof value === 'string' ? value : JSON.stringify(value);
  return Object.entries(config).flatMap(([key, value]) =>
    typeof value === 'object' && !Array.isArray(value)
      ? Object.entries(value).map(([inner, each]) => ({ key: `${key}.${inner}`, value: leaf(each) }))
      : [{ key, value: leaf(value) }],
  );
}

function linksOf({ text }: Page): readonly string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target]) => target ?? []);
}

/** A file of the tree, with the heading that the link names; other sites are not asked. */
function resolves(from: Page, link: string): boolean {
  if (/^https:\/\//.test(link)) return true;
  const [file = '', anchor] = link.split('#');
  const path = file === '' ? from.path : normalize(join(dirname(from.path), file));
  if (!existsSync(join(ROOT, path))) return false;
  if (anchor === undefined) return true;
  const headings = source(path).match(/^#+ .*$/gm) ?? [];
  return headings.some((heading) => slugOf(heading) === anchor);
}

/** The anchor that GitHub gives a heading. */
function slugOf(heading: string): string {
  const text = heading.replace(/^#+ /, '').toLowerCase();
  return text.replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-');
}
