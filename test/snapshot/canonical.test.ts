import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalSnapshot, keyOf } from '../../src/snapshot/canonical.ts';
import { shuffled, snapshot } from './arbitraries.ts';
import { realServer, snapshotOf, virtualServer } from './build.ts';

describe('canonicalSnapshot()', () => {
  it('gives rows in any order the same order', () => {
    const pair = snapshot.chain((a) => fc.tuple(fc.constant(a), shuffled(a)));
    fc.assert(
      fc.property(pair, ([a, b]) => {
        expect(canonicalSnapshot(b)).toEqual(canonicalSnapshot(a));
      }),
    );
  });

  it('changes nothing the second time', () => {
    fc.assert(
      fc.property(snapshot, (a) => {
        const once = canonicalSnapshot(a);
        expect(canonicalSnapshot(once)).toEqual(once);
      }),
    );
  });

  it('orders addresses by number, then protocol by name, then port; marks last', () => {
    const rows = [
      virtualServer('[fd00::1]:80'),
      virtualServer('10.0.0.10:80'),
      virtualServer('10.0.0.9:443'),
      virtualServer('10.0.0.9:80'),
      virtualServer('10.0.0.9:80', { protocol: 'SCTP' }),
      virtualServer('10.0.0.9:53', { protocol: 'UDP' }),
    ];
    const mark = {
      ...virtualServer('10.0.0.1:1'),
      address: null,
      port: null,
      protocol: null,
      firewallMark: 1,
    };
    expect(canonicalSnapshot(snapshotOf([mark, ...rows])).virtualServers.map(keyOf)).toEqual([
      'SCTP 10.0.0.9:80',
      'TCP 10.0.0.9:80',
      'TCP 10.0.0.9:443',
      'UDP 10.0.0.9:53',
      'TCP 10.0.0.10:80',
      'TCP [fd00::1]:80',
      'FWM4 1',
    ]);
  });

  it('leaves out what says no more than its absence', () => {
    const plain = virtualServer('10.0.0.1:80', { realServers: [realServer('10.1.0.1:80')] });
    const wordy = {
      ...plain,
      persistenceNetmask: '255.255.255.255',
      schedulerFlags: [],
      onePacket: false,
      persistenceEngine: '',
      realServers: [
        {
          ...realServer('10.1.0.1:80'),
          upperThreshold: 0,
          lowerThreshold: 0,
          tunnel: { type: 'ipip', port: 0, checksum: 'none' } as const,
        },
      ],
    };
    expect(canonicalSnapshot({ ...snapshotOf([wordy]), routes: [] })).toEqual(snapshotOf([plain]));
  });
});
