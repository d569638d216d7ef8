import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planIpvs } from '../../../src/dataplane/ipvs/plan.ts';
import { rowsFromSnapshot, snapshotVirtualServers } from '../../../src/dataplane/ipvs/snapshot.ts';
import { canonicalText } from '../../../src/dataplane/ipvs/text.ts';
import { lawCases, wantedRows } from './arbitraries.ts';
import { NOW_MS, OPTIONS, real, row, rows, scheduler } from './build.ts';

const everything = rows([
  row('FWM6 17', { owner: 'foreign' }),
  row('TCP 192.0.2.7:0', {
    owner: 'foreign',
    config: {
      scheduler: scheduler('mh'),
      flags: 0x4 | 0x8 | 0x20,
      persistenceTimeoutSeconds: 60,
      netmask: '255.255.255.0',
      persistenceEngine: 'sip',
    },
    realServers: [
      real('10.1.0.1:0', {
        weight: 2,
        activeConnections: 4,
        upperThreshold: 9,
        lowerThreshold: 3,
        forwarding: 'tunnel',
        tunnel: { type: 'gue', port: 6080, checksum: 'csum' },
      }),
    ],
  }),
]);

describe('snapshotVirtualServers()', () => {
  it('has every field of observed rows, firewall marks last', () => {
    const none = { exposure: null, service: null, servicePort: null, owner: 'foreign' };
    expect(snapshotVirtualServers(everything, 'observed')).toEqual([
      {
        ...none,
        address: '192.0.2.7',
        port: 0,
        protocol: 'TCP',
        scheduler: 'mh',
        persistenceTimeoutSeconds: 60,
        persistenceNetmask: '255.255.255.0',
        schedulerFlags: ['flag-1', 'flag-3'],
        onePacket: true,
        persistenceEngine: 'sip',
        realServers: [
          {
            address: '10.1.0.1',
            port: 0,
            weight: 2,
            forwarding: 'tunnel',
            upperThreshold: 9,
            lowerThreshold: 3,
            tunnel: { type: 'gue', port: 6080, checksum: 'csum' },
            activeConnections: 4,
            inactiveConnections: 0,
          },
        ],
      },
      {
        ...none,
        address: null,
        port: null,
        protocol: null,
        firewallMark: 17,
        family: 'IPv6',
        scheduler: 'rr',
        persistenceTimeoutSeconds: null,
        realServers: [],
      },
    ]);
  });

  it('has neither owner nor connections of desired rows', () => {
    const wanted = rows([row('TCP 10.96.0.50:80', { realServers: [real('10.1.0.1:80')] })]);
    expect(snapshotVirtualServers(wanted, 'desired')).toEqual([
      {
        address: '10.96.0.50',
        port: 80,
        protocol: 'TCP',
        scheduler: 'rr',
        persistenceTimeoutSeconds: null,
        exposure: 'ClusterIP',
        service: 'web/front',
        servicePort: 'http',
        realServers: [{ address: '10.1.0.1', port: 80, weight: 1, forwarding: 'masquerade' }],
      },
    ]);
  });
});

describe('rowsFromSnapshot()', () => {
  const again = (given: typeof everything, kind: 'observed' | 'desired') =>
    rowsFromSnapshot(snapshotVirtualServers(given, kind), NOW_MS);

  it('is the inverse of an observed snapshot, drain starts and sysctls aside', () => {
    expect(canonicalText(again(everything, 'observed'))).toBe(canonicalText(everything));
    fc.assert(
      fc.property(lawCases, ({ observed }) => {
        expect(canonicalText(again(observed, 'observed'))).toBe(
          canonicalText({ ...observed, sysctls: null }),
        );
      }),
    );
  });

  it('leaves nothing to plan from a desired snapshot to what was desired', () => {
    fc.assert(
      fc.property(wantedRows(), (wanted) => {
        const plan = planIpvs(again(wanted, 'desired'), wanted, OPTIONS);
        expect(plan).toEqual({ make: [], break: [], conflicts: [] });
      }),
    );
  });
});
