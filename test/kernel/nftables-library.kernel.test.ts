import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NftablesContext } from '../../native-bindings/nftables-library.ts';
import { LibraryNftablesKernel, NftablesError } from '../../src/dataplane/nftables/client.ts';
import { isEmulated, needsNftables, run } from './probe.ts';

const NATIVE_BINDINGS = join(import.meta.dirname, '../../native-bindings');
const never = new AbortController().signal;

const nftables = needsNftables();

/** 10.0.0.0 and up, port 80 of TCP. */
const elements = (count: number) =>
  Array.from({ length: count }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255} . tcp . 80`).join(', ');

interface Listing {
  readonly name: string;
  readonly object: 'set' | 'map';
  readonly type: string;
  readonly add: string;
  readonly elem: readonly unknown[];
}

/** Each set as it is made, what is put into it, and its elements as the kernel gives them back. */
const LISTINGS: readonly Listing[] = [
  {
    name: 'a concatenation',
    object: 'set',
    type: 'type ipv4_addr . inet_proto . inet_service',
    add: '10.96.0.1 . sctp . 80',
    elem: [{ concat: ['10.96.0.1', 132, 80] }],
  },
  {
    name: 'a concatenation of IPv6',
    object: 'set',
    type: 'type ipv6_addr . inet_proto . inet_service',
    add: 'fd00:0:0::1 . tcp . 80',
    elem: [{ concat: ['fd00::1', 6, 80] }],
  },
  {
    name: 'a concatenation with an interval',
    object: 'set',
    type: 'type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval',
    add: '10.96.0.1 . tcp . 80 . 10.0.0.0/8, 10.96.0.1 . tcp . 80 . 192.0.2.7',
    elem: [
      { concat: ['10.96.0.1', 6, 80, { prefix: { addr: '10.0.0.0', len: 8 } }] },
      { concat: ['10.96.0.1', 6, 80, '192.0.2.7'] },
    ],
  },
  {
    name: 'a concatenation with an interval of IPv6',
    object: 'set',
    type: 'type ipv6_addr . inet_proto . inet_service . ipv6_addr; flags interval',
    add: 'fd00::1 . tcp . 80 . fd00:1::/64, fd00::1 . tcp . 80 . ::/0',
    elem: [
      { concat: ['fd00::1', 6, 80, { prefix: { addr: 'fd00:1::', len: 64 } }] },
      { concat: ['fd00::1', 6, 80, { prefix: { addr: '::', len: 0 } }] },
    ],
  },
  {
    name: 'intervals',
    object: 'set',
    type: 'type ipv4_addr; flags interval',
    add: '10.96.0.0/12, 192.0.2.0-192.0.2.2, 192.0.2.7',
    elem: [{ prefix: { addr: '10.96.0.0', len: 12 } }, { range: ['192.0.2.0', '192.0.2.2'] }, '192.0.2.7'],
  },
  {
    name: 'intervals of IPv6',
    object: 'set',
    type: 'type ipv6_addr; flags interval',
    add: 'fc00::7, fd00::/108',
    elem: ['fc00::7', { prefix: { addr: 'fd00::', len: 108 } }],
  },
  {
    name: 'a map to marks',
    object: 'map',
    type: 'type ipv4_addr . inet_proto . inet_service : mark',
    add: '10.96.0.1 . tcp . 80 : 0x10000',
    elem: [[{ concat: ['10.96.0.1', 6, 80] }, 65536]],
  },
  {
    name: 'a map of IPv6 to marks',
    object: 'map',
    type: 'type ipv6_addr . inet_proto . inet_service : mark',
    add: 'fd00::1 . udp . 53 : 1',
    elem: [[{ concat: ['fd00::1', 17, 53] }, 1]],
  },
];

interface Listed {
  readonly nftables: readonly {
    readonly set?: { readonly elem?: readonly unknown[] };
    readonly map?: { readonly elem?: readonly unknown[] };
  }[];
}

describe('NftablesContext and LibraryNftablesKernel', nftables, () => {
  let table: string;
  let context: NftablesContext;
  let kernel: LibraryNftablesKernel;

  beforeEach(async () => {
    table = `svcplane-${randomBytes(3).toString('hex')}`;
    context = NftablesContext.open();
    kernel = new LibraryNftablesKernel(context);
    expect(await context.run(`add table inet ${table}`)).toEqual({ outcome: 'ok', output: '' });
  });

  afterEach(async () => {
    await context.run(`add table inet ${table}; delete table inet ${table}`);
    context[Symbol.dispose]();
  });

  async function elementsOf(object: 'set' | 'map'): Promise<readonly unknown[]> {
    const result = await context.listJson(`list ${object} inet ${table} s`);
    const listed: Listed = JSON.parse(result.outcome === 'ok' ? result.output : '{"nftables":[]}');
    return listed.nftables.flatMap((row) => row[object]?.elem ?? []);
  }

  const addSet = (type = 'type ipv4_addr . inet_proto . inet_service') =>
    context.run(`add set inet ${table} s { ${type}; }`);

  it('run() executes all or nothing', async () => {
    const commands = `add chain inet ${table} first\ndelete chain inet ${table} second`;
    expect(await kernel.run(commands, never)).toMatchObject({ outcome: 'refused', code: 'ENOENT' });
    expect(run(['nft', 'list', 'table', 'inet', table])).not.toContain('first');
    expect(await kernel.run(`add chain inet ${table} first`, never)).toEqual({ outcome: 'ok' });
    expect(run(['nft', 'list', 'table', 'inet', table])).toContain('first');
  });

  it('run() tells why it was refused', async () => {
    await addSet();
    await context.run(`add chain inet ${table} d; add chain inet ${table} c { jump d; }`);
    for (const [commands, code] of [
      [`add element inet ${table} nosuch { 10.0.0.1 }`, 'ENOENT'],
      [`delete element inet ${table} s { 10.0.0.1 . tcp . 80 }`, 'ENOENT'],
      [`create set inet ${table} s { type ipv4_addr; }`, 'EEXIST'],
      [`delete chain inet ${table} d`, 'EBUSY'],
      [`add element inet ${table} s { nonsense }`, 'EINVAL'],
    ] as const) {
      expect([commands, await kernel.run(commands, never)]).toMatchObject([commands, { code }]);
    }
  });

  it('run() is refused a table that another process owns', async () => {
    const owned = `${table}-owned`;
    const owner = spawn('nft', ['--interactive'], { stdio: ['pipe', 'ignore', 'inherit'] });
    const ended = once(owner, 'exit');
    try {
      owner.stdin.write(`add table inet ${owned} { flags owner; }\n`);
      while (spawnSync('nft', ['list', 'table', 'inet', owned]).status !== 0) await setTimeout(10);
      expect(await kernel.run(`add chain inet ${owned} c`, never)).toMatchObject({ code: 'EPERM' });
    } finally {
      owner.kill();
      await ended;
    }
  });

  it('run() sees what another process did since the last one', async () => {
    await addSet();
    run(['nft', 'delete', 'table', 'inet', table]);
    expect(await context.run(`add element inet ${table} s { 10.0.0.1 . tcp . 80 }`)).toMatchObject({
      code: 'ENOENT',
    });
    run(['nft', `add table inet ${table}; add set inet ${table} s { type ipv6_addr; }`]);
    expect(await context.run(`add element inet ${table} s { fd00::1 }`)).toMatchObject({ outcome: 'ok' });
    expect(await elementsOf('set')).toEqual(['fd00::1']);
  });

  it('check() changes nothing, and the next run does not take it for done', async () => {
    const commands = `add set inet ${table} s { type ipv4_addr; }; add element inet ${table} s { 10.0.0.1 }`;
    expect(await context.check(commands)).toMatchObject({ outcome: 'ok' });
    expect(run(['nft', 'list', 'table', 'inet', table])).not.toContain('set');
    await addSet('type ipv6_addr');
    expect(await context.check(`delete set inet ${table} s; ${commands}`)).toMatchObject({ outcome: 'ok' });
    expect(await context.run(`add element inet ${table} s { fd00::1 }`)).toMatchObject({ outcome: 'ok' });
  });

  it.each(LISTINGS)('listJson() gives $name', async ({ object, type, add, elem }) => {
    await context.run(`add ${object} inet ${table} s { ${type}; }`);
    expect(await context.run(`add element inet ${table} s { ${add} }`)).toEqual({
      outcome: 'ok',
      output: '',
    });
    const listed = await elementsOf(object);
    expect(listed).toHaveLength(elem.length);
    expect(listed).toEqual(expect.arrayContaining([...elem]));
  });

  it('list() gives the table, or undefined if there is none', async () => {
    const listed = await kernel.list(table, never);
    expect(listed).toMatchObject({ nftables: [{}, { table: { family: 'inet', name: table } }] });
    expect(await kernel.list(`${table}-none`, never)).toBeUndefined();
  });

  it('list() of a table with flags gives it, or throws where the library has none of its JSON', async () => {
    run(['nft', `add table inet ${table} { flags dormant; }`]);
    const listed = await kernel.list(table, never).catch((error: unknown) => error);
    if (listed instanceof NftablesError) expect(listed.code).toBe('unknown');
    else expect(listed).toMatchObject({ nftables: [{}, { table: { name: table, flags: 'dormant' } }] });
  });

  it.each(
    isEmulated ? [10_000] : [10_000, 50_000],
  )('run() adds %i elements, and the event loop goes on meanwhile', async (count) => {
    await addSet();
    let turns = 0;
    let isUnderWay = true;
    const added = context.run(`add element inet ${table} s { ${elements(count)} }`).finally(() => {
      isUnderWay = false;
    });
    for (; isUnderWay; turns++) await setImmediate();
    expect(await added).toEqual({ outcome: 'ok', output: '' });
    // A call that blocks leaves room for a few turns, before it and behind it.
    expect(turns).toBeGreaterThan(50);
    expect(new Set((await elementsOf('set')).map((element) => JSON.stringify(element))).size).toBe(count);
  });

  /** Runs a script in another process; `context` is there. */
  function inOtherProcess(under: readonly string[], script: string): string {
    const importing = `import { NftablesContext } from '${NATIVE_BINDINGS}/nftables-library.ts';`;
    return run([...under, process.execPath, '--input-type=module', '-e', `${importing} ${script}`]);
  }

  it('both tell EPERM without the privilege', () => {
    const script = `
      const context = NftablesContext.open();
      for (const result of [await context.run('add table inet t'), await context.listJson('list table inet t')])
        console.log(result.code);`;
    expect(inOtherProcess(['setpriv', '--bounding-set=-all'], script)).toBe('EPERM\nEPERM\n');
  });

  it('open() names the package to install if there is no library', () => {
    const path = /libnftables\.so\.1 .*=> (\S+)/.exec(run(['ldconfig', '-p']))?.[1] ?? '';
    const hidden = ['unshare', '--mount', 'sh', '-c', `mount --bind /dev/null ${path} && exec "$@"`, 'sh'];
    const script = 'try { NftablesContext.open(); } catch (error) { console.log(error.message); }';
    expect(inOtherProcess(hidden, script)).toBe(
      'Cannot load libnftables.so.1, which is in the Debian package libnftables1\n',
    );
  });
});
