/**
 * Collects the files of the image, in its build stage: `node collect.ts DIR`, from a directory with node_modules and a
 * built `dist`. It imports every module of `dist` and takes what that has loaded, JavaScript, add-ons and shared
 * libraries, and nothing else. What loaded code may ask for later must be there too, or in LEFT_OUT with a reason.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire, isBuiltin, registerHooks } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where svcplane is in the image. */
const HOME = 'svcplane';
const MAIN = 'dist/src/main.js';
/** Loaded when the daemon starts, not when a module is imported. */
const LIBRARIES = 'dist/native-bindings/nftables-library.js';

/** What loaded code asks for in cases that do not happen here, each with the reason. */
const LEFT_OUT: Readonly<Record<string, string>> = {};

const source = process.cwd();
const [target = ''] = process.argv.slice(2);
if (target === '') throw new TypeError('usage: collect.ts DIR');

const loaded = await loadEverything();
const later = lazyImports(loaded);
const unexplained = later.filter(({ specifier }) => !(specifier in LEFT_OUT));
for (const { specifier, file } of unexplained) {
  console.error(`collect: ${file} may ask for ${specifier}, which is neither loaded nor in LEFT_OUT`);
}
if (unexplained.length > 0) process.exit(1);

const libraries = sharedObjects();
copyModules(loaded);
copyRuntime(libraries);
copyLicenses(libraries);
console.log(`collect: ${loaded.size} files of JavaScript and ${libraries.length} shared libraries`);

/** Every file that Node loads, relative to the checkout. */
async function loadEverything(): Promise<ReadonlySet<string>> {
  const files = new Set<string>();
  const note = (path: string) => void files.add(relative(source, realpathSync(path)));
  const hooks = registerHooks({
    load: (url, context, next) => {
      if (url.startsWith('file:')) note(fileURLToPath(url));
      return next(url, context);
    },
  });
  const { dlopen } = process;
  process.dlopen = (module: object, filename: string, ...flags: number[]) => {
    note(filename);
    return Reflect.apply(dlopen, process, [module, filename, ...flags]);
  };
  for (const file of globSync('dist/**/*.js', { cwd: source }).filter((file) => file !== MAIN)) {
    await import(join(source, file));
  }
  // What our own code loads where it is needed, as the verbs do that need a kernel.
  const ours = new Set([...files].filter((file) => file.startsWith('dist/')));
  for (const { specifier } of lazyImports(ours)) await import(specifier);
  const { NftablesContext } = await import(join(source, LIBRARIES));
  NftablesContext.open()[Symbol.dispose]();
  // The composition root runs what the command line says.
  process.argv = [process.execPath, MAIN, '--version'];
  await import(join(source, MAIN));
  process.dlopen = dlopen;
  hooks.deregister();
  return files;
}

/** Literal `import()` and `require()` of what exists and has not been loaded; no other is in `dist`. */
function lazyImports(files: ReadonlySet<string>): readonly { specifier: string; file: string }[] {
  return [...files].flatMap((file) => {
    if (!/\.[cm]?js$/.test(file)) return [];
    const path = join(source, file);
    const asked = readFileSync(path, 'utf8').matchAll(/\b(?:import|require)\(\s*(['"`])([^'"`$]+)\1\s*\)/g);
    return [...asked].flatMap(([, , specifier = '']) => {
      if (isBuiltin(specifier)) return [];
      const found = resolved(path, specifier);
      return found === undefined || files.has(relative(source, found)) ? [] : { specifier, file };
    });
  });
}

function resolved(from: string, specifier: string): string | undefined {
  try {
    return realpathSync(createRequire(from).resolve(specifier));
  } catch {
    // Not installed: optional for those who ask for it.
    return undefined;
  }
}

/** With the package.json that decides how each file is read, and the licenses of each package. */
function copyModules(files: ReadonlySet<string>): void {
  const packages = new Set([...files].map((file) => packageOf(file)));
  const beside = [...packages].flatMap((directory) =>
    globSync(['package.json', '{LICENSE,LICENCE,license,COPYING}*'], { cwd: join(source, directory) }).map(
      (name) => join(directory, name),
    ),
  );
  for (const file of [...files, ...beside]) copy(join(source, file), join(HOME, file));
  const main = join(target, HOME, MAIN);
  const script = readFileSync(main, 'utf8').replace(/^#!.*\n/, '');
  // There is no env(1). A small young generation costs little time, and saves a third of the memory of a large plan.
  writeFileSync(main, `#!/usr/bin/node --max-semi-space-size=4\n${script}`);
  chmodSync(main, 0o755);
}

function packageOf(file: string): string {
  let directory = dirname(file);
  while (!existsSync(join(source, directory, 'package.json'))) directory = dirname(directory);
  return directory;
}

/** The shared libraries in this process, by the names that the loader has found them under. */
function sharedObjects(): readonly string[] {
  const { report } = process;
  const { sharedObjects: found }: { sharedObjects?: unknown } = report.getReport();
  if (!Array.isArray(found)) throw new TypeError('the report of Node names no shared libraries');
  return found.filter((path): path is string => typeof path === 'string' && /^\/.*\.so[.\d]*$/.test(path));
}

function copyRuntime(libraries: readonly string[]): void {
  copy(process.execPath, 'usr/bin/node');
  symlinkSync(join('../..', HOME, MAIN), join(target, 'usr/bin/svcplane'));
  for (const path of libraries) copy(path, path);
  // Mount points, for the root is read-only.
  for (const directory of ['dev', 'proc', 'sys', 'etc/svcplane', 'lib/modules', 'run/svcplane', 'var/lib/svcplane']) {
    mkdirSync(join(target, directory), { recursive: true });
  }
  writeFileSync(join(target, 'etc/passwd'), 'root:x:0:0:root:/:/usr/bin/svcplane\n');
  // /etc/hosts before DNS, where the kubelet may name the API server.
  writeFileSync(join(target, 'etc/nsswitch.conf'), 'hosts: files dns\n');
}

/** Of the Debian packages that the libraries are from, and of svcplane. Node's own is in its package. */
function copyLicenses(libraries: readonly string[]): void {
  const owners = libraries.map((path) => {
    // dpkg knows the real file; which of its names depends on whether /lib was a directory when it was packed.
    const [file, merged] = [realpathSync(path), realpathSync(path).replace(/^\/usr/, '')];
    const found = execFileSync(
      'sh',
      ['-c', 'dpkg-query --search "$1" || dpkg-query --search "$2"', 'sh', file, merged],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    return found.replace(/:.*/s, '');
  });
  for (const owner of new Set(owners)) {
    const file = `usr/share/doc/${owner}/copyright`;
    copy(`/${file}`, file);
  }
  copy('LICENSE', 'usr/share/doc/svcplane/LICENSE');
}

function copy(from: string, to: string): void {
  const path = join(target, to);
  mkdirSync(dirname(path), { recursive: true });
  copyFileSync(from, path);
}
