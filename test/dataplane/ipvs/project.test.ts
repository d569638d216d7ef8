import { describe, expect, it } from 'vitest';
import { createIpvsDataplane } from '../../../src/dataplane/ipvs/index.ts';
import { projectIpvs } from '../../../src/dataplane/ipvs/project.ts';
import { canonicalText } from '../../../src/dataplane/ipvs/text.ts';
import { parseCidr } from '../../../src/model/cidr.ts';
import { FakeIpvsKernel } from '../../fakes/ipvs-kernel.ts';
import { MemoryLedger } from '../../fakes/ledger.ts';
import { ALL_OPTIONS, desiredState, endpointOf, scheduler, virtualServer } from './build.ts';

const V4 = virtualServer('TCP 10.96.0.50:80', {
  scheduler: scheduler('sh'),
  persistenceTimeoutSeconds: 10_800,
  realServers: [endpointOf('10.1.0.1:8080', 3)],
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
    });
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

  it('refuses excluded ranges, and IPv6 where it is off', () => {
    const excluded = parseCidr('10.96.0.0/24');
    const options = { excludeCIDRs: excluded ? [excluded] : [], ipv6: false };
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

  it('gives an unchanged virtual server the same row again', () => {
    const resources = { kernel: new FakeIpvsKernel(), ledger: new MemoryLedger(), nowMs: () => 0 };
    const { project } = createIpvsDataplane(resources, ALL_OPTIONS);
    const [first, second] = [project(desiredState([V4])), project(desiredState([V4, V6]))];
    expect(second.rows.virtualServers.get(V4.key)).toBe(first.rows.virtualServers.get(V4.key));
  });
});
