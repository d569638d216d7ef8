import { describe, expect, test } from 'vitest';
import { project } from '../../../src/dataplane/addresses/project.ts';
import { type AddressRows, sortedAddresses, sortedRoutes } from '../../../src/dataplane/addresses/rows.ts';
import { desiredWith, LINK } from './fixtures.ts';

const BIND = { interface: LINK, clusterIPs: 'bind' } as const;
const ROUTE = { interface: LINK, clusterIPs: 'route' } as const;
const addressesOf = (rows: AddressRows) => sortedAddresses(rows).map(([address]) => address);
const routesOf = (rows: AddressRows) => sortedRoutes(rows).map(([prefix, { source }]) => [prefix, source]);

describe('project()', () => {
  test('binds every frontend that asks for it, once per address, and names its Services', () => {
    const { rows, refused } = project(
      desiredWith([
        { address: '10.96.0.50' },
        { address: '10.96.0.50', port: 443 },
        { address: 'fd00::50' },
        { address: '198.51.100.7', exposure: 'ExternalIP', service: 'web/two' },
        { address: '198.51.100.7', port: 443, exposure: 'LoadBalancer', service: 'web/one' },
        { address: '192.0.2.10', exposure: 'NodePort', bindAddress: false },
      ]),
      BIND,
    );
    expect(addressesOf(rows)).toEqual(['10.96.0.50', '198.51.100.7', 'fd00::50']);
    const origins = sortedAddresses(rows).map(([, { origin }]) => origin);
    expect(origins).toEqual(['Service web/front', 'Service web/one, Service web/two', 'Service web/front']);
    expect(rows.link).toEqual({ name: LINK, exists: true, isUp: true, kind: 'dummy', ours: true });
    expect([rows.routes.size, refused]).toEqual([0, []]);
  });

  test('wants no link where nothing is to be bound', () => {
    const { rows } = project(desiredWith([{ address: '192.0.2.10', bindAddress: false }]), BIND);
    expect(rows.link.exists).toBe(false);
  });

  test('routes each ServiceCIDR from the first node address of its family, and binds what is outside', () => {
    const { rows, refused } = project(
      desiredWith(
        [
          { address: '10.96.0.50' },
          { address: 'fd00::50' },
          { address: '10.97.0.1' },
          { address: '10.96.0.9', exposure: 'LoadBalancer' },
          { address: '198.51.100.7', exposure: 'ExternalIP' },
        ],
        { serviceCIDRs: ['10.96.0.0/16', 'fd00::/112'], nodeAddresses: ['192.0.2.10', '192.0.2.11'] },
      ),
      ROUTE,
    );
    expect(routesOf(rows)).toEqual([
      ['10.96.0.0/16', '192.0.2.10'],
      ['fd00::/112', null],
    ]);
    // 10.96.0.0 is the anchor of the routes.
    expect(addressesOf(rows)).toEqual(['10.96.0.0', '10.96.0.9', '10.97.0.1', '198.51.100.7']);
    expect(refused).toEqual([]);
  });

  test.each([
    { serviceCIDRs: ['fd00::/112'], anchors: [] },
    { serviceCIDRs: ['fd00::/112', '10.97.0.0/16', '10.96.0.0/16'], anchors: ['10.97.0.0'] },
  ])('keeps $anchors on the link for routes to $serviceCIDRs', ({ serviceCIDRs, anchors }) => {
    const { rows } = project(desiredWith([{ address: '10.97.0.1' }], { serviceCIDRs }), ROUTE);
    const bound = addressesOf(rows).filter((address) => address !== '10.97.0.1');
    expect(bound).toEqual(anchors);
  });

  test('binds instead of routing where no ServiceCIDR is known, and says so', () => {
    const { rows, refused } = project(desiredWith([{ address: '10.96.0.50' }]), ROUTE);
    expect([addressesOf(rows), routesOf(rows)]).toEqual([['10.96.0.50'], []]);
    expect(refused).toEqual([
      { subject: 'clusterIPs: route', reason: expect.stringContaining('no ServiceCIDR is known') },
    ]);
  });

  test('does not route a range that the node itself is in', () => {
    const { rows, refused } = project(
      desiredWith([{ address: '10.96.0.50' }], {
        serviceCIDRs: ['10.0.0.0/8'],
        nodeAddresses: ['10.1.2.3'],
      }),
      ROUTE,
    );
    expect([addressesOf(rows), routesOf(rows)]).toEqual([['10.96.0.50'], []]);
    expect(refused).toEqual([
      {
        subject: 'ServiceCIDR 10.0.0.0/8',
        reason: expect.stringContaining('node address 10.1.2.3 is in it'),
      },
    ]);
  });
});
