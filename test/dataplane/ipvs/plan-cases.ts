import type { PlanOptions } from '../../../src/dataplane/ipvs/plan.ts';
import type { IpvsRows } from '../../../src/dataplane/ipvs/rows.ts';
import { NOW_MS, real, row, rows, scheduler } from './build.ts';
import { BREAKING, FLOWS } from './plan-break-cases.ts';

/** Observed and wanted rows, and the plan between them, one `op subject: detail` a line. */
export interface PlanCase {
  readonly name: string;
  readonly observed: IpvsRows;
  readonly wanted: IpvsRows;
  readonly options?: Partial<PlanOptions>;
  readonly make?: readonly string[];
  readonly break?: readonly string[];
  readonly conflicts?: readonly string[];
}

const WEB = 'TCP 10.96.0.50:80';
const DNS = 'UDP 10.96.0.10:53';
const A = '10.1.0.1:80';
const B = '10.1.0.2:80';
const NONE = rows([]);
const wanted = rows([row(WEB, { realServers: [real(A)] })]);

function withEndpoint(fields: Parameters<typeof real>[1]): IpvsRows {
  return rows([row(WEB, { realServers: [real(A), real(B, fields)] })]);
}

const ADDING: readonly PlanCase[] = [
  {
    name: 'adds each virtual server with its real servers, the API server first, then DNS, then by address',
    observed: NONE,
    wanted: rows([
      row('TCP 10.96.0.9:80', { realServers: [real(B), real(A)] }),
      row(DNS, { service: 'kube-system/kube-dns', realServers: [real('10.1.0.9:53')] }),
      row('TCP 10.96.0.200:443', { service: 'default/kubernetes', realServers: [real('192.0.2.1:6443')] }),
    ]),
    make: [
      'addVirtualServer TCP 10.96.0.200:443: scheduler rr',
      'addRealServer TCP 10.96.0.200:443 -> 192.0.2.1:6443: weight 1',
      `addVirtualServer ${DNS}: scheduler rr`,
      `addRealServer ${DNS} -> 10.1.0.9:53: weight 1`,
      'addVirtualServer TCP 10.96.0.9:80: scheduler rr',
      `addRealServer TCP 10.96.0.9:80 -> ${A}: weight 1`,
      `addRealServer TCP 10.96.0.9:80 -> ${B}: weight 1`,
    ],
  },
  {
    name: 'adds one real server to a virtual server that is there',
    observed: wanted,
    wanted: withEndpoint({}),
    make: [`addRealServer ${WEB} -> ${B}: weight 1`],
  },
  {
    name: 'sets sysctls that differ before anything else, and names those that cannot be read',
    observed: rows([], { sysctls: { 'net.ipv4.ip_forward': '1', 'net.ipv4.vs.conntrack': '0' } }),
    wanted: rows([row(WEB)], {
      sysctls: {
        'net.ipv4.vs.conntrack': '1',
        'net.ipv4.ip_forward': '1',
        'net.ipv6.conf.all.forwarding': '1',
      },
    }),
    make: ['setSysctl sysctl net.ipv4.vs.conntrack: 0 → 1', `addVirtualServer ${WEB}: scheduler rr`],
    conflicts: [
      `sysctl net.ipv6.conf.all.forwarding: can't be read in this network namespace; it should be 1`,
    ],
  },
  {
    name: 'leaves sysctls alone where none is known',
    observed: NONE,
    wanted: rows([], { sysctls: { 'net.ipv4.vs.conntrack': '1' } }),
  },
  {
    name: 'uses the default for a scheduler that the kernel does not have, and says so',
    observed: rows([], { unavailableSchedulers: ['mh'] }),
    wanted: rows([row(WEB, { config: { scheduler: scheduler('mh') } })]),
    make: [`addVirtualServer ${WEB}: scheduler rr`],
    conflicts: [
      `Service web/front: ${WEB}: this kernel does not have scheduler mh (module ip_vs_mh); rr serves instead`,
    ],
  },
  {
    name: 'asks for the default scheduler even if the kernel does not have it',
    observed: rows([], { unavailableSchedulers: ['rr'] }),
    wanted: rows([row(WEB)]),
    make: [`addVirtualServer ${WEB}: scheduler rr`],
  },
];

const CHANGING: readonly PlanCase[] = [
  {
    name: 'changes scheduler and affinity in place',
    observed: wanted,
    wanted: rows([
      row(WEB, {
        config: { scheduler: scheduler('wrr'), persistenceTimeoutSeconds: 600 },
        realServers: [real(A)],
      }),
    ]),
    make: [`setVirtualServer ${WEB}: scheduler rr → wrr, persistent none → 600 s`],
  },
  {
    name: 'changes weight, thresholds, forwarding and tunnel in place',
    observed: withEndpoint({
      weight: 5,
      upperThreshold: 9,
      lowerThreshold: 3,
      forwarding: 'tunnel',
      tunnel: { type: 'gue', port: 6080, checksum: 'csum' },
    }),
    wanted: withEndpoint({}),
    make: [
      `setRealServer ${WEB} -> ${B}: weight 5 → 1, forwarding tunnel → none, upper threshold 9 → none, lower threshold 3 → none, tunnel gue port 6080 csum → none`,
    ],
  },
  {
    name: 'gives a draining real server that is wanted again its weight back',
    observed: withEndpoint({ weight: 0, activeConnections: 2, drainStartedAtMs: NOW_MS - 1000 }),
    wanted: withEndpoint({}),
    make: [`setRealServer ${WEB} -> ${B}: weight 0 → 1`],
  },
  {
    name: 'adopts what somebody made exactly as wanted',
    observed: rows([row(WEB, { owner: 'foreign', realServers: [real(A)] })]),
    wanted,
    make: [`adoptVirtualServer ${WEB}: owner foreign → Service web/front port http`],
  },
  {
    name: 'notes that a virtual server is of another Service now',
    observed: rows([row(WEB, { service: 'web/old', realServers: [real(A)] })]),
    wanted,
    make: [`adoptVirtualServer ${WEB}: owner Service web/old port http → Service web/front port http`],
  },
  {
    name: 'leaves a foreign virtual server on a wanted key alone, and names it',
    observed: rows([
      row(WEB, {
        owner: 'foreign',
        config: { scheduler: scheduler('wlc') },
        realServers: [real(A), real(B)],
      }),
    ]),
    wanted,
    conflicts: [
      `Service web/front: ${WEB} belongs to somebody else (scheduler wlc, 2 real servers); left alone. Delete it, or leave its address to its owner with excludeCIDRs`,
    ],
  },
  {
    name: 'ignores foreign virtual servers that nobody wants',
    observed: rows([row('FWM4 17', { owner: 'foreign', realServers: [real('10.1.0.1:0')] })]),
    wanted: NONE,
  },
];

const ARP = 'net.ipv4.conf.all.arp_ignore';
const ARP_SET = { [ARP]: { value: '1', changed: { before: '0', set: '1' } } };
const BOUND = 'TCP 203.0.113.9:80';

const RELEASING: readonly PlanCase[] = [
  {
    name: 'restores a sysctl of strict ARP with the last address that others announce',
    observed: rows([row(BOUND, { exposure: 'LoadBalancer' })], { sysctls: ARP_SET }),
    wanted: rows([], { sysctls: {} }),
    break: [`deleteVirtualServer ${BOUND}: `, `restoreSysctl sysctl ${ARP}: 1 → 0`],
  },
  {
    name: 'keeps it while such an address stays for its connections',
    observed: rows(
      [
        row(BOUND, {
          exposure: 'LoadBalancer',
          realServers: [real(A, { weight: 0, activeConnections: 1, drainStartedAtMs: NOW_MS })],
        }),
      ],
      { sysctls: ARP_SET },
    ),
    wanted: rows([], { sysctls: {} }),
  },
  {
    name: 'leaves a sysctl that is wanted no longer as it is if somebody has changed it since, or it is forwarding',
    observed: rows([], {
      sysctls: {
        [ARP]: { value: '2', changed: { before: '0', set: '1' } },
        'net.ipv6.conf.all.forwarding': { value: '1', changed: { before: '0', set: '1' } },
      },
    }),
    wanted: rows([], { sysctls: {} }),
  },
];

const MARK = 'FWM4 1392508929';
const OUTSIDE = 'TCP 203.0.113.9:80';
const OTHER = 'TCP 203.0.113.7:80';

const INSIDE: readonly PlanCase[] = [
  {
    name: 'adds the row for inside clients behind its frontend',
    observed: NONE,
    wanted: rows([
      row(MARK, { frontend: OUTSIDE, realServers: [real(A), real(B)] }),
      row(OUTSIDE, { realServers: [real(A)] }),
    ]),
    make: [
      `addVirtualServer ${OUTSIDE}: scheduler rr`,
      `addRealServer ${OUTSIDE} -> ${A}: weight 1`,
      `addVirtualServer ${MARK}: scheduler rr`,
      `addRealServer ${MARK} -> ${A}: weight 1`,
      `addRealServer ${MARK} -> ${B}: weight 1`,
    ],
  },
  {
    name: 'takes a mark that changes hands from all endpoints of its former frontend before anything else',
    observed: rows([
      row(MARK, { frontend: OTHER, realServers: [real(A, { activeConnections: 2 })] }),
      row('FWM4 1392508930', { frontend: OUTSIDE, realServers: [real(B)] }),
    ]),
    wanted: rows([row(MARK, { frontend: OUTSIDE, realServers: [real(B)] })]),
    make: [
      `deleteRealServer ${MARK} -> ${A}: 2 active connections`,
      `adoptVirtualServer ${MARK}: owner Service web/front port http, inside clients of ${OTHER} → Service web/front port http, inside clients of ${OUTSIDE}`,
      `addRealServer ${MARK} -> ${B}: weight 1`,
    ],
    break: ['deleteVirtualServer FWM4 1392508930: with 1 real server'],
  },
  {
    name: 'drains the row for inside clients of TCP',
    observed: rows([row(MARK, { frontend: OUTSIDE, realServers: [real(A, { activeConnections: 2 })] })]),
    wanted: NONE,
    break: [`drainRealServer ${MARK} -> ${A}: weight 1 → 0, 2 active connections`],
  },
];

export const PLAN_CASES: readonly PlanCase[] = [
  ...ADDING,
  ...CHANGING,
  ...INSIDE,
  ...BREAKING,
  ...RELEASING,
  ...FLOWS,
];
