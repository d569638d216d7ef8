import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { service, slice } from './objects.ts';

const ROOT = resolve(import.meta.dirname, '..');
const SVCPLANE = join(ROOT, 'scripts/svcplane');

let directory: string;
/** Within the checkout: packages that are left out of it are looked for from there. */
let bundle: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'svcplane-bundle-'));
  bundle = mkdtempSync(join(ROOT, 'dist-test-'));
  execFileSync(process.execPath, ['scripts/build-bundle.ts', bundle], { cwd: ROOT });
}, 60_000);

afterAll(() => {
  for (const made of [directory, bundle]) rmSync(made, { recursive: true });
});

function svcplane(program: string, ...args: readonly string[]): string {
  const env = { ...process.env, SVCPLANE_NODE: 'n0', SVCPLANE_PROGRAM: program };
  return spawnSync(SVCPLANE, args, { encoding: 'utf8', env }).stdout;
}

it('says the same as the sources, in files of one byte a character', () => {
  const [before, after] = ['rr', 'wrr'].map((scheduler) => {
    const manifest = join(directory, `${scheduler}.json`);
    const annotations = { 'svcplane.io/scheduler': scheduler };
    writeFileSync(
      manifest,
      JSON.stringify({ kind: 'List', items: [service({ metadata: { annotations } }), slice()] }),
    );
    const snapshot = join(directory, `${scheduler}-snapshot.json`);
    const desired = ['snapshot', '--desired', '-f', manifest, '-o', 'json'];
    writeFileSync(snapshot, svcplane(join(bundle, 'main.js'), ...desired));
    return snapshot;
  });
  const [ofSources, ofBundle] = [join(ROOT, 'src/main.ts'), join(bundle, 'main.js')].map((program) =>
    svcplane(program, 'diff', before ?? '', after ?? ''),
  );
  expect(ofBundle).toContain('scheduler rr → wrr');
  expect(ofBundle).toBe(ofSources);
  const files = readdirSync(bundle).filter((name) => name.endsWith('.js'));
  const texts = files.map((name) => readFileSync(join(bundle, name)));
  expect(texts.filter((text) => text.some((byte) => byte > 0x7f))).toEqual([]);
});

it('loads built-in modules that few runs need with their first use', () => {
  const listing = join(directory, 'listing.cjs');
  writeFileSync(
    listing,
    "process.on('exit', () => process.stderr.write(process.moduleLoadList.join('\\n') + '\\n'));",
  );
  const args = ['--require', listing, join(bundle, 'main.js'), 'run', '--help'];
  const loaded = spawnSync(process.execPath, args, { encoding: 'utf8' }).stderr.split('\n');
  expect(loaded).toContain('NativeModule http');
  expect(loaded.filter((name) => /^NativeModule (child_process|zlib)$/.test(name))).toEqual([]);
});
