import fc from 'fast-check';
import type { IpvsRows, RealServerRow, VirtualServerRow } from '../../../src/dataplane/ipvs/rows.ts';
import type { LawCase } from '../../properties/laws.ts';
import { NOW_MS, OPTIONS, real, row, rows, scheduler } from './build.ts';

/** A universe so small that wanted and observed rows meet, agree and differ often. */
const UNIVERSE = [
  { key: 'TCP 10.96.0.1:443', realServers: ['10.1.0.1:80', '10.1.0.2:80', '10.1.0.10:80'] },
  { key: 'TCP 10.96.0.50:80', realServers: ['10.1.0.1:80', '10.1.0.2:80', '10.1.0.2:81'] },
  { key: 'UDP 10.96.0.10:53', realServers: ['10.1.0.1:53', '10.1.0.2:53'] },
  { key: 'SCTP [fd00::1]:9', realServers: ['[fd01::1]:9', '[fd01::2]:9'] },
  { key: 'TCP [fd00::50]:80', realServers: ['[fd01::1]:80', '[fd01::2]:80'] },
] as const;
/** A mark that changes hands between a frontend of TCP and one of UDP, and one that stays; see {@link MARKED}. */
const MARKS = [
  { key: 'FWM4 1392508929', realServers: ['10.1.0.1:80', '10.1.0.2:80', '10.1.0.1:53'] },
  { key: 'FWM6 1392508930', realServers: ['[fd01::1]:9', '[fd01::2]:9'] },
] as const;
const MARKED: Readonly<Record<string, readonly string[]>> = {
  'FWM4 1392508929': ['TCP 10.96.0.50:80', 'UDP 10.96.0.10:53'],
  'FWM6 1392508930': ['SCTP [fd00::1]:9'],
};
const PLACES = [...UNIVERSE, ...MARKS] as const;
const FOREIGN_ONLY = { key: 'FWM4 17', realServers: ['10.1.0.1:0', '10.1.0.2:0'] } as const;

type Place = (typeof PLACES)[number] | typeof FOREIGN_ONLY;

export const SCHEDULERS = ['rr', 'wrr', 'mh'] as const;

const SYSCTL = 'net.ipv4.vs.conntrack';
const ARP_SYSCTL = 'net.ipv4.conf.all.arp_ignore';

/** What is observed and what is wanted, with conflicts, adoptions, drains begun and drains overdue. */
export const lawCases: fc.Arbitrary<LawCase<IpvsRows>> = fc.record({
  observed: observedRows(),
  wanted: wantedRows(),
});

/** Wanted rows, as `project` makes them. */
export function wantedRows(): fc.Arbitrary<IpvsRows> {
  const servers = fc.tuple(...PLACES.map((place) => fc.option(wantedRow(place))));
  return fc
    .record({ servers, strictArp: fc.boolean() })
    .map(({ servers: virtualServers, strictArp }) =>
      rows(present(virtualServers), { sysctls: { [SYSCTL]: '1', ...(strictArp && { [ARP_SYSCTL]: '1' }) } }),
    );
}

function observedRows(): fc.Arbitrary<IpvsRows> {
  const servers = fc.tuple(
    ...PLACES.map((place) => fc.option(observedRow(place))),
    fc.option(foreignRow(FOREIGN_ONLY)),
  );
  const sysctl = fc.constantFrom('0', '1', { value: '1', changed: { before: '0', set: '1' } });
  return fc
    .record({
      servers,
      sysctl,
      arp: sysctl,
      missing: fc.subarray([...SCHEDULERS]),
      staleFlows: fc.subarray(['UDP 10.96.0.10:53', 'SCTP [fd00::1]:9', 'UDP 10.96.0.11:53']),
    })
    .map(({ servers: virtualServers, sysctl: value, arp, missing, staleFlows }) =>
      rows(present(virtualServers), {
        sysctls: { [SYSCTL]: value, [ARP_SYSCTL]: arp },
        unavailableSchedulers: missing,
        staleFlows,
      }),
    );
}

function wantedRow(place: Place): fc.Arbitrary<VirtualServerRow> {
  return fc
    .record({
      name: fc.constantFrom(...SCHEDULERS),
      persistenceTimeoutSeconds: fc.constantFrom(null, 10_800),
      realServers: fc.tuple(...place.realServers.map((text) => fc.option(wantedReal(text)))),
      service: fc.constantFrom('web/front', 'default/kubernetes'),
      exposure: fc.constantFrom('ClusterIP', 'LoadBalancer'),
      frontend: fc.constantFrom(...(MARKED[place.key] ?? [undefined])),
      drainTimeoutSeconds: fc.constantFrom(null, null, null, 0, 90),
    })
    .map(({ name, persistenceTimeoutSeconds, realServers, frontend, ...origin }) =>
      row(place.key, {
        config: { scheduler: scheduler(name), persistenceTimeoutSeconds },
        realServers: present(realServers),
        ...origin,
        ...(frontend !== undefined && { frontend }),
      }),
    );
}

function wantedReal(text: string): fc.Arbitrary<RealServerRow> {
  return fc.constantFrom(1, 1, 2).map((weight) => real(text, { weight }));
}

function observedRow(place: Place): fc.Arbitrary<VirtualServerRow> {
  return fc.oneof(
    { weight: 3, arbitrary: ownedRow(place) },
    { weight: 1, arbitrary: foreignRow(place) },
    { weight: 1, arbitrary: wantedRow(place).map(asForeign) },
  );
}

function ownedRow(place: Place): fc.Arbitrary<VirtualServerRow> {
  const realServers = fc.tuple(...place.realServers.map((text) => fc.option(observedReal(text))));
  return fc.tuple(wantedRow(place), realServers).map(([wanted, observed]) => ({
    ...wanted,
    realServers: row(place.key, { realServers: present(observed) }).realServers,
  }));
}

/** Serving, draining for a while, draining for too long, or at weight 0 without our knowing since when. */
function observedReal(text: string): fc.Arbitrary<RealServerRow> {
  const drains = [null, NOW_MS - 1000, NOW_MS - 5000, NOW_MS - OPTIONS.drainTimeoutSeconds * 1000] as const;
  return fc
    .record({
      weight: fc.constantFrom(0, 1, 2),
      activeConnections: fc.constantFrom(0, 0, 3),
      inactiveConnections: fc.constantFrom(0, 0, 2),
      drain: fc.constantFrom(...drains),
      timeoutSeconds: fc.constantFrom(null, null, 1, 3600),
    })
    .map(({ weight, activeConnections, inactiveConnections, drain, timeoutSeconds }) =>
      real(text, {
        weight,
        activeConnections,
        inactiveConnections,
        drainStartedAtMs: weight === 0 ? drain : null,
        timeoutSeconds,
      }),
    );
}

function foreignRow(place: Place): fc.Arbitrary<VirtualServerRow> {
  return fc.tuple(...place.realServers.map((text) => fc.option(observedReal(text)))).map((realServers) =>
    row(place.key, {
      owner: 'foreign',
      config: { scheduler: scheduler('wlc') },
      realServers: present(realServers).map((realServer) => ({ ...realServer, drain: null })),
    }),
  );
}

function asForeign(wanted: VirtualServerRow): VirtualServerRow {
  return { ...wanted, owner: 'foreign', origin: null, reason: '' };
}

function present<T>(values: readonly (T | null)[]): T[] {
  return values.filter((value) => value !== null);
}
