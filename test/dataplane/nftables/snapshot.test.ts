import { describe, expect, it } from 'vitest';
import { canonical } from '../../../src/dataplane/nftables/rows.ts';
import { fromSnapshot, toSnapshot } from '../../../src/dataplane/nftables/snapshot.ts';
import { diffSnapshots, isEmptyDiff } from '../../../src/snapshot/diff.ts';
import { parseSnapshot } from '../../../src/snapshot/parse.ts';
import { renderDiff } from '../../../src/snapshot/render-diff.ts';
import { renderIpvsadmSave } from '../../../src/snapshot/render-ipvsadm-save.ts';
import { renderJson } from '../../../src/snapshot/render-json.ts';
import { renderText } from '../../../src/snapshot/render-text.ts';
import type { Snapshot } from '../../../src/snapshot/snapshot.ts';
import { snapshotOf } from '../../snapshot/build.ts';
import { tableWith } from './build.ts';

const FRONTEND = '203.0.113.9 . tcp . 80';
const ROWS = tableWith({ vips4: ['203.0.113.9'], 'inside-marks4': [`${FRONTEND} : 0x53000001`] });
const OTHER = tableWith({ vips4: ['203.0.113.10'] });
const SNAPSHOT: Snapshot = { ...snapshotOf([]), ...toSnapshot(ROWS) };

describe('toSnapshot()', () => {
  it('is written as JSON and read back', () => {
    expect(parseSnapshot(renderJson(SNAPSHOT), 'test')).toEqual(SNAPSHOT);
    expect(SNAPSHOT.nftables?.sets).toEqual([
      { name: 'inside-marks4', elements: [`${FRONTEND} : 0x53000001`] },
      { name: 'vips4', elements: ['203.0.113.9'] },
    ]);
  });

  it('is text of one line an element, and nothing for ipvsadm', () => {
    expect(renderText(SNAPSHOT)).toBe(`nft inside-marks4 ${FRONTEND} : 0x53000001\nnft vips4 203.0.113.9\n`);
    expect(renderIpvsadmSave(SNAPSHOT)).toBe(renderIpvsadmSave(snapshotOf([])));
  });

  it('keeps what is not ours', () => {
    const altered = {
      ...ROWS,
      others: ['counter hits'],
      sets: new Map(ROWS.sets).set('theirs', { declaration: 'type mark', elements: new Map() }),
      chains: new Map(ROWS.chains).set('refuse', {
        declaration: '',
        rules: [{ name: 'theirs', digest: '', rule: null }],
      }),
    };
    expect(canonical(fromSnapshot(toSnapshot(altered), OTHER))).toBe(canonical(altered));
  });
});

describe('fromSnapshot()', () => {
  it('takes what nobody looked at for right', () => {
    expect(fromSnapshot(snapshotOf([]), OTHER)).toBe(OTHER);
  });

  it('has no table where there was none, or one of another name', () => {
    const none = { nftables: { table: 'svcplane', chains: [], sets: [] } };
    expect(fromSnapshot(none, OTHER).exists).toBe(false);
    const { nftables } = toSnapshot(ROWS);
    expect(fromSnapshot({ nftables: { ...nftables, table: 'other' } }, OTHER).exists).toBe(false);
  });
});

describe('diffSnapshots()', () => {
  it('tells elements and rules apart, a line each', () => {
    const after: Snapshot = {
      ...snapshotOf([]),
      ...toSnapshot(tableWith({ vips4: ['203.0.113.10'] }, { masqueradeBit: 3 })),
    };
    const lines = renderDiff(diffSnapshots(SNAPSHOT, after)).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        '- nft vips4 203.0.113.9',
        '+ nft vips4 203.0.113.10',
        `- nft inside-marks4 ${FRONTEND} : 0x53000001`,
        expect.stringMatching(/^- nft chain postrouting rule 3 masquerade #/),
        expect.stringMatching(/^\+ nft chain postrouting rule 3 masquerade #/),
      ]),
    );
    expect(lines.at(-2)).toBe('Diff: 10 added, 0 changed, 11 removed.');
  });

  it('is empty where one of the two does not tell', () => {
    expect(isEmptyDiff(diffSnapshots(SNAPSHOT, snapshotOf([])))).toBe(true);
    expect(isEmptyDiff(diffSnapshots(snapshotOf([]), SNAPSHOT))).toBe(true);
  });

  it('tells that there is no table', () => {
    const none = { ...snapshotOf([]), nftables: { table: 'svcplane', chains: [], sets: [] } };
    expect(renderDiff(diffSnapshots(none, SNAPSHOT))).toContain('+ nft table inet svcplane\n');
  });
});
