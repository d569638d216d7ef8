import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { load } from 'js-yaml';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { IPV6_SYSCTLS, STRICT_ARP_SYSCTLS, SYSCTLS } from '../../src/dataplane/ipvs/sysctls.ts';
import { readContainers } from './daemon-set.ts';

const PAGE = readFileSync(join(import.meta.dirname, '../../docs/install.md'), 'utf8');
const { svcplane } = readContainers();
const cells = (pattern: RegExp) => [...PAGE.matchAll(pattern)].map(([, cell]) => cell);

describe('docs/install.md', () => {
  it('has the sysctls that svcplane sets', () => {
    const lines = [...SYSCTLS, ...IPV6_SYSCTLS, ...STRICT_ARP_SYSCTLS].map(
      ([name, value]) => `${name} = ${value}`,
    );
    expect(PAGE.match(/^net\..*$/gm)).toEqual(lines);
  });

  it('has the capabilities of the DaemonSet', () => {
    expect(cells(/^\| `([A-Z_]+)` +\|/gm)).toEqual(svcplane.securityContext.capabilities?.add);
  });

  it('has a patch with which svcplane enters the network namespaces of pods', () => {
    const [, block = ''] = /^```yaml\n(- patch: \|\n[^`]*SYS_ADMIN[^`]*)```$/m.exec(PAGE) ?? [];
    const [{ patch }] = v.parse(v.tuple([v.object({ patch: v.string() })]), load(block));
    const { containers, volumes } = Object(load(patch)).spec.template.spec;
    const [{ name, securityContext, volumeMounts }] = containers;
    expect(name).toBe(svcplane.name);
    expect(securityContext.capabilities.add).toEqual([
      ...(svcplane.securityContext.capabilities?.add ?? []),
      'SYS_ADMIN',
    ]);
    expect(volumeMounts).toMatchObject([{ mountPath: '/run/netns', mountPropagation: 'HostToContainer' }]);
    expect(volumes).toMatchObject([{ name: volumeMounts[0].name, hostPath: { path: '/run/netns' } }]);
  });

  it('has the paths on the node that the DaemonSet mounts, and how', () => {
    const mounts = svcplane.volumeMounts.filter(({ name }) => name !== 'config');
    const wanted = mounts.map(
      ({ mountPath, readOnly }) => `${mountPath} ${readOnly ? 'read-only' : 'read-write'}`,
    );
    const rows = [...PAGE.matchAll(/^\| `(\/[\w/]+)` +\| (read-\w+)/gm)];
    expect(rows.map(([, path, mode]) => `${path} ${mode}`).sort()).toEqual(wanted.sort());
  });
});
