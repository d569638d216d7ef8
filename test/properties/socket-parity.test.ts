import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { projectSocklb } from '../../src/dataplane/socklb/project.ts';
import { familyOf } from '../../src/model/address.ts';
import { cidrContains, specialAddress } from '../../src/model/cidr.ts';
import type { DesiredState } from '../../src/model/desired-state.ts';
import type { VirtualServer } from '../../src/model/virtual-server.ts';
import { traceSocket } from '../../src/trace/sockets.ts';
import { type Connection, prepareTrace } from '../../src/trace/trace.ts';
import { OPTIONS } from '../dataplane/socklb/build.ts';
import { desiredOf } from '../derive.ts';
import { address, traceRowsOf } from '../trace/build.ts';
import { objectsCase } from './arbitrary-objects.ts';

/** Clients on this node: its own processes, and pods of it in either family. */
const PODS = ['10.244.1.20', '10.244.1.99', 'fd00:244:1::20'].map(address);

const desiredStates = fc
  .record({
    objects: objectsCase.map(({ objects }) => objects.map((object) => ({ ...object }))),
    off: fc.constantFrom(null, 'TCP 10.96.0.1:80'),
  })
  .map(({ objects, off }): DesiredState => {
    const desired = desiredOf(objects, { clusterCIDRs: ['10.244.0.0/16', 'fd00:244::/32'] });
    const servers = [...desired.virtualServers].map(
      ([key, server]) => [key, { ...server, socketLoadBalancer: key !== off }] as const,
    );
    return { ...desired, virtualServers: new Map(servers) };
  });

/** Everybody on this node who may connect to a frontend. */
function clientsOf(
  { address: to, protocol, port }: VirtualServer,
  desired: DesiredState,
): readonly Connection[] {
  const pods = PODS.filter(
    (pod) =>
      !desired.nodeAddresses.includes(pod) &&
      desired.podRanges.node.some((range) => cidrContains(range, pod)),
  );
  return [
    ...desired.nodeAddresses.map((source) => ({ source, fromHost: true })),
    ...pods.map((source) => ({ source, fromHost: false })),
  ]
    .filter(({ source }) => familyOf(source) === familyOf(to))
    .map((client) => ({ ...client, destination: to, protocol, port }));
}

describe('sockets and IPVS', () => {
  it('reach the same real servers, from wherever on the node, but for what sockets refuse', () => {
    let compared = 0;
    fc.assert(
      fc.property(desiredStates, (desired) => {
        const { rows, refused } = projectSocklb(desired, OPTIONS);
        const trace = prepareTrace(
          traceRowsOf(desired, { clusterCIDRs: ['10.244.0.0/16', 'fd00:244::/32'] }),
        );
        for (const virtualServer of desired.virtualServers.values()) {
          const isRefused = refused.some(({ reason }) => reason.startsWith(`${virtualServer.key} of `));
          for (const connection of clientsOf(virtualServer, desired)) {
            const sockets = traceSocket(rows, connection, !connection.fromHost);
            if (sockets.verdict === 'passed') expect(isRefused).toBe(true);
            else {
              const packets = trace(connection);
              const candidates = packets.candidates.map(({ key }) => key);
              expect([connection, sockets.verdict, sockets.candidates]).toEqual([
                connection,
                packets.verdict,
                candidates,
              ]);
              compared += 1;
            }
          }
        }
      }),
    );
    expect(compared).toBeGreaterThan(100);
  });

  it('are no frontend but those of IPVS, and NodePorts of the loopback address', () => {
    fc.assert(
      fc.property(desiredStates, (desired) => {
        for (const { key, address: to, port } of projectSocklb(desired, OPTIONS).rows.services.values()) {
          if (desired.virtualServers.has(key)) continue;
          expect(specialAddress(to)).toBe('loopback');
          const ports = [...desired.virtualServers.values()]
            .filter(({ exposure }) => exposure === 'NodePort')
            .map((each) => each.port);
          expect(ports).toContain(port);
        }
      }),
    );
  });
});
