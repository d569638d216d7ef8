import { describe, expect, it } from 'vitest';
import {
  absent,
  decodeWatched,
  rangesOf,
  WATCHED_KINDS,
  type WatchedKind,
  watchedKey,
} from '../../src/cluster/decode-watched.ts';
import type { RawObject } from '../../src/cluster/object-fields.ts';
import { parseCidr } from '../../src/model/cidr.ts';
import { node, service, slice } from '../objects.ts';

const OWN = 'n0';

/** As it stands in a list. */
function listed({ apiVersion: _, kind: __, ...object }: RawObject): RawObject {
  return object;
}

const cidr = (text: string) => parseCidr(text) ?? expect.unreachable();
const range = (name: string, ...cidrs: readonly string[]): RawObject => ({
  metadata: { name },
  spec: { cidrs },
});

describe('decodeWatched()', () => {
  it.each<{ kind: WatchedKind; object: RawObject; says: object }>([
    {
      kind: 'Service',
      object: service({ metadata: { resourceVersion: '5' } }),
      says: { kind: 'Service', key: 'web/front', facts: { clusterIPs: ['10.96.0.50'] } },
    },
    {
      kind: 'EndpointSlice',
      object: slice({ endpoints: [{ address: '10.1.0.1' }] }),
      says: { kind: 'EndpointSlice', key: 'web/front-1', triggerMs: null, facts: { family: 'IPv4' } },
    },
    {
      kind: 'Node',
      object: node({ name: OWN, addresses: ['172.16.0.5'] }),
      says: {
        kind: 'Node',
        key: OWN,
        facts: { addresses: ['172.16.0.5'] },
        state: { isBeingDeleted: false },
      },
    },
    {
      kind: 'Node',
      object: node({ name: 'n1', addresses: ['172.16.0.6'] }),
      says: { kind: 'OtherNode', key: 'n1', facts: ['172.16.0.6'] },
    },
    {
      kind: 'ServiceCIDR',
      object: range('kubernetes', '10.96.0.0/16'),
      says: { kind: 'ServiceCIDR', key: 'kubernetes', facts: [cidr('10.96.0.0/16')] },
    },
  ])('reads a $kind as a list has it, without apiVersion and kind: $says.kind', ({ kind, object, says }) => {
    expect(decodeWatched(kind, listed(object), OWN)).toMatchObject({ rejected: [], ...says });
    expect(decodeWatched(kind, object, OWN)).toEqual(decodeWatched(kind, listed(object), OWN));
  });

  it('has the time of the change that a slice tells of', () => {
    const object = slice();
    const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': '2026-11-21T20:00:00Z' };
    const told = { ...object, metadata: { ...object.metadata, annotations } };
    expect(decodeWatched('EndpointSlice', told, OWN)).toMatchObject({
      triggerMs: Date.UTC(2026, 10, 21, 20),
    });
  });

  it('names the object in what it rejects, and the rest of it counts', () => {
    const { rejected, facts } = decodeWatched('ServiceCIDR', range('odd', '10.96.0.0/16', 'nonsense'), OWN);
    expect(rejected).toEqual([{ subject: 'ServiceCIDR odd', reason: expect.stringContaining('nonsense') }]);
    expect(facts).toEqual([cidr('10.96.0.0/16')]);
    const broken = decodeWatched('Service', service({ spec: { clusterIP: 'nonsense' } }), OWN);
    expect(new Set(broken.rejected.map(({ subject }) => subject))).toEqual(new Set(['Service web/front']));
  });

  it('leaves it to other Nodes to say what is wrong with them', () => {
    const odd = (name: string) => ({ ...node({ name }), spec: { podCIDRs: ['nonsense'] } });
    expect(decodeWatched('Node', odd('n1'), OWN).rejected).toEqual([]);
    expect(decodeWatched('Node', odd(OWN), OWN).rejected).toHaveLength(1);
  });
});

describe('absent()', () => {
  it.each(WATCHED_KINDS)('of a %s has the kind and key of the one that was there, and no facts', (kind) => {
    const objects = {
      Service: service(),
      EndpointSlice: slice(),
      Node: node({ name: OWN }),
      ServiceCIDR: range('r'),
    };
    const { kind: decodedKind, key } = decodeWatched(kind, objects[kind], OWN);
    expect(key).toBe(watchedKey(kind, objects[kind]));
    expect(absent(kind, key, OWN)).toMatchObject({ kind: decodedKind, key, facts: null, rejected: [] });
  });

  it('of another Node is one', () => {
    expect(absent('Node', 'n1', OWN)).toEqual({ kind: 'OtherNode', key: 'n1', facts: null, rejected: [] });
  });
});

describe('watchedKey()', () => {
  it('is empty for an object without a name', () => {
    expect(watchedKey('Service', { metadata: { namespace: 'web' } })).toBe('');
    expect(watchedKey('Service', {})).toBe('');
  });
});

describe('rangesOf()', () => {
  it('has each range once, in the order of names, whatever the order of the map', () => {
    const entries = [
      ['b', [cidr('10.97.0.0/16'), cidr('10.96.0.0/16')]],
      ['a', [cidr('10.96.0.0/16'), cidr('fd00::/112')]],
    ] as const;
    const wanted = [cidr('10.96.0.0/16'), cidr('fd00::/112'), cidr('10.97.0.0/16')];
    expect(rangesOf(new Map(entries))).toEqual(wanted);
    expect(rangesOf(new Map(entries.toReversed()))).toEqual(wanted);
  });
});
