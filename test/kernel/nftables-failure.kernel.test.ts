import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { load, wantedTable } from './load.ts';
import { describeWithIpvs, UNLESS_LEFT_OUT } from './probe.ts';

interface Applied {
  readonly host: Host;
  /** One Service more than there is. */
  readonly more: string;
}

/** A host with three Services. */
async function applied(): Promise<Applied> {
  const host = createHost('rules');
  const three = host.file('three.json', load(3, 2));
  expect(await host.svcplane(['apply', '-f', three])).toMatchObject({ code: 0, stderr: '' });
  return { host, more: host.file('four.json', load(4, 2)) };
}

/** A process that keeps a table of our name for itself, until it ends and the table with it. */
async function ownerOf(host: Host): Promise<ChildProcess> {
  host.run(['nft', 'delete', 'table', 'inet', 'svcplane']);
  const command = ['netns', 'exec', host.namespace.name, 'nft', '--interactive'];
  const owner = spawn('ip', command, { stdio: ['pipe', 'ignore', 'inherit'] });
  owner.stdin.write('add table inet svcplane { flags owner; }\n');
  while (!host.run(['nft', 'list', 'tables']).includes('svcplane')) await setTimeout(20);
  return owner;
}

/** What is not the table's. */
function servedBy(host: Host) {
  const { table, addresses } = host.state();
  return { table, addresses };
}

describeWithIpvs('svcplane apply where its table', () => {
  it(
    'belongs to another process: leaves IPVS and addresses as they were, says so, and heals',
    UNHURRIED,
    async () => {
      const { host, more } = await applied();
      using _ = host;
      const before = servedBy(host);
      const owner = await ownerOf(host);
      try {
        const refused = await host.svcplane(['apply', '-f', more]);
        expect(refused.code).toBe(2);
        expect(refused.stderr).toMatch(
          /^failed: Cannot .*nft table inet svcplane.*EPERM.*another process owns the table/m,
        );
        expect(refused.stdout).toMatch(
          /Applied: 0 added, 0 changed, 0 deleted, 1 failed, \d+ not attempted\.\n$/,
        );
        expect(servedBy(host)).toEqual(before);
      } finally {
        owner.kill();
        await once(owner, 'exit');
      }
      expect(await host.svcplane(['apply', '-f', more])).toMatchObject({ code: 0, stderr: '' });
      expect(host.state().table).toEqual(wantedTable(more));
      expect(host.state().rules).toContain('chain postrouting');
    },
  );

  const altered = [
    { name: 'is gone', commands: ['delete table inet svcplane'] },
    {
      name: 'has a set of another type',
      commands: [
        'delete table inet svcplane',
        'add table inet svcplane',
        'add set inet svcplane vips4 { type inet_service; }',
      ],
    },
    { name: 'has lost the rules of a chain', commands: ['flush chain inet svcplane closed-input'] },
    { name: 'has lost an element', commands: ['delete element inet svcplane cluster-ips4 { 10.96.0.1 }'] },
    {
      name: 'has a rule of somebody else before ours',
      commands: ['insert rule inet svcplane input tcp dport 22 accept'],
    },
  ];
  it.each(altered)('$name: verify says so, and it heals with nothing else changed', {
    ...UNHURRIED,
    ...UNLESS_LEFT_OUT,
  }, async ({ commands }) => {
    const { host } = await applied();
    using _ = host;
    const before = host.state();
    const three = host.file('three.json', load(3, 2));
    for (const command of commands) host.run(['nft', command]);
    expect(host.state().rules).not.toBe(before.rules);
    expect((await host.svcplane(['verify', '-f', three])).code).toBe(2);
    expect(await host.svcplane(['apply', '-f', three])).toMatchObject({ code: 0, stderr: '' });
    expect(host.state()).toEqual(before);
    expect((await host.svcplane(['verify', '-f', three])).code).toBe(0);
  });
});
