import { join } from 'node:path';
import { expect, it } from 'vitest';
import { holds } from './assertions.ts';
import { createHost, UNHURRIED } from './host.ts';
import { describeWithIpvs, UNLESS_LEFT_OUT } from './probe.ts';

const ROOT = join(import.meta.dirname, '../..');

describeWithIpvs('assertions of scripts/test-kind', () => {
  it('hold on a node that svcplane serves, and on no other', {
    ...UNHURRIED,
    ...UNLESS_LEFT_OUT,
  }, async () => {
    using host = createHost('kind');
    expect(holds(host, 'same_table "$1"')).toBe(false);
    await host.svcplane(['apply', '-f', join(ROOT, 'examples/guide/01-clusterip.yaml')]);
    expect(holds(host, 'same_table "$1"')).toBe(true);
    expect(holds(host, 'unused "$1" 10.244.1.20')).toBe(false);
    expect(holds(host, 'unused "$1" 10.244.1.2')).toBe(true);
    host.run(['ipvsadm', '-e', '-t', '10.96.0.10:80', '-r', '10.244.1.20:8080', '-m', '-w', '0']);
    expect(holds(host, 'unused "$1" 10.244.1.20')).toBe(true);
  });
});
