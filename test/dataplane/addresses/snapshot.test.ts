import { describe, expect, test } from 'vitest';
import { plan } from '../../../src/dataplane/addresses/plan.ts';
import { emptyRows } from '../../../src/dataplane/addresses/rows.ts';
import { fromSnapshot, toSnapshot } from '../../../src/dataplane/addresses/snapshot.ts';
import { LINK, ours, route, rowsWith } from './fixtures.ts';

const NOTHING = emptyRows(LINK);

describe('toSnapshot() and fromSnapshot()', () => {
  const wanted = rowsWith({
    addresses: new Map([ours('fd00::1'), ours('10.96.0.10'), ours('10.96.0.9')]),
    routes: new Map([route('10.97.0.0/16', '192.0.2.10')]),
  });

  test('give a sorted snapshot, against which its own rows plan nothing', () => {
    const snapshot = toSnapshot(wanted);
    expect(snapshot).toEqual({
      addresses: ['10.96.0.9', '10.96.0.10', 'fd00::1'],
      routes: ['10.97.0.0/16'],
    });
    const observed = fromSnapshot(snapshot, wanted);
    expect(observed.link).toMatchObject({ exists: true, isUp: true, kind: 'dummy' });
    expect(plan(observed, wanted)).toEqual({ make: [], break: [], conflicts: [] });
    expect(plan(observed, NOTHING).break).toHaveLength(4);
  });

  test('an empty snapshot has no routes and no link', () => {
    expect(toSnapshot(NOTHING)).toEqual({ addresses: [] });
    expect(fromSnapshot({ addresses: [] }, wanted)).toEqual(NOTHING);
  });
});
