import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type BpfObject, readSocklbObject } from '../../native-bindings/bpf-object.ts';

const ROOT = join(import.meta.dirname, '../..');
const DIRECTORY = join(ROOT, 'native-bindings/bpf');

/** What the record of scripts/build-bpf says of each file. */
function recordedDigests(): ReadonlyMap<string, string> {
  const lines = readFileSync(join(DIRECTORY, 'built.sha256'), 'utf8').matchAll(/^([0-9a-f]{64}) {2}(.+)$/gm);
  return new Map([...lines].map(([, digest = '', file = '']) => [file, digest]));
}

describe('the committed objects', () => {
  test('belong to their sources, all of them', () => {
    const files = readdirSync(DIRECTORY).filter((file) => file !== 'built.sha256');
    const digests = files.map((file): [string, string] => [
      file,
      createHash('sha256')
        .update(readFileSync(join(DIRECTORY, file)))
        .digest('hex'),
    ]);
    expect(new Map(digests.sort())).toEqual(new Map([...recordedDigests()].sort()));
  });

  test('are what a build gives, where there is the same clang', ({ skip }) => {
    const { status, stderr } = spawnSync(join(ROOT, 'scripts/build-bpf'), ['--check'], { encoding: 'utf8' });
    if (status === 3) skip(stderr.trim());
    expect([status, stderr]).toEqual([0, '']);
  });
});

describe('readSocklbObject()', () => {
  test.each(['socklb', 'socklb-no-retval'] as const)('readSocklbObject() reads %s', (build) => {
    const object = readSocklbObject(build);
    const maps = object.maps.map(({ name, type, keyBytes, valueBytes, maxEntries }) =>
      [name, type, keyBytes, valueBytes, maxEntries].join(' '),
    );
    expect(maps.sort()).toEqual([
      'lb_aff 9 16 16 65536',
      'lb_backend 1 4 28 65536',
      'lb_cfg 2 4 16 1',
      'lb_maglev 13 4 4 4096',
      'lb_sk_tcp 24 4 56 0',
      'lb_sk_udp 24 4 456 0',
      'lb_slot 1 12 4 131072',
      'lb_stat 6 4 8 16',
      'lb_svc 1 20 24 65536',
      'lb_udp_conn 9 8 8 16384',
    ]);
    expect(object.programs).toHaveLength(8);
  });

  test('records have no hidden padding: their fields follow each other', () => {
    const { records } = readSocklbObject('socklb');
    for (const [name, { bytes, fields }] of Object.entries(records)) {
      let end = 0;
      for (const { offset, bytes: length } of Object.values(fields).sort((a, b) => a.offset - b.offset)) {
        expect([name, offset]).toEqual([name, end]);
        end = offset + length;
      }
      expect([name, end]).toEqual([name, bytes]);
    }
  });

  test('the storage of living sockets keeps its layout', () => {
    // Sockets that were balanced before an update have it: whoever changes this must read the old one, too.
    const { sk_flow, sk_flows } = readSocklbObject('socklb').records;
    const offsets = (fields: Readonly<Record<string, { readonly offset: number }>> = {}) =>
      Object.entries(fields).map(([name, { offset }]) => `${name}@${offset}`);
    expect([sk_flow?.bytes, ...offsets(sk_flow?.fields)]).toEqual([
      56,
      'vip@0',
      'addr@16',
      'vport@32',
      'port@34',
      'svc_id@36',
      'backend_id@40',
      'reserved@44',
      'last_ns@48',
    ]);
    expect([sk_flows?.bytes, ...offsets(sk_flows?.fields)]).toEqual([
      456,
      'flow@0',
      'next@448',
      'reserved@452',
    ]);
  });

  test('keys and values of maps are records', () => {
    const object = readSocklbObject('socklb');
    const sizes = (map: string) => {
      const definition = object.maps.find(({ name }) => name === map);
      return [definition?.keyBytes, definition?.valueBytes];
    };
    const recordBytes = (name: keyof BpfObject['records']) => object.records[name]?.bytes;
    expect(sizes('lb_svc')).toEqual([recordBytes('svc_key'), recordBytes('svc_val')]);
    expect(sizes('lb_slot')).toEqual([recordBytes('slot_key'), recordBytes('slot_val')]);
    expect(sizes('lb_backend')).toEqual([recordBytes('backend_key'), recordBytes('backend')]);
    expect(object.maps.find(({ name }) => name === 'lb_maglev')?.innerValueBytes).toBe(
      recordBytes('maglev_table'),
    );
  });

  test('constants are there by name', () => {
    expect(readSocklbObject('socklb').constants).toMatchObject({
      MAGLEV_SLOTS: 16381,
      CFG_OFF: 1,
      CFG_HOST_ONLY: 2,
      CFG_HOST_NETNS_SHIFT: 2,
      SVC_MAGLEV: 1,
      BACKEND_TERMINATING: 1,
      STAT_HIT: 0,
      STAT_NO_MEMORY: 7,
    });
  });
});
