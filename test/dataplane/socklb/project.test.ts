import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  CAPACITY,
  memoisedFrontends,
  type ProjectOptions,
  projectSocklb,
  UDP_FLOW_SECONDS,
} from '../../../src/dataplane/socklb/project.ts';
import { modeOf, serviceText, sortedServices, switchText } from '../../../src/dataplane/socklb/rows.ts';
import type { DesiredState } from '../../../src/model/desired-state.ts';
import { parseScheduler } from '../../../src/model/scheduler.ts';
import type { VirtualServer } from '../../../src/model/virtual-server.ts';
import { desiredOf } from '../../derive.ts';
import { node, type ServiceShape, service, slice } from '../../objects.ts';
import { cidrs } from '../nftables/build.ts';
import { OPTIONS } from './build.ts';

const DAEMON_SET = join(import.meta.dirname, '../../../deploy/kustomize/daemonset.yaml');
const LOCAL = { address: '10.244.1.20', node: 'n0' };
const REMOTE = { address: '10.244.2.30', node: 'n1' };
const BOTH = '10.244.1.20:8080 10.244.2.30:8080';

function desired(shape: ServiceShape = {}): DesiredState {
  return desiredOf([service(shape), slice({ endpoints: [LOCAL, REMOTE] }), node()]);
}

function linesOf(state: DesiredState, options: Partial<ProjectOptions> = {}) {
  const { rows, refused } = projectSocklb(state, { ...OPTIONS, ...options });
  return { lines: sortedServices(rows).map(serviceText), refused: refused.map(({ reason }) => reason) };
}

/** The same with some fields of each virtual server otherwise. */
function changed(change: Partial<VirtualServer>): DesiredState {
  const state = desired();
  const servers = [...state.virtualServers].map(([key, server]) => [key, { ...server, ...change }] as const);
  return { ...state, virtualServers: new Map(servers) };
}

function scheduled(name: string): DesiredState {
  const scheduler = parseScheduler(name);
  if (!scheduler) throw new Error(name);
  return changed({ scheduler });
}

const NODE_PORT = { spec: { type: 'NodePort', ports: [{ name: 'http', port: 80, nodePort: 30080 }] } };
const MINE = 'TCP 10.96.0.50:80 of web/front';

describe('projectSocklb()', () => {
  it('serves a ClusterIP with its endpoints, weights and affinity', () => {
    expect(linesOf(desired())).toEqual({ lines: [`TCP 10.96.0.50:80 random ${BOTH}`], refused: [] });
    const { lines } = linesOf(desired({ spec: { sessionAffinity: 'ClientIP' } }));
    expect(lines).toEqual([`TCP 10.96.0.50:80 random affinity 10800 ${BOTH}`]);
  });

  it('refuses at a frontend without endpoints', () => {
    const { lines } = linesOf(desiredOf([service(), node()]));
    expect(lines).toEqual(['TCP 10.96.0.50:80 random']);
  });

  it.each([
    { outcome: 'unsupported', which: '' },
    { outcome: 'partly', which: 'of other network namespaces ' },
  ] as const)('says once that UDP sockets $which stay with endpoints that are gone', ({ outcome, which }) => {
    const ending = { outcome, reason: 'EPERM' };
    const told = `UDP sockets ${which}stay connected to an endpoint that is gone: EPERM`;
    expect(linesOf(changed({ protocol: 'UDP' }), { ending }).refused).toEqual([told]);
    expect(linesOf(desired(), { ending }).refused).toEqual([]);
    expect(linesOf(changed({ protocol: 'UDP' }), { ending: { outcome: 'supported' } }).refused).toEqual([]);
    expect(linesOf(changed({ protocol: 'UDP' }), { ending, mode: 'off' }).refused).toEqual([]);
    // Those of pods are not balanced then.
    const ofHost = linesOf(changed({ protocol: 'UDP' }), { ending, mode: 'hostOnly' }).refused;
    expect(ofHost).toEqual(outcome === 'partly' ? [] : [told]);
  });

  it('leaves UDP to IPVS, and says so once, where caution is asked for and not all sockets can be ended', () => {
    const cautious = { isCautious: true, ending: { outcome: 'partly', reason: 'EPERM' } } as const;
    const why =
      'UDP is left to IPVS, for sockets of other network namespaces could not be told that their endpoint is gone: EPERM';
    expect(linesOf(changed({ protocol: 'UDP' }), cautious)).toEqual({ lines: [], refused: [why] });
    expect(linesOf(desired(), cautious).lines).toHaveLength(1);
    expect(linesOf(desired(), cautious).refused).toEqual([]);
    const able = { ...cautious, ending: { outcome: 'supported' } } as const;
    expect(linesOf(changed({ protocol: 'UDP' }), able).lines).toHaveLength(1);
  });

  it('keeps an endpoint of weight 0 for what it has', () => {
    const [server] = desired().virtualServers.values();
    const [first, ...rest] = server?.realServers ?? [];
    const realServers = first ? [{ ...first, weight: 0 }, ...rest] : [];
    expect(linesOf(changed({ realServers })).lines).toEqual([
      'TCP 10.96.0.50:80 random 10.244.1.20:8080 weight 0 10.244.2.30:8080',
    ]);
  });

  it('serves a NodePort by the loopback address, too', () => {
    expect(linesOf(desired(NODE_PORT)).lines).toEqual([
      `TCP 10.96.0.50:80 random ${BOTH}`,
      `TCP 127.0.0.1:30080 random ${BOTH}`,
      `TCP 172.16.0.5:30080 random ${BOTH}`,
    ]);
  });

  it('serves a NodePort of IPv6 by ::1', () => {
    const spec = { ...NODE_PORT.spec, clusterIP: 'fd00::50', clusterIPs: ['fd00::50'] };
    const objects = [
      service({ spec }),
      slice({ addressType: 'IPv6', endpoints: [{ address: 'fd00:244::20' }] }),
      node({ addresses: ['2001:db8::5'] }),
    ];
    expect(linesOf(desiredOf(objects)).lines).toEqual([
      'TCP [::1]:30080 random [fd00:244::20]:8080',
      'TCP [2001:db8::5]:30080 random [fd00:244::20]:8080',
      'TCP [fd00::50]:80 random [fd00:244::20]:8080',
    ]);
  });

  it.each([
    { name: 'primary', nodePortAddresses: 'primary', has: false },
    { name: 'ranges without it', nodePortAddresses: cidrs('172.16.0.0/16'), has: false },
    { name: 'ranges with it', nodePortAddresses: cidrs('172.16.0.0/16', '127.0.0.0/8'), has: true },
  ] as const)('serves no NodePort by an address it is not meant for: $name', ({ nodePortAddresses, has }) => {
    const { lines } = linesOf(desired(NODE_PORT), { nodePortAddresses });
    expect(lines.some((line) => line.startsWith('TCP 127.0.0.1:30080'))).toBe(has);
  });

  it('gives sockets of the node all endpoints of an external frontend of policy Local', () => {
    const spec = { externalIPs: ['198.51.100.7'], externalTrafficPolicy: 'Local', type: 'LoadBalancer' };
    expect(linesOf(desired({ spec })).lines).toContain(`TCP 198.51.100.7:80 random ${BOTH}`);
  });

  it('gives a ClusterIP of policy Local the endpoints of this node alone', () => {
    const { lines } = linesOf(desired({ spec: { internalTrafficPolicy: 'Local' } }));
    expect(lines).toEqual(['TCP 10.96.0.50:80 random 10.244.1.20:8080']);
  });

  it.each([
    {
      name: 'SCTP',
      state: desired({ spec: { ports: [{ name: 'http', port: 80, protocol: 'SCTP' }] } }),
      reason: 'SCTP 10.96.0.50:80 of web/front: left to IPVS, for sockets of SCTP have no hooks',
    },
    {
      name: 'the annotation off',
      state: desired({ metadata: { annotations: { 'svcplane.io/socket-load-balancer': 'off' } } }),
      reason: `${MINE}: left to IPVS, as its annotation svcplane.io/socket-load-balancer says`,
    },
    {
      name: 'source ranges',
      state: changed({ sourceRanges: cidrs('192.0.2.0/24') }),
      reason: `${MINE}: left to IPVS, for a socket that connects has no source address yet`,
    },
    {
      name: 'the address of another node',
      state: changed({ otherNode: 'n1' }),
      reason: `${MINE}: left to node n1, whose own address it is`,
    },
    {
      name: 'a scheduler that spares endpoints',
      state: scheduled('fo'),
      reason: `${MINE}: left to IPVS, for scheduler fo spares some of the endpoints`,
    },
  ])('refuses $name', ({ state, reason }) => {
    expect(linesOf(state)).toEqual({ lines: [], refused: [reason] });
  });

  it('refuses what is excluded', () => {
    expect(linesOf(desired(), { excludeCIDRs: cidrs('10.96.0.0/16') })).toEqual({
      lines: [],
      refused: [`${MINE}: left to others, for it lies in 10.96.0.0/16 of excludeCIDRs`],
    });
  });

  it.each([
    ['rr', 'random', false],
    ['wrr', 'random', false],
    ['sh', 'maglev', false],
    ['mh', 'maglev', false],
    ['lc', 'random', true],
    ['wlc', 'random', true],
    ['sed', 'random', true],
    ['nq', 'random', true],
    ['twos', 'random', true],
  ])('honours %s as %s', (name, algorithm, isTold) => {
    const { lines, refused } = linesOf(scheduled(name));
    expect(lines).toEqual([`TCP 10.96.0.50:80 ${algorithm} ${BOTH}`]);
    const reason = `${MINE}: sockets choose at random by weight: scheduler ${name} needs what is not known when a socket connects`;
    expect(refused).toEqual(isTold ? [reason] : []);
  });

  it.each([
    { map: '0 frontends', capacity: { services: 0 } },
    { map: '1 slots', capacity: { slots: 1 } },
    { map: '1 backends', capacity: { backends: 1 } },
  ])('leaves to IPVS what the maps have no room for: $map', ({ map, capacity }) => {
    const room = { services: 9, slots: 9, backends: 9, tables: 9, ...capacity };
    expect(linesOf(desired(), { capacity: room })).toEqual({
      lines: [],
      refused: [`${MINE}: left to IPVS, for TCP 10.96.0.50:80 would be one too many for the ${map}`],
    });
  });

  it('leaves to IPVS what there are no more Maglev tables for', () => {
    const capacity = { services: 9, slots: 9, backends: 9, tables: 0 };
    expect(linesOf(scheduled('mh'), { capacity }).lines).toEqual([]);
    expect(linesOf(desired(), { capacity }).lines).toHaveLength(1);
  });

  it('has no more Maglev tables than the Pod has memory for', () => {
    const [manifest, mib] = [readFileSync(DAEMON_SET, 'utf8'), 1024 * 1024];
    const limit = Number(/limits:\s+memory: "(\d+)Mi"/.exec(manifest)?.[1]) * mib;
    // Pages that the kernel takes for MAGLEV_SIZE u32 and what goes with them, as measured.
    const tables = CAPACITY.tables * 17 * 4096;
    // The other maps, and the process at its peak with 10,000 Services: docs/performance.md.
    expect(tables + 32 * mib + 206 * mib).toBeLessThan(0.75 * limit);
  });

  it('names the network namespace of the node with hostOnly, and never otherwise', () => {
    const flags = (['on', 'off', 'hostOnly'] as const).map((mode) => {
      return projectSocklb(desired(), { ...OPTIONS, mode, hostNamespace: 17 }).rows.config.flags;
    });
    expect(flags).toEqual([0, 1, 4 * 17 + 2]);
    expect(flags.map(switchText)).toEqual(['on', 'off', 'hostOnly of namespace 17']);
    expect([2, 5, 6, 4].map(switchText)).toEqual([
      'hostOnly',
      'flags 5',
      'hostOnly of namespace 1',
      'flags 4',
    ]);
  });

  it('serves nothing while it is off', () => {
    const { rows, refused } = projectSocklb(desired(), { ...OPTIONS, mode: 'off' });
    expect([rows.services.size, modeOf(rows.config.flags), refused]).toEqual([0, 'off', []]);
    expect(rows.config.udpFlowSeconds).toBe(UDP_FLOW_SECONDS);
  });

  it('gives the same rows again for the same virtual server', () => {
    const state = desired();
    const frontendOf = memoisedFrontends(OPTIONS);
    const [first, second] = [0, 1].map(() => [
      ...projectSocklb(state, OPTIONS, frontendOf).rows.services.values(),
    ]);
    expect(first?.[0]).toBe(second?.[0]);
  });
});
