import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NETLINK_NETFILTER, NetlinkSocket } from '../../native-bindings/netlink-socket.ts';
import { NftablesContext } from '../../native-bindings/nftables-library.ts';
import { LibraryNftablesKernel } from '../../src/dataplane/nftables/client.ts';
import { createNftablesDataplane } from '../../src/dataplane/nftables/index.ts';
import { project } from '../../src/dataplane/nftables/project.ts';
import { canonical, type NftablesRows } from '../../src/dataplane/nftables/rows.ts';
import { NftablesGenerationClient } from '../../src/netlink/nftables-generation-client.ts';
import { LOOK } from '../dataplane/look.ts';
import { desiredStates, nftablesOptions } from '../dataplane/nftables/arbitraries.ts';
import { linesOf, OPTIONS, tableWith } from '../dataplane/nftables/build.ts';
import { CountingKernel } from '../dataplane/nftables/counting-kernel.ts';
import { GOLDEN_DESIRED } from '../dataplane/nftables/goldens.ts';
import { UNHURRIED } from './host.ts';
import { isEmulated, needsNftables, run } from './probe.ts';

const GOLDENS = join(import.meta.dirname, '../golden/nftables');
const never = new AbortController().signal;

const nftables = needsNftables();

/** What somebody may do to the table of GOLDEN_DESIRED by hand, and the first operation that repairs it. */
const ALTERATIONS = [
  { by: 'flush chain inet svcplane refuse', repair: 'setChain nft chain inet svcplane refuse' },
  { by: 'add rule inet svcplane input accept', repair: 'setChain nft chain inet svcplane input' },
  {
    by: 'insert rule inet svcplane postrouting return',
    repair: 'setChain nft chain inet svcplane postrouting',
  },
  { by: 'add chain inet svcplane input { policy drop; }', repair: 'setTable nft table inet svcplane' },
  { by: 'add chain inet svcplane theirs', repair: 'setTable nft table inet svcplane' },
  { by: 'add set inet svcplane theirs { type ipv4_addr; }', repair: 'setTable nft table inet svcplane' },
  { by: 'add counter inet svcplane hits', repair: 'setTable nft table inet svcplane' },
  { by: 'add table inet svcplane { flags dormant; }', repair: 'setTable nft table inet svcplane' },
  {
    by: 'add element inet svcplane vips4 { 198.51.100.99 }',
    repair: 'deleteElement nft vips4 198.51.100.99',
  },
  {
    by: 'add element inet svcplane pods4 { 192.0.2.1-192.0.2.5 }',
    repair: 'setTable nft table inet svcplane',
  },
  {
    by: 'flush set inet svcplane hairpin6',
    repair: 'addElement nft hairpin6 fd00:244:1::20 . fd00:244:1::20',
  },
  { by: 'delete table inet svcplane', repair: 'addTable nft table inet svcplane' },
];

describe('nftables in the kernel', nftables, () => {
  let context: NftablesContext;
  let socket: NetlinkSocket;
  let kernel: LibraryNftablesKernel;

  beforeEach(() => {
    context = NftablesContext.open();
    socket = NetlinkSocket.open(NETLINK_NETFILTER);
    const generations = new NftablesGenerationClient(socket);
    kernel = new LibraryNftablesKernel(context, () => generations.read());
  });

  afterEach(async () => {
    await context.run('add table inet svcplane; delete table inet svcplane');
    context[Symbol.dispose]();
    socket[Symbol.dispose]();
  });

  /** One sync. @returns its operations and what came of them */
  async function sync(wanted: NftablesRows, dataplane = createNftablesDataplane({ kernel }, OPTIONS)) {
    const { make, break: unmake } = dataplane.plan(await dataplane.observe(never), wanted);
    const made = await dataplane.apply(make, never);
    const unmade = await dataplane.apply(unmake, never);
    const refused = [...made.refused, ...unmade.refused].map(({ code, message }) => ({ code, message }));
    return { lines: linesOf([...make, ...unmake]), refused };
  }

  const observed = () => createNftablesDataplane({ kernel }, OPTIONS).observe(never);
  const wanted = project(GOLDEN_DESIRED, OPTIONS).rows;

  it.each(readdirSync(GOLDENS).filter((file) => file.endsWith('.nft')))('nft --check takes %s', (file) => {
    run(['nft', '--check', '-f', '-'], readFileSync(join(GOLDENS, file), 'utf8'));
  });

  it('apply() makes what any desired state means, from what any other one meant', async () => {
    const histories = fc.array(fc.tuple(desiredStates, nftablesOptions), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(histories, async (states) => {
        for (const [desired, options] of states) {
          const dataplane = createNftablesDataplane({ kernel }, options);
          const rows = dataplane.project(desired).rows;
          expect((await sync(rows, dataplane)).refused).toEqual([]);
          expect(canonical(await observed())).toBe(canonical(rows));
          expect(await sync(rows, dataplane)).toEqual({ lines: [], refused: [] });
        }
      }),
      { numRuns: 30 },
    );
  });

  it.each(ALTERATIONS)('an alteration is seen and repaired: $by', async ({ by, repair }) => {
    await sync(wanted);
    run(['nft', '-f', '-'], `${by}\n`);
    const { lines, refused } = await sync(wanted);
    expect(lines[0]?.split(': ')[0]).toBe(repair);
    expect(refused).toEqual([]);
    expect(canonical(await observed())).toBe(canonical(wanted));
  });

  it.each(ALTERATIONS)('an audit that lists nothing without need sees it: $by', async ({ by }) => {
    const counted = new CountingKernel(kernel);
    const dataplane = createNftablesDataplane({ kernel: counted }, OPTIONS);
    await sync(tableWith({ vips4: ['203.0.113.99'] }), dataplane);
    await sync(wanted, dataplane);
    const before = counted.listings;
    expect(await dataplane.isAsWanted?.(GOLDEN_DESIRED, LOOK)).toBe(true);
    expect(counted.listings).toBe(before);
    run(['nft', '-f', '-'], `${by}\n`);
    expect(await dataplane.isAsWanted?.(GOLDEN_DESIRED, LOOK)).toBe(false);
  });

  it('tables of others are as they were, before and after ours is gone', async () => {
    const theirs = ['table ip svcplane', 'table inet theirs'];
    for (const table of theirs) {
      run(
        ['nft', '-f', '-'],
        `${table} { set s { type ipv4_addr; elements = { 10.0.0.1 }; }; chain c { accept; }; }\n`,
      );
    }
    try {
      const shown = () => theirs.map((table) => run(['nft', 'list', ...table.split(' ')]));
      const before = shown();
      await sync(wanted);
      expect(shown()).toEqual(before);
      const dataplane = createNftablesDataplane({ kernel }, OPTIONS);
      const { break: unmake } = dataplane.teardown(await dataplane.observe(never));
      expect(await dataplane.apply(unmake, never)).toMatchObject({ refused: [], notAttempted: [] });
      expect((await dataplane.observe(never)).exists).toBe(false);
      expect(shown()).toEqual(before);
    } finally {
      for (const table of theirs) run(['nft', 'delete', ...table.split(' ')]);
    }
  });

  it('a table that goes between observe() and apply() is missed, then made', async () => {
    await sync(wanted);
    const dataplane = createNftablesDataplane({ kernel }, OPTIONS);
    const more = tableWith({ vips4: ['203.0.113.99'] });
    const { make } = dataplane.plan(await dataplane.observe(never), more);
    run(['nft', 'delete', 'table', 'inet', 'svcplane']);
    expect(await dataplane.apply(make, never)).toMatchObject({ refused: [{ code: 'ENOENT' }] });
    await sync(more);
    expect(canonical(await observed())).toBe(canonical(more));
  });

  it('a transaction that fails leaves the table as it was', async () => {
    await sync(wanted);
    const before = run(['nft', 'list', 'table', 'inet', 'svcplane']);
    const dataplane = createNftablesDataplane({ kernel }, { ...OPTIONS, masqueradeAll: true });
    const { make } = dataplane.plan(wanted, tableWith({ vips4: ['203.0.113.99'] }, { masqueradeAll: true }));
    const [absent] = dataplane.plan(tableWith({ vips4: ['198.51.100.1'] }), tableWith({})).break;
    expect(make.length).toBeGreaterThan(1);
    const report = await dataplane.apply(absent ? [...make, absent] : [], never);
    expect(report).toMatchObject({ acknowledged: [], refused: [{ code: 'ENOENT' }] });
    expect(run(['nft', 'list', 'table', 'inet', 'svcplane'])).toBe(before);
  });

  it('a table that another process owns is refused, and the message says so', async () => {
    const owner = spawn('nft', ['--interactive'], { stdio: ['pipe', 'ignore', 'inherit'] });
    const ended = once(owner, 'exit');
    try {
      owner.stdin.write('add table inet svcplane { flags owner; }\n');
      while (spawnSync('nft', ['list', 'table', 'inet', 'svcplane']).status !== 0) await setTimeout(10);
      const { refused } = await sync(wanted);
      expect(refused).toMatchObject([{ code: 'EPERM' }]);
      expect(refused[0]?.message).toContain('another process owns the table');
    } finally {
      owner.kill();
      await ended;
    }
    // The kernel deletes it with its owner.
    await sync(wanted);
    expect(canonical(await observed())).toBe(canonical(wanted));
  });

  it.each(isEmulated ? [10_000] : [10_000, 50_000])('figures at %i frontends', UNHURRIED, async (count) => {
    const frontends = Array.from(
      { length: count },
      (_, i) => `203.${i >> 16}.${(i >> 8) & 255}.${i & 255} . tcp . 80`,
    );
    const large = tableWith({ masquerade4: frontends, empty4: frontends });
    const [firstFrontend = '', ...rest] = frontends;
    const smaller = tableWith({ masquerade4: rest, empty4: rest });
    const dataplane = createNftablesDataplane({ kernel }, OPTIONS);
    const figures: string[] = [];
    const timed = async <T>(what: string, act: () => T | Promise<T>): Promise<T> => {
      const started = performance.now();
      const result = await act();
      figures.push(`${what} ${Math.round(performance.now() - started)} ms`);
      return result;
    };
    const none = await dataplane.observe(never);
    const { make } = await timed('plan', () => dataplane.plan(none, large));
    expect((await timed('apply', () => dataplane.apply(make, never))).refused).toEqual([]);
    const seen = await timed('observe', () => dataplane.observe(never));
    expect(seen.sets.get('masquerade4')?.elements.size).toBe(count);
    expect(await timed('plan again', () => dataplane.plan(seen, large))).toMatchObject({
      make: [],
      break: [],
    });
    const one = dataplane.plan(seen, smaller).break;
    expect(linesOf(one)[0]).toBe(`deleteElement nft masquerade4 ${firstFrontend}`);
    expect((await timed('delete two', () => dataplane.apply(one, never))).refused).toEqual([]);
    await timed('canonical', () => dataplane.canonical(seen));
    const rssMiB = Math.round(process.memoryUsage.rss() / 2 ** 20);
    process.stdout.write(`nftables: ${2 * count} elements: ${figures.join(', ')}, RSS ${rssMiB} MiB\n`);
  });
});
