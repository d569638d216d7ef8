import { rmSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { service, slice } from '../objects.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { describeWithIpvs } from './probe.ts';

const object = (name: string, clusterIP: string, pod: string) => [
  service({ name, spec: { clusterIP } }),
  slice({ service: name, name: `${name}-x`, endpoints: [{ address: pod }] }),
];

const WANTED = [
  ...object('free', '10.96.0.1', '10.244.1.1'),
  // Somebody else serves it, otherwise.
  ...object('taken', '10.96.0.2', '10.244.1.2'),
  // Somebody else serves it, and one real server is his.
  ...object('shared', '10.96.0.3', '10.244.1.3'),
  // Somebody else has made it exactly so.
  ...object('same', '10.96.0.4', '10.244.1.4'),
  // Its address is on another link: served there, and not bound.
  ...object('lifted', '192.0.2.9', '10.244.1.5'),
];

const FOREIGN_TABLE = `-A -t 10.96.0.2:80 -s wlc
-A -t 10.96.0.3:80 -s rr
-a -t 10.96.0.3:80 -r 10.244.1.3:8080 -m -w 1
-a -t 10.96.0.3:80 -r 10.9.9.9:8080 -m -w 1
-A -t 192.0.2.7:80 -s wlc -p 360
-a -t 192.0.2.7:80 -r 10.1.250.9:80 -m -w 3
-A -t [fd00:7::7]:443 -s sh
-a -t [fd00:7::7]:443 -r [fd00:7::9]:443 -m -w 1
-A -f 17 -s rr
-a -f 17 -r 10.1.250.9:0 -m -w 1
`;
const SAME = `-A -t 10.96.0.4:80 -s rr
-a -t 10.96.0.4:80 -r 10.244.1.4:8080 -m -w 1
`;

const FOREIGN_ADDRESSES = [
  ['10.96.0.77/32', 'svcplane0'],
  ['10.96.7.7/24', 'svcplane0'],
  ['fd00:7::77/128', 'svcplane0'],
  ['192.0.2.7/32', 'lo'],
  ['192.0.2.9/24', 'uplink0'],
] as const;

/** A host where others are at work: virtual servers, addresses on each kind of link, our dummy too, and sysctls. */
function createForeignHost(table: string): Host {
  const host = createHost('foreign');
  host.run(['ipvsadm', '-R'], table);
  host.run(['ip', '-batch', '-'], 'link add svcplane0 type dummy\nlink add uplink0 type dummy\n');
  const add = FOREIGN_ADDRESSES.map(([address, link]) => `address add ${address} dev ${link}\n`).join('');
  host.run(['ip', '-batch', '-'], `${add}link set svcplane0 up\nlink set uplink0 up\n`);
  host.setSysctl('net.ipv4.vs.expire_nodest_conn', '1');
  host.setSysctl('net.ipv4.vs.conntrack', '1');
  host.file('wanted.json', JSON.stringify({ kind: 'List', apiVersion: 'v1', items: WANTED }));
  return host;
}

const lines = (text: string) => text.split('\n').filter(Boolean);
const OURS = ['-A -t 10.96.0.1:80 -s rr', '-a -t 10.96.0.1:80 -r 10.244.1.1:8080 -m -w 1'];
const LIFTED = ['-A -t 192.0.2.9:80 -s rr', '-a -t 192.0.2.9:80 -r 10.244.1.5:8080 -m -w 1'];

describeWithIpvs('svcplane beside others', () => {
  describe('apply', UNHURRIED, () => {
    it('leaves what is foreign alone, and says by name what it could not have', async () => {
      using host = createForeignHost(FOREIGN_TABLE);
      const wanted = `${host.directory}/wanted.json`;
      const original = host.state();
      const applied = await host.svcplane(['apply', '-f', wanted]);
      expect(applied.code).toBe(0);
      expect(lines(applied.stderr)).toEqual([
        expect.stringMatching(/^rejected: Service web\/shared: TCP 10\.96\.0\.3:80 belongs to somebody else/),
        expect.stringMatching(/^rejected: Service web\/taken: TCP 10\.96\.0\.2:80 belongs to somebody else/),
      ]);
      const made = host.state();
      expect(made.table).toEqual([...lines(FOREIGN_TABLE), ...lines(SAME), ...OURS, ...LIFTED].sort());
      const bound = [1, 2, 3, 4].map((n) => `svcplane0 10.96.0.${n}/32`);
      expect(made.addresses).toEqual([...original.addresses, ...bound].sort());
      const { code, stdout } = await host.svcplane(['verify', '-f', wanted]);
      expect(code).toBe(0);
      for (const name of ['TCP 192.0.2.7:80', 'TCP [fd00:7::7]:443', 'FWM4 17', 'TCP 10.96.0.3:80']) {
        expect(stdout).toContain(`foreign ${name}`);
      }

      const none = host.file('none.json', JSON.stringify({ kind: 'List', apiVersion: 'v1', items: [] }));
      expect(await host.svcplane(['apply', '-f', none])).toMatchObject({ code: 0, stderr: '' });
      const emptied = host.state();
      expect(emptied.table).toEqual(original.table);
      expect(emptied.addresses).toEqual(original.addresses);
      expect(await host.svcplane(['cleanup'])).toMatchObject({ code: 0, stderr: '' });
      expect(host.state()).toEqual(original);
    });

    it('adopts what is exactly as wanted, and the whole of its own when the ledger is lost', async () => {
      using host = createForeignHost(FOREIGN_TABLE + SAME);
      const wanted = `${host.directory}/wanted.json`;
      const adopted = await host.svcplane(['apply', '-f', wanted]);
      expect(adopted.stdout).toContain('adoptVirtualServer TCP 10.96.0.4:80');
      const made = host.state();
      rmSync(host.ledger);
      const again = await host.svcplane(['apply', '-f', wanted]);
      expect(again.code).toBe(0);
      expect(lines(again.stdout).map((line) => line.replace(/ {2}.*/, ''))).toEqual([
        '~ adoptVirtualServer TCP 10.96.0.1:80',
        '~ adoptVirtualServer TCP 10.96.0.4:80',
        '~ adoptVirtualServer TCP 192.0.2.9:80',
        '~ adoptAddress address 10.96.0.1',
        '~ adoptAddress address 10.96.0.2',
        '~ adoptAddress address 10.96.0.3',
        '~ adoptAddress address 10.96.0.4',
        'Applied: 0 added, 7 changed, 0 deleted.',
      ]);
      expect(host.state()).toEqual(made);
      expect(await host.svcplane(['cleanup'])).toMatchObject({ code: 0 });
      const cleaned = host.state();
      expect(cleaned.table).toEqual(lines(FOREIGN_TABLE).sort());
      expect(cleaned.addresses).toEqual(
        made.addresses.filter((line) => !/^svcplane0 10\.96\.0\.[1-4]\//.test(line)),
      );
      // Nobody knows any more what they were.
      expect(cleaned.sysctls).toEqual(made.sysctls);
    });
  });
});
