/**
 * Makes `dist`, what a package and the image contain: JavaScript in few files, for a start reads and compiles every one
 * of them, and Node keeps the text of each. Beside it are our BPF programs, and the licenses of what is in the bundle.
 * Left outside are the packages with an add-on, which is found by where they are.
 *
 * usage: node scripts/build-bundle.ts [DIRECTORY [FILE]]
 *
 * With FILE that one is bundled instead of the program, as main.js.
 */
import { cpSync, existsSync, globSync, mkdirSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type Plugin, rolldown } from 'rolldown';

const ROOT = resolve(import.meta.dirname, '..');
const WITH_ADDON = [/^koffi$/, /^netlink\//];
/** `main` is the program; the others are modules that a manifest of `deploy` and the making of the image import. */
const ENTRIES = {
  main: 'src/main.ts',
  'nftables-library': 'native-bindings/nftables-library.ts',
  probe: 'native-bindings/probe.ts',
  sysctls: 'src/dataplane/ipvs/sysctls.ts',
};
const LICENSES = '{LICENSE,LICENCE,license,COPYING}*';

const [directory = join(ROOT, 'dist'), file] = process.argv.slice(2);
const target = resolve(directory);
rmSync(target, { recursive: true, force: true });
/**
 * An import of `node:http` makes Node read each of its exports, one of which loads a whole other HTTP client: 3 MB and a
 * tenth of the time that a start takes. Asked for as an object, a built-in module loads no more than is used of it.
 */
const builtinsAsObjects: Plugin = {
  name: 'builtins-as-objects',
  renderChunk: (code) =>
    code.replaceAll(/^import \{ ([^}]+) \} from "(node:[^"]+)";$/gm, (_, names: string, module: string) => {
      return `const { ${names.replaceAll(' as ', ': ')} } = process.getBuiltinModule("${module}");`;
    }),
};

/** Few runs need these, and commander and prom-client ask for them at once: a fifth of the time that loading takes. */
const LATE_BUILTINS =
  /^(\s*)const (?:\{ (.*) \}|(\w+)) = (?:process\.getBuiltinModule|__require)\("(?:node:)?(child_process|zlib)"\);$/gm;
const LATE_FUNCTIONS = new Set(['execFile', 'gzipSync', 'spawn']);

/** Each is loaded when something of it is used. */
const builtinsLate: Plugin = {
  name: 'builtins-late',
  renderChunk: (code) =>
    code.replaceAll(LATE_BUILTINS, (whole, indent: string, names = '', local = '', module: string) => {
      const builtin = `process.getBuiltinModule("${module}")`;
      if (local) return `${indent}const ${local} = new Proxy({}, { get: (_, name) => ${builtin}[name] });`;
      const functions: readonly string[] = names.split(', ');
      if (!functions.every((name) => LATE_FUNCTIONS.has(name))) return whole;
      const late = functions.map((name) => `${name} = (...given) => ${builtin}.${name}(...given)`);
      return `${indent}const ${late.join(', ')};`;
    }),
};

/** One character beyond Latin-1, an arrow in a message, and V8 keeps the whole text of a file at twice its size. */
const charactersEscaped: Plugin = {
  name: 'characters-escaped',
  generateBundle: (_, files) => {
    for (const file of Object.values(files)) if (file.type === 'chunk') file.code = escaped(file.code);
  },
};

function escaped(code: string): string {
  return code.replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

await using bundle = await rolldown({
  cwd: ROOT,
  input: file === undefined ? ENTRIES : { main: file },
  platform: 'node',
  external: WITH_ADDON,
  plugins: [builtinsAsObjects, builtinsLate, charactersEscaped],
});
const { output } = await bundle.write({
  dir: target,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
});
// The module that reads them looks beside itself.
cpSync(join(ROOT, 'native-bindings/bpf'), join(target, 'bpf'), {
  recursive: true,
  filter: (path) => path.endsWith('/bpf') || path.endsWith('.o'),
});
const modules = output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : []));
for (const directory of new Set(modules.flatMap(packageOf))) copyLicenses(directory);

/** The directory of the package of others that a module is from; none for our own. */
function packageOf(path: string): readonly string[] {
  const found = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path);
  return found ? [found[0]] : [];
}

function copyLicenses(directory: string): void {
  const [, name = basename(directory)] = /.*\/node_modules\/(.*)/.exec(directory) ?? [];
  for (const file of globSync(LICENSES, { cwd: directory })) {
    const copy = join(target, 'licenses', name, file);
    if (existsSync(copy)) continue;
    mkdirSync(dirname(copy), { recursive: true });
    cpSync(join(directory, file), copy);
  }
}
