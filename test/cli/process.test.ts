import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { probeGenericNetlinkFamily } from '../../native-bindings/probe.ts';
import { generateServices, listOf, toYamlDocuments } from '../../scripts/generate-services.ts';
import { service, slice } from '../objects.ts';

const SVCPLANE = join(import.meta.dirname, '../../scripts/svcplane');

describe('svcplane as a process', () => {
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'svcplane-process-'));
  });

  afterAll(() => rmSync(directory, { recursive: true }));

  function file(name: string, content: string): string {
    const path = join(directory, name);
    writeFileSync(path, content);
    return path;
  }

  function svcplane(...args: readonly string[]) {
    const env = { ...process.env, SVCPLANE_NODE: 'n0', SVCPLANE_STATE_DIRECTORY: join(directory, 'state') };
    const options = { encoding: 'utf8', env, maxBuffer: 1 << 26 } as const;
    const { status, stdout, stderr } = spawnSync(SVCPLANE, args, options);
    return { status, stderr, rows: stdout.split('\n').filter(Boolean) };
  }

  const desired = (path: string) => svcplane('snapshot', '--desired', '-f', path, '-o', 'ipvsadm-save');

  describe('snapshot --desired', () => {
    it('leaves out the one Service of 1,000 whose port is out of range', () => {
      const objects = generateServices(1000, 5);
      const bad = structuredClone(objects[0]);
      Object.assign(bad?.spec ?? {}, { ports: [{ name: 'http', port: 65_536, protocol: 'TCP' }] });
      const { status, stderr, rows } = desired(
        file('port.json', JSON.stringify(listOf([bad ?? {}, ...objects.slice(1)]))),
      );
      expect(status).toBe(0);
      expect(rows).toHaveLength(999 * 6);
      expect(stderr).toContain(
        'rejected: Service load/service-00000: port http (65536) is not a number from 1 to 65535\n',
      );
    });

    it('makes a virtual server of each of a hundred ports', () => {
      const ports = Array.from({ length: 100 }, (_, i) => ({
        name: `p${i}`,
        port: 1000 + i,
        protocol: 'TCP',
      }));
      const { status, stderr, rows } = desired(
        file(
          'hundred.json',
          JSON.stringify(
            listOf([service({ spec: { ports } }), slice({ ports, endpoints: [{ address: '10.244.1.1' }] })]),
          ),
        ),
      );
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(rows).toEqual(
        ports.flatMap(({ port }) => [
          `-A -t 10.96.0.50:${port} -s rr`,
          `-a -t 10.96.0.50:${port} -r 10.244.1.1:${port} -m -w 1`,
        ]),
      );
    });

    it('reads 50 MB of YAML', () => {
      const { status, stderr, rows } = desired(
        file('big.yaml', toYamlDocuments(generateServices(25_000, 5))),
      );
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(rows).toHaveLength(25_000 * 6);
    }, 300_000);

    const cyclic = [
      { name: 'labels', yaml: 'kind: Service\napiVersion: v1\nmetadata: &m {name: a, labels: *m}\n' },
      {
        name: 'ports',
        yaml: 'kind: Service\napiVersion: v1\nmetadata: {name: a}\nspec: &s {clusterIP: 10.96.0.1, ports: [*s]}\n',
      },
    ];
    it.each(cyclic)('rejects a Service whose $name contain themselves', ({ yaml }) => {
      const { status, stderr, rows } = desired(file('cyclic.yaml', yaml));
      expect({ status, rows }).toEqual({ status: 0, rows: [] });
      expect(stderr).toMatch(/^(rejected: Service default\/a: .*\n)+$/);
    });

    it('refuses a List that contains itself, in one line', () => {
      const yaml = 'kind: List\napiVersion: v1\nitems: &i\n- {kind: List, apiVersion: v1, items: *i}\n';
      const path = file('cyclic.yaml', yaml);
      const { status, stderr, rows } = desired(path);
      expect({ status, rows }).toEqual({ status: 1, rows: [] });
      expect(stderr).toMatch(
        /^svcplane: Cannot read .*cyclic\.yaml.*lists within lists, more than 8 deep\n$/,
      );
    });

    it('reads aliases of aliases without writing them out', () => {
      const levels = Array.from(
        { length: 12 },
        (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`)}]\n`,
      );
      const bomb = `l0: &l0 [x]\n${levels.join('')}kind: Service\napiVersion: v1\nmetadata: {name: a, labels: *l12}\n`;
      expect(desired(file('bomb.yaml', bomb))).toMatchObject({ status: 0, rows: [] });
    });
  });

  describe('on a host without IPVS', () => {
    const ipvs = probeGenericNetlinkFamily('IPVS');
    const options =
      ipvs.outcome === 'unsupported' ? {} : { skip: true, meta: { skipReason: 'this host has IPVS' } };

    it.each(['plan', 'apply', 'verify'])('%s says so, and what to do, in one line', options, (verb) => {
      const path = file('one.json', JSON.stringify(service()));
      expect(svcplane(verb, '-f', path)).toEqual({
        status: 1,
        stderr:
          'svcplane: Cannot use IPVS: this kernel does not have it: modprobe ip_vs, or run svcplane doctor\n',
        rows: [],
      });
    });

    it('doctor finds it, with its fix', options, () => {
      const { status, rows } = svcplane('doctor');
      expect(status).toBe(1);
      const found = rows.findIndex((row) => /^error {3}IPVS over generic netlink: unsupported/.test(row));
      expect(rows[found + 1]).toMatch(/^ +fix: modprobe ip_vs/);
    });
  });
});
