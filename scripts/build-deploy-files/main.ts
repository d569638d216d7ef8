/** Writes the files of files.ts, or with --check compares them. */
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { deployFiles } from './files.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const files = deployFiles(read('scripts/build-deploy-files/values.yaml'), read('package.json'));
const there = globSync('deploy/{helm,kustomize}/**', { cwd: root, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
const superfluous = there.filter((path) => !files.has(path));
const different = [...files.keys()].filter((path) => !there.includes(path) || read(path) !== files.get(path));

if (process.argv.includes('--check')) {
  for (const path of [...superfluous, ...different])
    console.error(`${path} is not as scripts/build-deploy writes it`);
  process.exitCode = superfluous.length + different.length > 0 ? 1 : 0;
} else {
  for (const path of superfluous) rmSync(join(root, path));
  for (const path of different) {
    if (!existsSync(dirname(join(root, path)))) mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), files.get(path) ?? '');
  }
}
