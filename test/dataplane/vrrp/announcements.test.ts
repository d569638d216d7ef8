import { describe, expect, it } from 'vitest';
import { announcementsOf, announcementWords } from '../../../src/dataplane/vrrp/announcements.ts';
import { statesIn } from '../../../src/dataplane/vrrp/log.ts';
import { ip } from '../addresses/fixtures.ts';
import { announcing, options } from './fixtures.ts';

/** As keepalived 2.2.7 writes it. */
const LOG = `Sun Nov 29 01:16:00 2026: Starting VRRP child process, pid=8249
Sun Nov 29 01:16:00 2026: (svcplane_4_12) Entering BACKUP STATE (init)
Sun Nov 29 01:16:03 2026: (svcplane_4_12) Entering MASTER STATE
Sun Nov 29 01:16:03 2026: (someone_else) Entering MASTER STATE
Sun Nov 29 01:16:16 2026: (svcplane_6_3): tracked file svcplane_6_3 now FAULT state
Sun Nov 29 01:16:16 2026: (svcplane_6_3) Entering FAULT STATE
`;

describe('statesIn()', () => {
  it('has what was said last of each instance of ours', () => {
    const at = (second: number) => new Date(2026, 10, 29, 1, 16, second).getTime();
    expect([...statesIn(LOG)]).toEqual([
      ['svcplane_4_12', { state: 'MASTER', sinceMs: at(3) }],
      ['svcplane_6_3', { state: 'FAULT', sinceMs: at(16) }],
    ]);
    expect(statesIn('').size).toBe(0);
  });
});

describe('announcementsOf()', () => {
  it('says who holds a group, since when, and in which order nodes are to', () => {
    const desired = announcing([{ address: '10.10.0.1' }]);
    const one = options({ groups: 1, firstId: 12 });
    const [here] = announcementsOf(desired, one, statesIn(LOG));
    expect(here).toMatchObject({ family: 'IPv4', group: 12, addresses: ['10.10.0.1'], holder: 'here' });
    expect(here?.order.toSorted()).toEqual(['n1', 'n2', 'n3']);
    expect(announcementsOf(desired, one, new Map())).toMatchObject([{ holder: null, sinceMs: null }]);
  });
});

describe('announcementWords()', () => {
  const words = (localEndpoints: number, log = '', vrrp = {}) =>
    announcementWords(
      announcing([{ address: '10.10.0.1', localEndpoints }]),
      options(vrrp),
      ip('10.10.0.1'),
      () => statesIn(log),
    );

  it('says who is to announce an address, and why not this node', () => {
    expect(words(1)).toEqual([
      expect.stringMatching(/^announced by VRRP group \d+, first by n\d, then n\d, n\d$/),
    ]);
    expect(words(0)).toEqual([words(1)[0], 'not by this node, which has no endpoint for it']);
    expect(announcementWords(announcing([]), options(), ip('10.10.0.1'), () => new Map())).toEqual([]);
  });

  it('says who does, and since when, as far as keepalived has said', () => {
    const one = { firstId: 11, groups: 1, lastId: 12 };
    const at = (second: number) => new Date(2026, 10, 29, 1, 16, second).toISOString();
    expect(words(1, LOG, one)).toEqual([words(1, '', one)[0], `here since ${at(3)}`]);
    const elsewhere = `${LOG}Sun Nov 29 01:16:17 2026: (svcplane_4_12) Entering BACKUP STATE\n`;
    expect(words(1, elsewhere, one)[1]).toBe(`at another node since ${at(17)}`);
    const barred = `${LOG}Sun Nov 29 01:16:18 2026: (svcplane_4_12) Entering FAULT STATE\n`;
    expect(words(0, barred, one)[2]).toBe(`not here since ${at(18)}`);
  });
});
