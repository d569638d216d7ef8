import { describe, expect, it } from 'vitest';
import { atOnce } from '../../../src/dataplane/dataplane.ts';
import type { WantedServer } from '../../../src/dataplane/ipvs/project.ts';
import { compareTable } from '../../../src/dataplane/ipvs/table-text.ts';
import type { DrainKey } from '../../../src/dataplane/ledger.ts';
import { real, row, scheduler } from './build.ts';

/** As Linux 7.2 shows what `ipvsadm -R` has made. */
const TABLE = `IP Virtual Server version 1.2.1 (size=256)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
UDP  C0000208:0035 sh ops  
  -> 0A01FA09:0035      Route   0      0          0         
TCP  [fd00:0096:0000:0000:0000:0000:0000:0008]:01BB rr persistent 1080000 80000000
SCTP  0A600002:01BB rr  
TCP  0A600001:01BB rr  persistent 1080000 FFFFFFFF
  -> 0A01FA0A:192B      Masq    1      0          0         
  -> 0A01FA09:192B      Masq    1      0          0         
FWM  53000011 rr 
  -> 0A01FA09:0050      Masq    1      0          0         
FWM  53000011 lc 
  -> [fd00:0001:0000:0000:0000:0000:0000:0009]:01BB      Masq    1      0          0         
`;

const POD = real('10.1.250.9:6443');
const OTHER_POD = real('10.1.250.10:6443');

const AFFINE = { persistenceTimeoutSeconds: 10_800 };
const MARK = 0x53000011;

/** What the table shows, without the foreign one. */
const WANTED = [
  row('TCP [fd00:96::8]:443', { config: AFFINE }),
  row('SCTP 10.96.0.2:443'),
  row('TCP 10.96.0.1:443', { config: AFFINE, realServers: [POD, OTHER_POD] }),
  row(`FWM6 ${MARK}`, {
    config: { scheduler: scheduler('lc') },
    realServers: [real('[fd00:1::9]:443')],
    frontend: 'TCP [fd00::1]:443',
  }),
  row(`FWM4 ${MARK}`, { realServers: [real('10.1.250.9:80')], frontend: 'TCP 10.96.0.9:80' }),
];
const FOREIGN = 'UDP C0000208:0035';

function compare(wanted: typeof WANTED, drains: readonly DrainKey[] = [], table = TABLE) {
  return atOnce(compareTable(table, wanted.map(serverOf), drains));
}

function serverOf({ identity, config, realServers }: (typeof WANTED)[number]): WantedServer {
  return { identity, config, realServers: [...realServers.values()].map((realServer) => realServer.config) };
}

function without(key: string, replacement: readonly (typeof WANTED)[number][] = []) {
  return [...WANTED.filter((each) => each.key !== key), ...replacement];
}

describe('compareTable()', () => {
  it('sees that all is as wanted, and names what is not', () => {
    expect(compare(WANTED)).toEqual({ isAsWanted: true, strangers: [FOREIGN] });
    expect(compare(WANTED.toReversed())).toEqual({ isAsWanted: true, strangers: [FOREIGN] });
  });

  it.each([
    { name: 'a missing virtual server', wanted: [...WANTED, row('TCP 10.96.0.7:80')] },
    {
      name: 'another scheduler',
      wanted: without('SCTP 10.96.0.2:443', [
        row('SCTP 10.96.0.2:443', { config: { scheduler: scheduler('lc') } }),
      ]),
    },
    {
      name: 'another affinity',
      wanted: without('TCP [fd00:96::8]:443', [
        row('TCP [fd00:96::8]:443', { config: { persistenceTimeoutSeconds: 3600 } }),
      ]),
    },
    {
      name: 'an affinity that is there and not wanted',
      wanted: without('TCP [fd00:96::8]:443', [row('TCP [fd00:96::8]:443')]),
    },
    {
      name: 'a real server too many',
      wanted: without('TCP 10.96.0.1:443', [
        row('TCP 10.96.0.1:443', { config: AFFINE, realServers: [POD] }),
      ]),
    },
    {
      name: 'a missing real server',
      wanted: without('SCTP 10.96.0.2:443', [row('SCTP 10.96.0.2:443', { realServers: [POD] })]),
    },
    {
      name: 'another weight',
      wanted: without(`FWM4 ${MARK}`, [
        row(`FWM4 ${MARK}`, { realServers: [real('10.1.250.9:80', { weight: 2 })] }),
      ]),
    },
    {
      name: 'what the text does not tell',
      wanted: without('SCTP 10.96.0.2:443', [row('SCTP 10.96.0.2:443', { config: { flags: 8 } })]),
    },
  ])('sees $name', ({ wanted }) => {
    expect(compare(wanted).isAsWanted).toBe(false);
  });

  it('names an unwanted virtual server of ours', () => {
    expect(compare(without('SCTP 10.96.0.2:443')).strangers).toEqual(['SCTP 0A600002:01BB', FOREIGN]);
  });

  it('lets real servers drain', () => {
    const drained = TABLE.replace('0A01FA0A:192B      Masq    1 ', '0A01FA0A:192B      Masq    0 ');
    const wanted = without('TCP 10.96.0.1:443', [
      row('TCP 10.96.0.1:443', { config: AFFINE, realServers: [POD] }),
    ]);
    const drain = 'TCP 10.96.0.1:443 -> 10.1.250.10:6443' as DrainKey;
    expect(compare(wanted, [drain], drained).isAsWanted).toBe(true);
    expect(compare(wanted, [], drained).isAsWanted).toBe(false);
    expect(compare(WANTED, [drain], drained).isAsWanted).toBe(false);
    expect(compare(without('TCP 10.96.0.1:443'), [drain], drained).strangers).toEqual([FOREIGN]);
  });
});
