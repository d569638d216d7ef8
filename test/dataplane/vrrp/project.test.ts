import { describe, expect, it } from 'vitest';
import { groupOf } from '../../../src/dataplane/vrrp/groups.ts';
import { project } from '../../../src/dataplane/vrrp/project.ts';
import { NO_ROWS } from '../../../src/dataplane/vrrp/rows.ts';
import { ip } from '../addresses/fixtures.ts';
import { announcing, DIRECTORY, options } from './fixtures.ts';

const only = (rows: ReturnType<typeof project>['rows']) => {
  const [row, ...more] = rows.instances.values();
  if (!row || more.length > 0) throw new Error(`${rows.instances.size} instances`);
  return row;
};

describe('project()', () => {
  it('writes an instance for keepalived', () => {
    const { rows, refused } = project(
      announcing([{ address: '10.10.0.1' }]),
      options({ groups: 1, firstId: 12 }),
    );
    const { name, config, isAble, reason } = only(rows);
    expect({ name, isAble, reason, refused, isRunning: rows.isRunning }).toEqual({
      name: 'svcplane_4_12',
      isAble: true,
      reason: 'Service web/front',
      refused: [],
      isRunning: true,
    });
    expect(rows.main).toContain(`include ${DIRECTORY}/svcplane_*.conf`);
    expect(config).toMatch(/priority (200|199|198)\n/);
    expect(config.replace(/priority \d+/, 'priority P')).toBe(`vrrp_track_file svcplane_4_12 {
  file /run/svcplane/vrrp/svcplane_4_12.track
  weight 0
}
vrrp_instance svcplane_4_12 {
  state BACKUP
  interface eth0
  virtual_router_id 12
  priority P
  version 3
  advert_int 1
  preempt_delay 30
  unicast_src_ip 172.30.0.1
  unicast_peer {
    172.30.0.2
    172.30.0.3
  }
  track_file {
    svcplane_4_12
  }
  virtual_ipaddress {
    169.254.86.12/32
  }
  virtual_ipaddress_excluded {
    10.10.0.1/32
  }
}
`);
  });

  it('has all addresses of a group in one instance, each family apart', () => {
    const addresses = ['10.10.0.2', '10.10.0.1', 'fd00:10::1'].map((address) => ({ address }));
    const { rows } = project(announcing(addresses), options({ groups: 1 }));
    expect([...rows.instances.keys()]).toEqual(['svcplane_4_1', 'svcplane_6_1']);
    expect(rows.instances.get('svcplane_4_1')?.config).toContain('    10.10.0.1/32\n    10.10.0.2/32\n');
    // This node has no address of the family to send from.
    expect(rows.instances.get('svcplane_6_1')?.config).not.toContain('unicast');
  });

  it.each([
    { name: 'no preemption', vrrp: { preempt: false }, has: '  nopreempt\n' },
    { name: 'preemption at once', vrrp: { preemptDelaySeconds: 0 }, has: 'advert_int 1\n  unicast_src_ip' },
    { name: 'multicast', vrrp: { peers: 'multicast' }, has: 'preempt_delay 30\n  track_file' },
    { name: 'a password', vrrp: { password: 's3cret' }, has: '  version 2\n' },
    { name: 'a password, in its block', vrrp: { password: 's3cret' }, has: '    auth_pass s3cret\n' },
  ])('does as configured: $name', ({ vrrp, has }) => {
    expect(only(project(announcing([{ address: '10.10.0.1' }]), options(vrrp)).rows).config).toContain(has);
  });

  it('lets this node not hold an address of policy Local without an endpoint here', () => {
    const able = (localEndpoints: number) =>
      only(project(announcing([{ address: '10.10.0.1', localEndpoints }]), options()).rows).isAble;
    expect([able(0), able(2)]).toEqual([false, true]);
  });

  it('lowers its priority where only some addresses of a group are served here, and says so', () => {
    // One id is left for policy Local.
    const narrow = options({ firstId: 1, lastId: 17, groups: 16 });
    const both = [
      { address: '10.10.0.1', service: 'web/a', localEndpoints: 1 },
      { address: '10.10.0.2', service: 'web/b', localEndpoints: 0 },
    ];
    expect(groupOf(ip('10.10.0.1'), true, narrow)).toBe(groupOf(ip('10.10.0.2'), true, narrow));
    const { rows, refused } = project(announcing(both), narrow);
    expect(only(rows)).toMatchObject({
      isAble: true,
      config: expect.stringMatching(/priority (100|99|98)\n/),
    });
    expect(refused).toEqual([
      { subject: 'Service web/b', reason: expect.stringMatching(/^10\.10\.0\.2 shares a virtual router id/) },
    ]);
  });

  it('announces nothing but addresses of load balancers in the ranges, and nothing when it is off', () => {
    const desired = announcing([{ address: '10.10.0.1' }]);
    expect(project(desired, options({ mode: 'off' })).rows).toEqual(NO_ROWS);
    expect(project(desired, options({ ranges: ['10.20.0.0/16'] })).rows).toEqual(NO_ROWS);
    const [server] = desired.virtualServers.values();
    if (!server) throw new Error('no virtual server');
    const virtualServers = new Map([[server.key, { ...server, exposure: 'ExternalIP' as const }]]);
    expect(project({ ...desired, virtualServers }, options()).rows).toEqual(NO_ROWS);
  });

  it('has 1,000 addresses within the ids of a network, and one more touches one group', () => {
    const addresses = Array.from({ length: 1000 }, (_, i) => ({ address: `10.10.${i >> 8}.${i & 255}` }));
    const before = project(announcing(addresses), options()).rows.instances;
    const after = project(announcing([...addresses, { address: '10.10.9.9' }]), options()).rows.instances;
    expect(before.size).toBe(16);
    expect([...after].filter(([name, { config }]) => before.get(name)?.config !== config)).toHaveLength(1);
  });
});
