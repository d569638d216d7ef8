import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const SOURCES = ['src', 'native-bindings'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file)),
);

/** What each part may import: patterns of files within the tree, and of packages. The first match counts. */
const RULES: readonly { readonly of: RegExp; readonly may: RegExp; readonly packages: RegExp }[] = [
  { of: /^native-bindings\//, may: /^native-bindings\//, packages: /^(koffi|node:.*)$/ },
  { of: /^src\/main\.ts$/, may: /./, packages: /./ },
  {
    of: /^src\/socket(-ending)?-host\.ts$/,
    may: /^src\/(dataplane\/socklb|netlink)\/|^src\/socket-ending-host\.ts$/,
    packages: /^node:fs$/,
  },
  {
    of: /^src\/vrrp-host\.ts$/,
    may: /^src\/model\/|^src\/(dataplane\/vrrp\/(announcements|client)|cli\/(finding|doctor-announcing)|config)\.ts$/,
    packages: /^$/,
  },
  { of: /^src\/daemon-host\.ts$/, may: /^src\//, packages: /^$/ },
  {
    of: /^src\/load-balancer-host\.ts$/,
    may: /^src\/(model|cluster|load-balancer|sync|config)/,
    packages: /^node:crypto$/,
  },
  { of: /^src\/assembly\.ts$/, may: /^src\/(model|snapshot|dataplane|sync|config)/, packages: /^$/ },
  { of: /^src\/host\.ts$/, may: /^src\/cli\/finding\.ts$/, packages: /^node:(fs|fs\/promises|os|path)$/ },
  { of: /^src\/model\//, may: /^src\/model\//, packages: /^$/ },
  {
    of: /^src\/config(-values|-load-balancer|-vrrp)?\.ts$/,
    may: /^src\/(model\/|config-(values|load-balancer|vrrp)\.ts$|load-balancer\/pools\.ts$)/,
    packages: /^valibot$/,
  },
  { of: /^src\/netlink\//, may: /^src\/netlink\//, packages: /^node:(timers\/promises|os|util)$/ },
  { of: /^src\/snapshot\//, may: /^src\/(model|snapshot)\//, packages: /^(valibot|node:.*)$/ },
  {
    of: /^src\/cluster\/api-/,
    may: /^src\/(model|cluster)\//,
    packages: /^(@kubernetes\/client-node.*|undici|js-yaml|valibot|node:.*)$/,
  },
  { of: /^src\/cluster\//, may: /^src\/(model|cluster)\//, packages: /^(js-yaml|valibot|node:.*)$/ },
  {
    of: /^src\/load-balancer\//,
    may: /^src\/(model|cluster|load-balancer)\//,
    packages: /^node:(crypto|timers\/promises)$/,
  },
  {
    of: /^src\/kube-proxy\//,
    may: /^src\/(model|snapshot|kube-proxy)\/|^src\/(config(-values)?|dataplane\/dataplane)\.ts$/,
    packages: /^(js-yaml|valibot|node:.*)$/,
  },
  { of: /^src\/desired\//, may: /^src\/(model|desired)\/|^src\/cluster\/facts\.ts$/, packages: /^$/ },
  {
    of: /^src\/dataplane\/[^/]+\.ts$/,
    may: /^src\/(model|snapshot)\/|^src\/dataplane\/[^/]+\.ts$/,
    packages: /^(valibot|node:.*)$/,
  },
  {
    of: /^src\/dataplane\/addresses\//,
    may: /^src\/(model|snapshot)\/|^src\/dataplane\/(addresses\/.*|[^/]+\.ts)$/,
    packages: /^(valibot|netlink(\/.*)?|node:.*)$/,
  },
  {
    of: /^src\/dataplane\/vrrp\//,
    may: /^src\/(model|snapshot)\/|^src\/dataplane\/(vrrp\/.*|[^/]+\.ts)$/,
    packages: /^(valibot|node:.*)$/,
  },
  {
    of: /^src\/dataplane\/ipvs\//,
    may: /^src\/(model|snapshot|netlink)\/|^src\/dataplane\/(ipvs\/.*|[^/]+\.ts)$/,
    packages: /^(valibot|node:.*)$/,
  },
  {
    of: /^src\/dataplane\/connsync\//,
    may: /^src\/(model|snapshot|netlink)\/|^src\/dataplane\/(connsync\/.*|[^/]+\.ts)$/,
    packages: /^(valibot|node:.*)$/,
  },
  {
    of: /^src\/dataplane\/nftables\//,
    may: /^src\/(model|snapshot)\/|^src\/dataplane\/(nftables\/.*|[^/]+\.ts)$/,
    packages: /^(valibot|node:.*)$/,
  },
  {
    of: /^src\/dataplane\/socklb\//,
    may: /^src\/(model|snapshot|netlink)\/|^src\/dataplane\/(socklb\/.*|[^/]+\.ts)$/,
    packages: /^(valibot|node:.*)$/,
  },
  {
    of: /^src\/trace\//,
    may: /^src\/(model|trace)\/|^src\/dataplane\/(ipvs|addresses|socklb)\/rows\.ts$|^src\/dataplane\/nftables\/(keys|rows|rules|sets|text)\.ts$/,
    packages: /^$/,
  },
  {
    of: /^src\/sync\//,
    may: /^src\/(model|snapshot|sync)\/|^src\/dataplane\/dataplane\.ts$/,
    packages: /^node:crypto$/,
  },
  {
    of: /^src\/status\//,
    may: /^src\/(model|snapshot|status)\/|^src\/(dataplane\/dataplane|sync\/[^/]+|netlink\/[^/]+)\.ts$/,
    packages: /^(pino|prom-client|node:.*)$/,
  },
  {
    of: /^src\/cli\//,
    may: /^src\/(model|snapshot|cluster|desired|sync|status|trace|kube-proxy|load-balancer|cli)\/|^src\/(config|load-balancer-host|dataplane\/dataplane)\.ts$/,
    packages: /^(commander|valibot|js-yaml|node:util)$/,
  },
];

/** Files whose name says that they reach outside: kernel, disk, clock or processes. */
const EFFECTS =
  /(^src\/(main|daemon-host|load-balancer-host|socket-host|socket-ending-host|vrrp-host)|\/([a-z-]*watch|manifests|observe|apply|client|[a-z-]+-client|program|[a-z-]*store|sync-once|loop|pace|([a-z-]+-)?http|log|host))\.ts$|^native-bindings\//;
const PURE_PACKAGES = /^(valibot|node:(util|buffer|crypto|path|os|timers\/promises))$/;

interface Import {
  readonly from: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const found = text.matchAll(
    /^(?:import|export)\s+(type\s)?[^;]*?from\s+'([^']+)'|^import\s+'([^']+)'|\bimport\('([^']+)'\)/gms,
  );
  return [...found].map(([, type, from, bare, dynamic]) => {
    const target = from ?? bare ?? dynamic ?? '';
    const inTree = target.startsWith('.')
      ? relative(ROOT, normalize(join(ROOT, dirname(file), target)))
      : target;
    return { from: file, target: inTree, typeOnly: type !== undefined };
  });
}

const IMPORTS = SOURCES.flatMap(importsOf);

describe('imports', () => {
  it('stay within what each part may import', () => {
    const broken = IMPORTS.filter(({ from, target }) => {
      const rule = RULES.find(({ of }) => of.test(from));
      const inTree = /^(src|native-bindings)\//.test(target);
      return !rule || !(inTree ? rule.may : rule.packages).test(target);
    });
    expect(broken.map(({ from, target }) => `${from} imports ${target}`)).toEqual([]);
  });

  it('of native-bindings are made by main.ts alone', () => {
    const importers = IMPORTS.filter(({ target }) => target.startsWith('native-bindings/')).map(
      ({ from }) => from,
    );
    expect(new Set(importers.filter((file) => !file.startsWith('native-bindings/')))).toEqual(
      new Set(['src/main.ts']),
    );
  });

  it('never make a cycle', () => {
    const cycles = SOURCES.flatMap((file) => findCycle(file, [], new Set()) ?? []);
    expect(cycles).toEqual([]);
  });

  it('of cluster types are only facts, in desired and sync', () => {
    const values = IMPORTS.filter(
      ({ from, target, typeOnly }) =>
        /^src\/(desired|sync)\//.test(from) && /^src\/cluster\//.test(target) && !typeOnly,
    );
    expect(values).toEqual([]);
  });
});

describe('effects', () => {
  it('are told by file names: nothing else imports I/O', () => {
    const broken = IMPORTS.filter(
      ({ from, target, typeOnly }) =>
        !typeOnly &&
        !EFFECTS.test(from) &&
        !from.startsWith('src/cli/') &&
        !/^(src|native-bindings)\//.test(target) &&
        !PURE_PACKAGES.test(target) &&
        target !== 'js-yaml',
    );
    expect(broken.map(({ from, target }) => `${from} imports ${target}`)).toEqual([]);
  });

  it('are told by file names: nothing else reads the clock, draws random numbers or prints', () => {
    const broken = SOURCES.filter((file) => !EFFECTS.test(file)).filter((file) =>
      /\b(Date\.now|new Date\(\)|Math\.random|performance\.now|setTimeout|setInterval|console\.|process\.)/.test(
        readFileSync(join(ROOT, file), 'utf8'),
      ),
    );
    expect(broken).toEqual([]);
  });
});

describe('files', () => {
  it('have at most 300 lines', () => {
    const long = SOURCES.filter((file) => readFileSync(join(ROOT, file), 'utf8').split('\n').length > 301);
    expect(long).toEqual([]);
  });

  it('have functions of at most 60 lines', () => {
    const long = SOURCES.flatMap((file) => {
      // A line that ends with ; declares one only.
      const bodies = readFileSync(join(ROOT, file), 'utf8').matchAll(
        /^( *)(?:export )?(?:async )?(?:function\*? |(?:async )?[a-z#]\w*\()[^\n]*[^\n;]\n.*?^\1\}/gms,
      );
      return [...bodies]
        .filter(([body]) => body.split('\n').length > 60)
        .map(([body]) => `${file}: ${body.split('\n')[0]}`);
    });
    expect(long).toEqual([]);
  });
});

function findCycle(file: string, path: readonly string[], done: Set<string>): string[] | undefined {
  if (path.includes(file)) return [[...path.slice(path.indexOf(file)), file].join(' -> ')];
  if (done.has(file)) return undefined;
  for (const { target, typeOnly } of IMPORTS.filter(({ from }) => from === file)) {
    const cycle = typeOnly ? undefined : findCycle(target, [...path, file], done);
    if (cycle) return cycle;
  }
  done.add(file);
  return undefined;
}
