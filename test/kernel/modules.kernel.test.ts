import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { service, slice } from '../objects.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { load, wantedTable } from './load.ts';
import { describeWithIpvs, run } from './probe.ts';

/** Modules can be taken from a machine that is thrown away, and that has them as modules. */
function whyNot(module: string): string | undefined {
  const kernel = process.env.SVCPLANE_LAB_KERNEL;
  if (kernel !== 'qemu' && kernel !== 'uml') return 'not in a virtual machine of scripts/lab';
  const { status, stdout } = spawnSync('modprobe', ['--show-depends', module], { encoding: 'utf8' });
  return status === 0 && stdout.includes('insmod') ? undefined : `${module} is no module of this kernel`;
}

function withModule(module: string) {
  const skipReason = whyNot(module);
  return skipReason === undefined ? {} : { skip: true, meta: { skipReason } };
}

const OVERRIDE = '/etc/modprobe.d/svcplane-test.conf';

/** Unloads a module and what depends on it, and keeps the kernel from loading it again. */
function takeAway(module: string): void {
  writeFileSync(OVERRIDE, `install ${module} /bin/false\n`);
  const loaded = run(['lsmod'])
    .split('\n')
    .map((line) => line.split(/\s+/));
  const dependents =
    loaded
      .find(([name]) => name === module)?.[3]
      ?.split(',')
      .filter(Boolean) ?? [];
  for (const name of [...dependents, module]) {
    // A network namespace that was removed holds its virtual servers, and they the modules, for a moment more.
    for (let attempts = 100; existsSync(`/sys/module/${name}`) && attempts > 0; attempts--) {
      if (spawnSync('rmmod', [name]).status !== 0) spawnSync('sleep', ['0.1']);
    }
    if (existsSync(`/sys/module/${name}`)) run(['rmmod', name]);
  }
}

function createHostWith(items: readonly object[]): { readonly host: Host; readonly input: string } {
  const host = createHost('modules');
  return { host, input: host.file('in.json', JSON.stringify({ kind: 'List', apiVersion: 'v1', items })) };
}

describeWithIpvs('svcplane without a module', () => {
  describe('apply', UNHURRIED, () => {
    afterEach(() => {
      rmSync(OVERRIDE, { force: true });
      run(['modprobe', '--quiet', 'ip_vs']);
    });

    it(
      'serves by the default a Service whose scheduler the kernel lacks',
      withModule('ip_vs_lblcr'),
      async () => {
        const annotations = { 'svcplane.io/scheduler': 'lblcr' };
        const { host, input } = createHostWith([
          service({ metadata: { annotations } }),
          slice({ endpoints: [{ address: '10.244.1.20' }] }),
        ]);
        using _ = host;
        takeAway('ip_vs_lblcr');
        const applied = await host.svcplane(['apply', '-f', input]);
        expect(applied.code).toBe(0);
        expect(applied.stderr).toBe(
          'rejected: Service web/front: TCP 10.96.0.50:80: this kernel does not have scheduler lblcr (module ip_vs_lblcr); rr serves instead\n',
        );
        expect(host.state().table).toEqual([
          '-A -t 10.96.0.50:80 -s rr',
          '-a -t 10.96.0.50:80 -r 10.244.1.20:8080 -m -w 1',
        ]);
        const again = await host.svcplane(['apply', '-f', input]);
        expect(again.code).toBe(0);
        expect(host.state().table).toHaveLength(2);
      },
    );

    it('makes what it can where there are no dummy links, and says so', withModule('dummy'), async () => {
      const host = createHost('modules');
      using _ = host;
      const input = host.file('load.json', load(20, 2));
      takeAway('dummy');
      const applied = await host.svcplane(['apply', '-f', input]);
      expect(applied).toMatchObject({
        code: 2,
        stderr:
          'failed: Cannot add link svcplane0: EOPNOTSUPP: this kernel has no dummy links loaded: run modprobe dummy, or choose a kernel that has them\n',
      });
      expect(applied.stdout).toMatch(/, 1 failed, 20 not attempted\.\n$/);
      expect(host.state().table).toEqual(wantedTable(input));
      expect(await host.svcplane(['cleanup'])).toMatchObject({ code: 0, stderr: '' });
      expect(host.state().table).toEqual([]);
    });

    it('says what to do where there is no IPVS, and changes nothing', withModule('ip_vs'), async () => {
      const host = createHost('modules');
      using _ = host;
      const input = host.file('load.json', load(20, 2));
      run(['ipvsadm', '-C']);
      takeAway('ip_vs');
      const addresses = host.run(['ip', 'address']);
      for (const verb of ['plan', 'apply', 'verify']) {
        expect(await host.svcplane([verb, '-f', input])).toMatchObject({
          code: 1,
          stdout: '',
          stderr:
            'svcplane: Cannot use IPVS: this kernel does not have it: modprobe ip_vs, or run svcplane doctor\n',
        });
      }
      const { code, stdout } = await host.svcplane(['doctor']);
      expect(code).toBe(1);
      expect(stdout).toMatch(/^error {3}IPVS over generic netlink: unsupported: .*\n +fix: modprobe ip_vs/m);
      expect(host.run(['ip', 'address'])).toBe(addresses);
      expect(existsSync(host.ledger)).toBe(false);
    });
  });
});
