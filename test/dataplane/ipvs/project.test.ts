import { describe, expect, it } from 'vitest';
import { projectIpvs, wantedServers } from '../../../src/dataplane/ipvs/project.ts';
import { canonicalText } from '../../../src/dataplane/ipvs/text.ts';
import { parseCidr } from '../../../src/model/cidr.ts';
import { realServerKey, type VirtualServer } from '../../../src/model/virtual-server.ts';
import { ALL_OPTIONS, desiredState, endpointOf, scheduler, virtualServer } from './build.ts';

const V4 = virtualServer('TCP 10.96.0.50:80', {
  scheduler: scheduler('sh'),
  persistenceTimeoutSeconds: 10_800,
  realServers: [endpointOf('10.1.0.1:8080', 3)],
});
const LOCAL = virtualServer('TCP 203.0.113.9:80', {
  scheduler: scheduler('wrr'),
  persistenceTimeoutSeconds: 600,
  exposure: 'LoadBalancer',
  trafficPolicy: 'Local',
  realServers: [endpointOf('10.1.0.1:8080')],
  insideRealServers: [endpointOf('10.1.0.1:8080'), endpointOf('10.1.0.2:8080')],
});
const V6 = virtualServer('UDP [fd00::50]:53');

describe('projectIpvs()', () => {
  it('masquerades, with affinity for each client address', () => {
    const { rows, refused } = projectIpvs(desiredState([V4]), ALL_OPTIONS);
    expect(refused).toEqual([]);
    expect(canonicalText({ ...rows, sysctls: null })).toBe(
      'TCP 10.96.0.50:80 svcplane, scheduler sh, persistent 10800 s\n  -> 10.1.0.1:8080 weight 3\n',
    );
    expect(rows.virtualServers.get(V4.key)?.origin).toEqual({
      service: 'web/front',
      servicePort: 'http',
      exposure: 'ClusterIP',
      frontend: null,
      drainTimeoutSeconds: null,
    });
  });

  it('gives inside clients of a marked frontend a row of their own, by source hash where ports differ', () => {
    const { rows, refused } = projectIpvs(desiredState([LOCAL], { [LOCAL.key]: 0x53000007 }), ALL_OPTIONS);
    expect(refused).toEqual([]);
    expect(canonicalText({ ...rows, sysctls: null })).toBe(
      [
        'TCP 203.0.113.9:80 svcplane, scheduler wrr, persistent 600 s',
        '  -> 10.1.0.1:8080 weight 1',
        'FWM4 1392508935 svcplane, scheduler sh',
        '  -> 10.1.0.1:8080 weight 1',
        '  -> 10.1.0.2:8080 weight 1',
        '',
      ].join('\n'),
    );
    const inside = [...rows.virtualServers.values()][1];
    expect(inside?.reason).toBe('Service web/front port http, inside clients of TCP 203.0.113.9:80');
    expect(inside?.origin).toEqual({
      service: 'web/front',
      servicePort: 'http',
      exposure: 'LoadBalancer',
      frontend: LOCAL.key,
      drainTimeoutSeconds: null,
    });
  });

  it('keeps the affinity of inside clients as it is where no port is changed', () => {
    const samePort = [endpointOf('10.1.0.1:80'), endpointOf('10.1.0.2:80')];
    const local = { ...LOCAL, realServers: samePort.slice(0, 1), insideRealServers: samePort };
    const { rows } = projectIpvs(desiredState([local], { [local.key]: 0x53000007 }), ALL_OPTIONS);
    for (const { config } of rows.virtualServers.values()) {
      expect(config).toMatchObject({ scheduler: 'wrr', persistenceTimeoutSeconds: 600 });
    }
  });

  it('gives FTP affinity by source hash: persistent, it would take most ports of the address', () => {
    const configOf = (key: string) => {
      const server = virtualServer(key, { persistenceTimeoutSeconds: 600, scheduler: scheduler('wrr') });
      return [...projectIpvs(desiredState([server]), ALL_OPTIONS).rows.virtualServers.values()][0]?.config;
    };
    const hashed = { scheduler: 'sh', persistenceTimeoutSeconds: null };
    const persistent = { scheduler: 'wrr', persistenceTimeoutSeconds: 600 };
    expect(configOf('TCP 203.0.113.9:21')).toMatchObject(hashed);
    expect(configOf('UDP 203.0.113.9:21')).toMatchObject(persistent);
    expect(configOf('TCP 203.0.113.9:22')).toMatchObject(persistent);
  });

  it('gives no row for inside clients of a frontend that it refuses', () => {
    const excludeCIDRs = [parseCidr('203.0.113.0/24')].flatMap((cidr) => cidr ?? []);
    const desired = desiredState([LOCAL], { [LOCAL.key]: 0x53000007 });
    expect(projectIpvs(desired, { ...ALL_OPTIONS, excludeCIDRs }).rows.virtualServers.size).toBe(0);
  });

  it('wants IPv6 forwarding only with an IPv6 virtual server', () => {
    const names = (servers: readonly (typeof V4)[]) => [
      ...(projectIpvs(desiredState(servers), ALL_OPTIONS).rows.sysctls?.keys() ?? []),
    ];
    const always = [
      'net.ipv4.ip_forward',
      'net.ipv4.vs.conntrack',
      'net.ipv4.vs.expire_nodest_conn',
      'net.ipv4.vs.expire_quiescent_template',
    ];
    expect(names([V4])).toEqual(always);
    expect(names([V4, V6])).toEqual([...always, 'net.ipv6.conf.all.forwarding']);
  });

  it('wants strict ARP for IPv4 addresses that others announce, or always, or never', () => {
    const isStrict = (server: VirtualServer, strictARP: 'auto' | boolean) => {
      const { sysctls } = projectIpvs(desiredState([server]), { ...ALL_OPTIONS, strictARP }).rows;
      return [
        sysctls?.get('net.ipv4.conf.all.arp_ignore')?.value,
        sysctls?.get('net.ipv4.conf.all.arp_announce')?.value,
      ];
    };
    const strict = ['1', '2'];
    const lax = [undefined, undefined];
    const external = virtualServer('TCP 203.0.113.9:80', { exposure: 'ExternalIP' });
    expect(isStrict(external, 'auto')).toEqual(strict);
    expect(isStrict(LOCAL, 'auto')).toEqual(strict);
    expect(isStrict({ ...external, bindAddress: false }, 'auto')).toEqual(lax);
    expect(isStrict(virtualServer('TCP [fd00::9]:80', { exposure: 'LoadBalancer' }), 'auto')).toEqual(lax);
    expect(isStrict(V4, 'auto')).toEqual(lax);
    expect(isStrict(V4, true)).toEqual(strict);
    expect(isStrict(external, false)).toEqual(lax);
  });

  it('refuses excluded ranges, and IPv6 where it is off', () => {
    const excluded = parseCidr('10.96.0.0/24');
    const options = { ...ALL_OPTIONS, excludeCIDRs: excluded ? [excluded] : [], ipv6: false };
    const { rows, refused } = projectIpvs(desiredState([V4, V6]), options);
    expect(rows.virtualServers.size).toBe(0);
    expect(refused).toEqual([
      {
        subject: 'Service web/front',
        reason: 'TCP 10.96.0.50:80: left to others, for it lies in 10.96.0.0/24 of excludeCIDRs',
      },
      { subject: 'Service web/front', reason: 'UDP [fd00::50]:53: this node does not serve IPv6' },
    ]);
  });

  it('moves inside clients to another virtual server with their mark', () => {
    const marked = (mark: number) => [
      ...projectIpvs(desiredState([LOCAL], { [LOCAL.key]: mark }), ALL_OPTIONS).rows.virtualServers.values(),
    ];
    const [frontend, inside] = marked(0x53000007);
    expect(inside?.origin?.frontend).toBe(frontend?.key);
    expect(marked(0x53000008).map(({ key }) => key)).toEqual([LOCAL.key, 'FWM4 1392508936']);
  });
});

describe('wantedServers()', () => {
  it('are those of the rows, with the same lists of real servers each time', () => {
    const desired = desiredState([V4, V6, LOCAL], { [LOCAL.key]: 0x53000007 });
    const options = { ...ALL_OPTIONS, ipv6: false };
    const servers = [...wantedServers(desired, options)];
    const rows = [...projectIpvs(desired, options).rows.virtualServers.values()];
    expect(servers.map(({ identity, config }) => ({ identity, config }))).toEqual(
      rows.map(({ identity, config }) => ({ identity, config })),
    );
    for (const [i, { realServers }] of [...wantedServers(desired, options)].entries()) {
      expect(realServers).toBe(servers[i]?.realServers);
      expect(realServers.map(realServerKey)).toEqual([...(rows[i]?.realServers.keys() ?? [])]);
    }
  });
});
