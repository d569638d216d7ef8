import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateServices } from '../../scripts/generate-services.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { load, manifest, wantedTable, withLastEndpoint } from './load.ts';
import { describeWithIpvs, UNLESS_LEFT_OUT } from './probe.ts';
import { readSyscalls, straceTo } from './syscalls.ts';

const SERVICES = 300;
const ENDPOINTS = 5;
const base = generateServices(SERVICES, ENDPOINTS);

interface SavedOp {
  readonly op: string;
}

interface SavedPlan {
  readonly version: number;
  readonly digest: string;
  readonly make: readonly SavedOp[];
  readonly break: readonly SavedOp[];
}

describeWithIpvs('svcplane on a kernel', () => {
  let host: Host;

  beforeAll(() => {
    host = createHost('cli');
    host.file('load.json', load(SERVICES, ENDPOINTS));
  });

  afterAll(() => host?.[Symbol.dispose]());

  const path = (name: string) => join(host.directory, name);

  async function traced(args: readonly string[]) {
    const ended = await host.svcplane(args, { under: straceTo(path('trace')) });
    return { ...ended, ...readSyscalls(path('trace')) };
  }

  async function planOf(name: string): Promise<SavedPlan> {
    const { stdout, code } = await host.svcplane(['plan', '-f', path(name), '-o', 'json']);
    expect(code).toBe(2);
    host.file('plan.json', stdout);
    return JSON.parse(stdout);
  }

  describe('apply', { ...UNHURRIED, ...UNLESS_LEFT_OUT }, () => {
    it('makes a table in few sends, and no other program', async () => {
      const first = await traced(['apply', '-f', path('load.json')]);
      expect(first).toMatchObject({ code: 0, stderr: '', programs: [] });
      const messages = SERVICES * (1 + ENDPOINTS);
      const made = (operation: string) => first.stdout.split(`\n+ ${operation} `).length - 1;
      expect(made('addVirtualServer') + made('addRealServer')).toBe(messages);
      expect(made('addAddress') + made('addLink')).toBe(SERVICES + 1);
      expect(first.stdout).toMatch(/\nApplied: \d+ added, 4 changed, 0 deleted\.\n/);
      expect(first.ipvsWrites).toBeGreaterThan(0);
      expect(first.ipvsWrites).toBeLessThanOrEqual(messages / 64);
      expect(host.state().table).toEqual(wantedTable(path('load.json')));
    });

    it('writes nothing the second time', async () => {
      const before = host.state();
      const second = await traced(['apply', '-f', path('load.json')]);
      expect(second).toEqual({
        code: 0,
        signal: null,
        stdout: 'Applied: 0 added, 0 changed, 0 deleted.\n',
        stderr: '',
        ipvsWrites: 0,
        linkWrites: 0,
        programs: [],
      });
      expect(host.state()).toEqual(before);
      expect(await host.svcplane(['verify', '-f', path('load.json')])).toMatchObject({ code: 0 });
    });

    it('replaces one endpoint of many by one addition and one deletion', async () => {
      host.file('replaced.json', manifest(withLastEndpoint(base, '100.127.0.1')));
      const plan = await planOf('replaced.json');
      expect(plan.make.map(({ op }) => op)).toEqual(['addRealServer']);
      expect(plan.break.map(({ op }) => op)).toEqual(['deleteRealServer']);
      const applied = await traced(['apply', path('plan.json')]);
      expect(applied).toMatchObject({ code: 0, ipvsWrites: 2, linkWrites: 0 });
      expect(host.state().table).toEqual(wantedTable(path('replaced.json')));
    });

    it('removes one endpoint of many by one write', async () => {
      host.file('removed.json', manifest(withLastEndpoint(base, undefined)));
      const applied = await traced(['apply', '-f', path('removed.json')]);
      expect(applied.stdout).toMatch(/^- deleteRealServer .*\nApplied: 0 added, 0 changed, 1 deleted\.\n$/);
      expect(applied).toMatchObject({ code: 0, ipvsWrites: 1, linkWrites: 0 });
      expect(host.state().table).toEqual(wantedTable(path('removed.json')));
    });
  });

  describe('apply PLANFILE', { ...UNHURRIED, ...UNLESS_LEFT_OUT }, () => {
    const moves = [
      {
        name: 'has a virtual server more',
        move: ['ipvsadm', '-A', '-t', '192.0.2.1:80', '-s', 'rr'],
        back: ['ipvsadm', '-D', '-t', '192.0.2.1:80'],
      },
      {
        name: 'has another weight',
        move: ['ipvsadm', '-e', '-t', '10.96.0.1:80', '-r', '100.64.0.0:8080', '-m', '-w', '7'],
        back: ['ipvsadm', '-e', '-t', '10.96.0.1:80', '-r', '100.64.0.0:8080', '-m', '-w', '1'],
      },
      {
        name: 'has lost an address',
        move: ['ip', 'address', 'del', '10.96.0.2/32', 'dev', 'svcplane0'],
        back: ['ip', 'address', 'add', '10.96.0.2/32', 'dev', 'svcplane0'],
      },
    ];

    /** A host where 3 Services are applied, and a saved plan for a fourth. */
    async function hostWithPlan() {
      const small = createHost('plan');
      const three = small.file('three.json', load(3, 2));
      expect(await small.svcplane(['apply', '-f', three])).toMatchObject({ code: 0 });
      const { stdout } = await small.svcplane([
        'plan',
        '-f',
        small.file('four.json', load(4, 2)),
        '-o',
        'json',
      ]);
      return { small, plan: stdout, file: small.file('plan.json', stdout) };
    }

    it('does what the plan says', async () => {
      const { small, file } = await hostWithPlan();
      using _ = small;
      const applied = await small.svcplane(['apply', file]);
      expect(applied).toMatchObject({ code: 0, stderr: '' });
      expect(applied.stdout).toMatch(
        /^\+ addElement nft cluster-ips4 [\s\S]*\nApplied: 5 added, 0 changed, 0 deleted\.\n$/,
      );
      expect(small.state().table).toEqual(wantedTable(join(small.directory, 'four.json')));
      // Its own doing, too, moves the kernel.
      expect(await small.svcplane(['apply', file])).toMatchObject({ code: 1, stdout: '' });
    });

    it('refuses in one line when the kernel has moved, and changes nothing', async () => {
      const { small, file } = await hostWithPlan();
      using _ = small;
      for (const { name, move, back } of moves) {
        small.run(move);
        const before = small.state();
        expect(await small.svcplane(['apply', file]), name).toMatchObject({
          code: 1,
          stdout: '',
          stderr: `svcplane: Cannot apply ${file}: the kernel has changed since it was made: plan again\n`,
        });
        expect(small.state(), name).toEqual(before);
        small.run(back);
      }
      expect(await small.svcplane(['apply', file])).toMatchObject({ code: 0, stderr: '' });
    });

    it('refuses in one line what is no plan, and changes nothing', async () => {
      const { small, plan, file } = await hostWithPlan();
      using _ = small;
      const before = small.state();
      const edits = [
        { name: 'truncated', text: plan.slice(0, plan.length / 2), says: /^svcplane: Cannot read .*JSON/ },
        {
          name: 'of another version',
          text: plan.replace('"version": 1', '"version": 2'),
          says: /not a plan/,
        },
        {
          name: 'with an operation nobody knows',
          text: plan.replace('"addRealServer"', '"addServer"'),
          says: /no operation is named addServer/,
        },
        {
          name: 'with a port that is none',
          text: plan.replaceAll('"port":80', '"port":70000'),
          says: /port/,
        },
        { name: 'without an address', text: plan.replaceAll('"address":', '"adress":'), says: /address/ },
      ];
      for (const { name, text, says } of edits) {
        expect(text, name).not.toBe(plan);
        small.file('plan.json', text);
        const refused = await small.svcplane(['apply', file]);
        expect(refused, name).toMatchObject({ code: 1, stdout: '' });
        expect(refused.stderr, name).toMatch(says);
        expect(refused.stderr, name).toMatch(/^svcplane: .*\n$/);
        expect(small.state(), name).toEqual(before);
      }
    });
  });
});
