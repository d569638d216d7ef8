import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  effectiveCapabilities,
  type Probe,
  ProbeCache,
  probeCapability,
  probeGenericNetlinkFamily,
  probeWritable,
} from '../../native-bindings/probe.ts';

describe('probeGenericNetlinkFamily()', () => {
  test('probeGenericNetlinkFamily() finds the family that every kernel has', () => {
    expect(probeGenericNetlinkFamily('nlctrl')).toEqual({ outcome: 'supported' });
  });

  test('probeGenericNetlinkFamily() gives the reason for one that no kernel has', () => {
    expect(probeGenericNetlinkFamily('no-such')).toEqual({
      outcome: 'unsupported',
      reason: 'look up generic netlink family no-such: ENOENT',
    });
  });

  test('probeGenericNetlinkFamily() is unknown for a name that is too long to ask for', () => {
    expect(probeGenericNetlinkFamily('a-name-of-more-than-16-bytes').outcome).toBe('unknown');
  });
});

describe('effectiveCapabilities()', () => {
  test.each([
    { name: 'all', status: 'Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n', held: 0x1ff_ffff_ffffn },
    { name: 'none', status: 'CapInh:\t1\nCapEff:\t0000000000000000\n', held: 0n },
    { name: 'no such line', status: 'Name:\tCapEff\n', held: undefined },
  ])('effectiveCapabilities() reads $name', ({ status, held }) => {
    expect(effectiveCapabilities(status)).toBe(held);
  });
});

describe('probeCapability()', () => {
  test('probeCapability() is conclusive where there is a /proc', () => {
    expect(['supported', 'unsupported']).toContain(probeCapability('CAP_NET_ADMIN').outcome);
  });
});

describe('probeWritable()', () => {
  test('probeWritable() tells a file that can be written from one that cannot', () => {
    const folder = mkdtempSync(join(tmpdir(), 'svcplane-probe-'));
    try {
      const file = join(folder, 'file');
      writeFileSync(file, '');
      expect(probeWritable(file)).toEqual({ outcome: 'supported' });
      expect(probeWritable(join(folder, 'absent'))).toMatchObject({
        outcome: 'unsupported',
        reason: expect.stringContaining('ENOENT'),
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('probeWritable() is unknown if the look itself fails', () => {
    expect(probeWritable('x'.repeat(5000)).outcome).toBe('unknown');
  });
});

describe('ProbeCache', () => {
  test('ProbeCache asks once for what is conclusive and again for what is not', () => {
    const answers: Probe[] = [
      { outcome: 'unknown', reason: 'busy' },
      { outcome: 'unsupported', reason: 'absent' },
      { outcome: 'supported' },
    ];
    const cache = new ProbeCache();
    const look = () => answers.shift() ?? { outcome: 'unknown', reason: 'asked too often' };
    const outcomes = [1, 2, 3, 4].map(() => cache.probe('feature', look).outcome);
    expect(outcomes).toEqual(['unknown', 'unsupported', 'unsupported', 'unsupported']);
    expect(cache.probe('another', look).outcome).toBe('supported');
  });
});
