import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseSnapshot } from '../../src/snapshot/parse.ts';
import { renderIpvsadm } from '../../src/snapshot/render-ipvsadm.ts';
import { renderIpvsadmSave } from '../../src/snapshot/render-ipvsadm-save.ts';
import { renderJson } from '../../src/snapshot/render-json.ts';
import { renderText } from '../../src/snapshot/render-text.ts';
import { shuffled, snapshot } from './arbitraries.ts';
import { ip, realServer, snapshotOf, virtualServer } from './build.ts';
import { parseIpvsadmSave } from './parse-ipvsadm-save.ts';

const GOLDEN = join(import.meta.dirname, '../golden/snapshot');
const KERNELS = [
  { name: 'linux-6.1', info: { version: '1.2.1', connectionTableSize: 4096 } },
  { name: 'linux-7.2', info: { version: '1.2.1', connectionTableSize: 256 } },
];

function golden(file: string): string {
  return readFileSync(join(GOLDEN, file), 'utf8');
}

function sortedLines(text: string): readonly string[] {
  return text.split('\n').sort();
}

/** Services and marks with the rows below them, in the order of their text: ipvsadm orders by protocol first. */
function sortedBlocks(listing: string): readonly (readonly string[])[] {
  const blocks: string[][] = [];
  for (const line of listing.split('\n').filter(Boolean)) {
    if (line.startsWith('  -> ')) blocks.at(-1)?.push(line);
    else blocks.push([line]);
  }
  return blocks.map(([service = '', ...rows]) => [service, ...rows.sort()]).sort();
}

describe.each(KERNELS)('$name', ({ name, info }) => {
  const table = parseSnapshot(golden(`${name}.json`), `${name}.json`);

  it('renderIpvsadmSave() equals `ipvsadm -S -n`, sorted', () => {
    expect(sortedLines(renderIpvsadmSave(table))).toEqual(sortedLines(golden(`${name}.save`)));
  });

  it('renderIpvsadm() equals `ipvsadm -Ln` but for the order of services', () => {
    expect(sortedBlocks(renderIpvsadm(table, info))).toEqual(sortedBlocks(golden(`${name}.list`)));
  });

  it('renderJson() gives the file back', () => {
    expect(renderJson(table)).toBe(golden(`${name}.json`));
  });
});

/** services.md's worked example: a LoadBalancer with policy Local, as ClusterIP and NodePort frontends. */
const FRONT = {
  ...snapshotOf([
    virtualServer('172.16.0.5:30080', {
      persistenceTimeoutSeconds: 3600,
      exposure: 'NodePort',
      service: 'web/front',
      servicePort: 'http',
      realServers: [realServer('10.244.1.20:8080', { activeConnections: 12 })],
    }),
    virtualServer('10.96.0.50:80', {
      persistenceTimeoutSeconds: 3600,
      exposure: 'ClusterIP',
      service: 'web/front',
      servicePort: 'http',
      realServers: [realServer('10.244.2.30:8080', { weight: 0 }), realServer('10.244.1.20:8080')],
    }),
  ]),
  addresses: [ip('10.96.0.50')],
  rejected: [{ subject: 'Service web/old', reason: 'type ExternalName is served by DNS' }],
};

describe('renderIpvsadmSave()', () => {
  it('puts the -a lines after their -A, all in canonical order', () => {
    expect(renderIpvsadmSave(FRONT)).toBe(
      [
        '-A -t 10.96.0.50:80 -s rr -p 3600',
        '-a -t 10.96.0.50:80 -r 10.244.1.20:8080 -m -w 1',
        '-a -t 10.96.0.50:80 -r 10.244.2.30:8080 -m -w 0',
        '-A -t 172.16.0.5:30080 -s rr -p 3600',
        '-a -t 172.16.0.5:30080 -r 10.244.1.20:8080 -m -w 1\n',
      ].join('\n'),
    );
  });

  it('does not depend on the order of rows', () => {
    const pair = snapshot.chain((a) => fc.tuple(fc.constant(a), shuffled(a)));
    fc.assert(
      fc.property(pair, ([a, b]) => {
        expect(renderIpvsadmSave(b)).toBe(renderIpvsadmSave(a));
      }),
    );
  });

  it('is empty for a node without virtual servers', () => {
    expect(renderIpvsadmSave(snapshotOf([]))).toBe('');
  });

  it('loses nothing that ipvsadm prints', () => {
    fc.assert(
      fc.property(snapshot, (a) => {
        const text = renderIpvsadmSave(a);
        expect(renderIpvsadmSave(parseIpvsadmSave(text))).toBe(text);
      }),
    );
  });

  it('prints methods without an option as ipvsadm does', () => {
    const realServers = [
      realServer('10.1.0.1:80', { forwarding: 'local' }),
      realServer('10.1.0.2:80', { forwarding: 'bypass' }),
    ];
    expect(renderIpvsadmSave(snapshotOf([virtualServer('10.0.0.1:80', { realServers })]))).toBe(
      [
        '-A -t 10.0.0.1:80 -s rr',
        '-a -t 10.0.0.1:80 -r 10.1.0.1:80 -g -w 1',
        '-a -t 10.0.0.1:80 -r 10.1.0.2:80 (null) -w 1\n',
      ].join('\n'),
    );
  });
});

describe('renderIpvsadm()', () => {
  it('prints connection counts, in columns', () => {
    expect(renderIpvsadm(FRONT).split('\n').slice(0, 8)).toEqual([
      'IP Virtual Server version 1.2.1 (size=4096)',
      'Prot LocalAddress:Port Scheduler Flags',
      '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn',
      'TCP  10.96.0.50:80 rr persistent 3600',
      '  -> 10.244.1.20:8080             Masq    1      0          0         ',
      '  -> 10.244.2.30:8080             Masq    0      0          0         ',
      'TCP  172.16.0.5:30080 rr persistent 3600',
      '  -> 10.244.1.20:8080             Masq    1      12         0         ',
    ]);
  });
});

describe('renderText()', () => {
  it('names the whole row on each line', () => {
    expect(renderText({ ...FRONT, routes: ['10.96.0.0/16'] })).toBe(
      [
        'address 10.96.0.50',
        'route 10.96.0.0/16',
        'TCP 10.96.0.50:80 rr persistent 3600 ClusterIP web/front:http',
        'TCP 10.96.0.50:80 -> 10.244.1.20:8080 masquerade weight 1',
        'TCP 10.96.0.50:80 -> 10.244.2.30:8080 masquerade weight 0',
        'TCP 172.16.0.5:30080 rr persistent 3600 NodePort web/front:http',
        'TCP 172.16.0.5:30080 -> 10.244.1.20:8080 masquerade weight 1 active 12',
        'rejected Service web/old: type ExternalName is served by DNS\n',
      ].join('\n'),
    );
  });

  it('names everything a virtual server of another program can have', () => {
    const foreign = virtualServer('[fd00::1]:80', {
      scheduler: 'mh',
      schedulerFlags: ['flag-1', 'flag-2'],
      persistenceTimeoutSeconds: 60,
      persistenceNetmask: '64',
      persistenceEngine: 'sip',
      onePacket: true,
      owner: 'foreign',
      realServers: [
        realServer('10.1.0.1:80', {
          forwarding: 'tunnel',
          tunnel: { type: 'gue', port: 6080, checksum: 'csum' },
          upperThreshold: 10,
          lowerThreshold: 5,
          inactiveConnections: 3,
        }),
      ],
    });
    expect(renderText(snapshotOf([foreign]))).toBe(
      [
        'TCP [fd00::1]:80 mh flag-1,flag-2 persistent 60 mask 64 pe sip one-packet foreign',
        'TCP [fd00::1]:80 -> 10.1.0.1:80 tunnel weight 1 gue port 6080 csum upper threshold 10 lower threshold 5 inactive 3\n',
      ].join('\n'),
    );
  });
});

describe('renderJson()', () => {
  it('writes the documented keys in the documented order', () => {
    const [first] = JSON.parse(renderJson(FRONT)).virtualServers;
    expect(Object.keys(JSON.parse(renderJson(FRONT)))).toEqual([
      'version',
      'node',
      'addresses',
      'virtualServers',
      'rejected',
    ]);
    expect(JSON.stringify(first)).toBe(
      '{"address":"10.96.0.50","port":80,"protocol":"TCP","scheduler":"rr","persistenceTimeoutSeconds":3600,' +
        '"exposure":"ClusterIP","service":"web/front","servicePort":"http","realServers":[' +
        '{"address":"10.244.1.20","port":8080,"weight":1,"forwarding":"masquerade"},' +
        '{"address":"10.244.2.30","port":8080,"weight":0,"forwarding":"masquerade"}]}',
    );
  });

  it('does not depend on the order of rows', () => {
    const pair = snapshot.chain((a) => fc.tuple(fc.constant(a), shuffled(a)));
    fc.assert(
      fc.property(pair, ([a, b]) => {
        expect(renderJson(b)).toBe(renderJson(a));
      }),
    );
  });
});
