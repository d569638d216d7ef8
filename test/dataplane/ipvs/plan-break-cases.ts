import type { IpvsRows } from '../../../src/dataplane/ipvs/rows.ts';
import { NOW_MS, real, row, rows } from './build.ts';
import type { PlanCase } from './plan-cases.ts';

const WEB = 'TCP 10.96.0.50:80';
const DNS = 'UDP 10.96.0.10:53';
const MARK = 'FWM4 1392508929';
const A = '10.1.0.1:80';
const B = '10.1.0.2:80';
const NONE = rows([]);
const wanted = rows([row(WEB, { realServers: [real(A)] })]);

function withEndpoint(
  fields: Parameters<typeof real>[1],
  drainTimeoutSeconds: number | null = null,
): IpvsRows {
  return rows([row(WEB, { realServers: [real(A), real(B, fields)], drainTimeoutSeconds })]);
}

/** What is wanted no longer: drained, waited for, deleted. */
export const BREAKING: readonly PlanCase[] = [
  {
    name: 'deletes an unwanted real server without connections',
    observed: withEndpoint({}),
    wanted,
    break: [`deleteRealServer ${WEB} -> ${B}: `],
  },
  {
    name: 'drains an unwanted real server with active connections',
    observed: withEndpoint({ activeConnections: 2 }),
    wanted,
    break: [`drainRealServer ${WEB} -> ${B}: weight 1 → 0, 2 active connections`],
  },
  {
    name: 'waits for the connections of a draining real server',
    observed: withEndpoint({ weight: 0, activeConnections: 1, drainStartedAtMs: NOW_MS - 59_999 }),
    wanted,
  },
  {
    name: 'deletes a draining real server at its deadline',
    observed: withEndpoint({ weight: 0, activeConnections: 1, drainStartedAtMs: NOW_MS - 60_000 }),
    wanted,
    break: [`deleteRealServer ${WEB} -> ${B}: 1 active connection`],
  },
  {
    name: 'drains an unwanted real server with connections that open or close',
    observed: withEndpoint({ inactiveConnections: 1 }),
    wanted,
    break: [`drainRealServer ${WEB} -> ${B}: weight 1 → 0, 1 inactive connection`],
  },
  {
    name: 'waits for connections that open, as long as it takes to open one',
    observed: withEndpoint({ weight: 0, inactiveConnections: 1, drainStartedAtMs: NOW_MS - 2999 }),
    wanted,
  },
  {
    name: 'deletes a draining real server whose connections have been closing for longer',
    observed: withEndpoint({ weight: 0, inactiveConnections: 1, drainStartedAtMs: NOW_MS - 3000 }),
    wanted,
    break: [`deleteRealServer ${WEB} -> ${B}: 1 inactive connection`],
  },
  {
    name: 'waits for connections that open no longer than a drain may last',
    observed: withEndpoint({
      weight: 0,
      inactiveConnections: 1,
      drainStartedAtMs: NOW_MS - 1000,
      timeoutSeconds: 1,
    }),
    wanted,
    break: [`deleteRealServer ${WEB} -> ${B}: 1 inactive connection`],
  },
  {
    name: 'drains an unwanted virtual server with connections that open or close',
    observed: withEndpoint({ inactiveConnections: 1 }),
    wanted: NONE,
    break: [
      `deleteRealServer ${WEB} -> ${A}: `,
      `drainRealServer ${WEB} -> ${B}: weight 1 → 0, 1 inactive connection`,
    ],
  },
  {
    name: 'drains for as long as the Service says',
    observed: withEndpoint({ activeConnections: 2 }),
    wanted: rows([row(WEB, { realServers: [real(A)], drainTimeoutSeconds: 90 })]),
    make: [`adoptVirtualServer ${WEB}: drain timeout default → 90 s`],
    break: [`drainRealServer ${WEB} -> ${B}: weight 1 → 0, 2 active connections, at most 90 s`],
  },
  {
    name: 'does not drain where the Service says 0',
    observed: withEndpoint({ activeConnections: 2 }, 0),
    wanted: rows([row(WEB, { realServers: [real(A)], drainTimeoutSeconds: 0 })]),
    break: [`deleteRealServer ${WEB} -> ${B}: 2 active connections`],
  },
  {
    name: 'deletes a virtual server at once whose Service said 0',
    observed: withEndpoint({ activeConnections: 2 }, 0),
    wanted: NONE,
    break: [`deleteVirtualServer ${WEB}: with 2 real servers`],
  },
  {
    name: 'drains a virtual server for as long as its Service said',
    observed: withEndpoint({ activeConnections: 2 }, 90),
    wanted: NONE,
    break: [
      `deleteRealServer ${WEB} -> ${A}: `,
      `drainRealServer ${WEB} -> ${B}: weight 1 → 0, 2 active connections, at most 90 s`,
    ],
  },
  {
    name: 'waits for a drain as long as it may last since it began, whatever the Service says now',
    observed: withEndpoint(
      { weight: 0, activeConnections: 1, drainStartedAtMs: NOW_MS - 89_999, timeoutSeconds: 90 },
      0,
    ),
    wanted: rows([row(WEB, { realServers: [real(A)], drainTimeoutSeconds: 0 })]),
  },
  {
    name: 'deletes a draining real server at a deadline of its own',
    observed: withEndpoint({
      weight: 0,
      activeConnections: 1,
      drainStartedAtMs: NOW_MS - 5000,
      timeoutSeconds: 5,
    }),
    wanted,
    break: [`deleteRealServer ${WEB} -> ${B}: 1 active connection`],
  },
  {
    name: 'starts the deadline anew where the ledger has no start',
    observed: withEndpoint({ weight: 0, activeConnections: 1 }),
    wanted,
    break: [`drainRealServer ${WEB} -> ${B}: weight 0 → 0, 1 active connection`],
  },
  {
    name: 'does not drain UDP',
    observed: rows([row(DNS, { realServers: [real('10.1.0.9:53', { activeConnections: 3 })] })]),
    wanted: rows([row(DNS)]),
    break: [`deleteRealServer ${DNS} -> 10.1.0.9:53: 3 active connections`, `deleteFlows ${DNS}: all`],
  },
  {
    name: 'deletes an unwanted virtual server at once if no connection is worth waiting for',
    observed: withEndpoint({}),
    wanted: NONE,
    break: [`deleteVirtualServer ${WEB}: with 2 real servers`],
  },
  {
    name: 'drains an unwanted virtual server, and takes it from those without connections',
    observed: withEndpoint({ activeConnections: 1 }),
    wanted: NONE,
    break: [
      `deleteRealServer ${WEB} -> ${A}: `,
      `drainRealServer ${WEB} -> ${B}: weight 1 → 0, 1 active connection`,
    ],
  },
  {
    name: 'waits for the connections of an unwanted virtual server',
    observed: rows([
      row(WEB, {
        realServers: [real(B, { weight: 0, activeConnections: 1, drainStartedAtMs: NOW_MS - 59_999 })],
      }),
    ]),
    wanted: NONE,
  },
  {
    name: 'deletes an unwanted virtual server with its connections unless it is to drain',
    observed: withEndpoint({ activeConnections: 1 }),
    wanted: NONE,
    options: { drainDeletedServices: false },
    break: [`deleteVirtualServer ${WEB}: with 2 real servers`],
  },
  {
    name: 'breaks in the reverse of the order of making',
    observed: rows([
      row('TCP 10.96.0.200:443', { service: 'default/kubernetes' }),
      row('TCP 10.96.0.9:80'),
      row(DNS),
    ]),
    wanted: NONE,
    break: [
      'deleteVirtualServer TCP 10.96.0.9:80: ',
      `deleteVirtualServer ${DNS}: `,
      'deleteVirtualServer TCP 10.96.0.200:443: ',
      `deleteFlows ${DNS}: all`,
    ],
  },
];

const D1 = real('10.1.0.1:53');
const D2 = real('10.1.0.2:53');

/** What conntrack is to forget. */
export const FLOWS: readonly PlanCase[] = [
  {
    name: 'deletes flows behind the endpoints, one operation per frontend, and keeps those that are served',
    observed: rows([
      row(DNS, { realServers: [D1, D2, real('10.1.0.3:53'), real('10.1.0.4:53')] }),
      row('SCTP 10.96.0.11:9'),
      row(WEB, { realServers: [real(A)] }),
    ]),
    wanted: rows([row(DNS, { realServers: [D2, D1] }), row(WEB)]),
    break: [
      `deleteRealServer ${WEB} -> ${A}: `,
      'deleteVirtualServer SCTP 10.96.0.11:9: ',
      `deleteRealServer ${DNS} -> 10.1.0.3:53: `,
      `deleteRealServer ${DNS} -> 10.1.0.4:53: `,
      `deleteFlows ${DNS}: all but those of 2 real servers`,
      'deleteFlows SCTP 10.96.0.11:9: all',
    ],
  },
  {
    name: 'deletes flows of a frontend when its inside clients lose an endpoint, and keeps those of both rows',
    observed: rows([
      row(DNS, { realServers: [D1] }),
      row(MARK, { frontend: DNS, realServers: [D1, D2, real('10.1.0.3:53')] }),
    ]),
    wanted: rows([row(DNS, { realServers: [D1] }), row(MARK, { frontend: DNS, realServers: [D2] })]),
    break: [
      `deleteRealServer ${MARK} -> 10.1.0.1:53: `,
      `deleteRealServer ${MARK} -> 10.1.0.3:53: `,
      `deleteFlows ${DNS}: all but those of 2 real servers`,
    ],
  },
  {
    name: 'deletes the flows that an earlier run left',
    observed: rows([row(DNS, { realServers: [D1] })], { staleFlows: [DNS, 'UDP [fd00::1]:53'] }),
    wanted: rows([row(DNS, { realServers: [D1] })]),
    break: [`deleteFlows ${DNS}: all but those of 1 real server`, 'deleteFlows UDP [fd00::1]:53: all'],
  },
  {
    name: 'keeps the flows of a virtual server that is somebody else’s by now',
    observed: rows([row(DNS, { owner: 'foreign', realServers: [real('10.1.0.7:0')] })], {
      staleFlows: [DNS],
    }),
    wanted: NONE,
    break: [`deleteFlows ${DNS}: all but those of 1 real server`],
  },
];

/** What is observed, and the plan that removes all that is ours. */
export const TEARDOWN_CASES = [
  {
    name: 'deletes the flows of all that is ours, and those that an earlier run left',
    observed: rows([row(MARK, { frontend: DNS }), row(WEB)], { staleFlows: ['SCTP 10.96.0.11:9'] }),
    break: [
      `deleteVirtualServer ${WEB}: `,
      `deleteVirtualServer ${MARK}: `,
      `deleteFlows ${DNS}: all`,
      'deleteFlows SCTP 10.96.0.11:9: all',
    ],
  },
  {
    name: 'deletes ours with all connections, then restores sysctls that are as we set them',
    observed: rows(
      [
        row(WEB, { realServers: [real(A, { activeConnections: 7 })] }),
        row('TCP 10.96.0.51:80', { owner: 'foreign' }),
      ],
      {
        sysctls: {
          'net.ipv4.vs.conntrack': { value: '1', changed: { before: '0', set: '1' } },
          'net.ipv4.vs.expire_nodest_conn': { value: '2', changed: { before: '0', set: '1' } },
          'net.ipv4.ip_forward': '1',
        },
      },
    ),
    break: [
      `deleteVirtualServer ${WEB}: with 1 real server`,
      'restoreSysctl sysctl net.ipv4.vs.conntrack: 1 → 0',
    ],
  },
];
