/**
 * Collects the files of the image, in its build stage: `node collect.ts DIR`, from a directory with node_modules and a
 * built `dist`. It imports every module of `dist`, and what they and their libraries may ask for later, and takes what
 * that has loaded: JavaScript, add-ons and shared libraries, and beside them our BPF programs and licenses; and keepalived
 * with the libraries that it is linked with. Left out is all else: what only building and testing needs, types,
 * documentation, other processors' add-ons, npm, and Debian.
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
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire, isBuiltin, registerHooks } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where svcplane is in the image. */
const HOME = 'svcplane';
const MAIN = 'dist/main.js';
/** Loaded when the daemon starts, not when a module is imported. */
const LIBRARIES = 'dist/nftables-library.js';
/** Announces addresses of load balancers, where that is switched on. */
const KEEPALIVED = '/usr/sbin/keepalived';
/** What Node does not load: BPF programs, read when the daemon starts, and the licenses of what is in the bundle. */
const BESIDE = ['dist/bpf/*.o', 'dist/licenses/**'];

const source = process.cwd();
const [target = ''] = process.argv.slice(2);
if (target === '') throw new TypeError('usage: collect.ts DIR');

const loaded = await loadEverything();
const libraries = [...new Set([...sharedObjects(), ...librariesOf(KEEPALIVED)])];
copyModules(new Set([...loaded, ...globSync(BESIDE).filter((path) => statSync(path).isFile())]));
copyRuntime(libraries);
copyLicenses([KEEPALIVED, ...libraries]);
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
  // The composition root runs what the command line says.
  process.argv = [process.execPath, MAIN, '--version'];
  await import(join(source, MAIN));
  // What is loaded where it is needed, such as what only the verbs need that look at a kernel.
  for (let later = lazyImports(files); later.length > 0; later = lazyImports(files)) {
    for (const { specifier, path } of later) {
      note(path);
      // Its own imports are loaded with it; what is for browsers only may fail.
      for (const each of [specifier, path]) await import(each).catch(() => undefined);
    }
  }
  const { NftablesContext } = await import(join(source, LIBRARIES));
  NftablesContext.open()[Symbol.dispose]();
  process.dlopen = dlopen;
  hooks.deregister();
  return files;
}

/** Literal `import()` and `require()` of what exists and has not been loaded. */
function lazyImports(files: ReadonlySet<string>): readonly { specifier: string; path: string }[] {
  return [...files].flatMap((file) => {
    if (!/\.[cm]?js$/.test(file)) return [];
    const from = join(source, file);
    const asked = readFileSync(from, 'utf8').matchAll(/\b(?:import|require)\(\s*(['"`])([^'"`$]+)\1\s*\)/g);
    return [...asked].flatMap(([, , specifier = '']) => {
      const path = isBuiltin(specifier) ? undefined : resolved(from, specifier);
      return path === undefined || files.has(relative(source, path)) ? [] : { specifier, path };
    });
  });
}

function resolved(from: string, specifier: string): string | undefined {
  try {
    const path = realpathSync(createRequire(from).resolve(specifier));
    // Types are asked for in comments.
    return path.endsWith('.d.ts') ? undefined : path;
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

/** The shared libraries that the loader finds for a program. */
function librariesOf(program: string): readonly string[] {
  const found = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...found.matchAll(/^\t(?:\S+ => )?(\/\S+) \(/gm)].map(([, path = '']) => path);
}

function copyRuntime(libraries: readonly string[]): void {
  copy(process.execPath, 'usr/bin/node');
  copy(KEEPALIVED, KEEPALIVED);
  symlinkSync(join('../..', HOME, MAIN), join(target, 'usr/bin/svcplane'));
  for (const path of libraries) copy(path, path);
  // Mount points, for the root is read-only.
  for (const directory of [
    'dev',
    'proc',
    'sys',
    'etc/svcplane',
    'lib/modules',
    'run/svcplane',
    'var/run/secrets/kubernetes.io/serviceaccount',
    'var/lib/svcplane',
  ]) {
    mkdirSync(join(target, directory), { recursive: true });
  }
  writeFileSync(join(target, 'etc/passwd'), 'root:x:0:0:root:/:/usr/bin/svcplane\n');
  // /etc/hosts before DNS, where the kubelet may name the API server.
  writeFileSync(join(target, 'etc/nsswitch.conf'), 'hosts: files dns\n');
}

/** Of the Debian packages that these files are from, and of svcplane. Node's own is in its package. */
function copyLicenses(files: readonly string[]): void {
  const owners = files.map((path) => {
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
