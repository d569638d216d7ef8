import { describe, expect, it } from 'vitest';
import { realServerKey } from '../../src/model/virtual-server.ts';
import type { Packet } from '../../src/trace/packet.ts';
import { scheduler } from '../../src/trace/virtual-servers.ts';
import { ip, real, row, rows } from '../dataplane/ipvs/build.ts';
import { connectionOf } from './build.ts';

const AFFINITY = { persistenceTimeoutSeconds: 3600 };
const MARK = 0x53000001;

function packetOf(connection: string, mark = 0): Packet {
  const { source, destination, protocol, port } = connectionOf(connection);
  const way = { family: 'IPv4', link: undefined, settled: new Set<never>(), balanced: false } as const;
  const kept = { mark, toMasquerade: null, masquerade: null, sourceRange: null };
  return { source, destination, protocol, port, ...way, ...kept };
}

/** `TCP 10.0.0.1:80 -> 10.1.0.1:8080`, or the refusal; null if IPVS leaves the packet alone. */
function outcomeOf(virtualServers: Parameters<typeof rows>[0], packet: Packet): string | null {
  const scheduling = scheduler(rows(virtualServers))(packet);
  if (!scheduling) return null;
  if ('refusal' in scheduling) return scheduling.refusal;
  const targets = scheduling.realServers.map(({ row: { config }, port }) =>
    realServerKey({ ...config, port }),
  );
  return [scheduling.row.key, '->', ...targets].join(' ');
}

describe('scheduler()', () => {
  const address = row('TCP 10.0.0.1:80', { realServers: [real('10.1.0.1:8080')] });
  const marked = row(`FWM4 ${MARK}`, { realServers: [real('10.1.0.2:8080')] });
  const http = 'TCP 192.0.2.7 -> 10.0.0.1:80';

  it('looks up the mark, then address, protocol and port', () => {
    expect(outcomeOf([address, marked], packetOf(http, MARK))).toBe(`FWM4 ${MARK} -> 10.1.0.2:8080`);
    expect(outcomeOf([address, marked], packetOf(http))).toBe('TCP 10.0.0.1:80 -> 10.1.0.1:8080');
    expect(outcomeOf([address, marked], packetOf(http, 7))).toBe('TCP 10.0.0.1:80 -> 10.1.0.1:8080');
    expect(outcomeOf([address, marked], packetOf('UDP 192.0.2.7 -> 10.0.0.1:80'))).toBe(null);
    expect(outcomeOf([row(`FWM6 ${MARK}`)], packetOf(http, MARK))).toBe(null);
  });

  it('offers real servers of some weight, in order, the own port where theirs is 0', () => {
    const realServers = [real('10.1.0.9:8080'), real('10.1.0.8:0'), real('10.1.0.7:80', { weight: 0 })];
    expect(outcomeOf([row('TCP 10.0.0.1:80', { realServers })], packetOf(http))).toBe(
      'TCP 10.0.0.1:80 -> 10.1.0.8:80 10.1.0.9:8080',
    );
  });

  it('refuses where none has weight', () => {
    const realServers = [real('10.1.0.7:80', { weight: 0 })];
    expect(outcomeOf([row('TCP 10.0.0.1:80', { realServers })], packetOf(http))).toBe('IPVS: no real server');
  });

  // Linux 7.2 does so: with affinity the mark's clients reach the frontend's port number on the real server.
  it('keeps the port of packets for a firewall mark with affinity', () => {
    const persistent = row(`FWM4 ${MARK}`, { config: AFFINITY, realServers: [real('10.1.0.2:8080')] });
    expect(outcomeOf([persistent], packetOf(http, MARK))).toBe(`FWM4 ${MARK} -> 10.1.0.2:80`);
    const ofAddress = row('TCP 10.0.0.1:80', { config: AFFINITY, realServers: [real('10.1.0.1:8080')] });
    expect(outcomeOf([ofAddress], packetOf(http))).toBe('TCP 10.0.0.1:80 -> 10.1.0.1:8080');
  });

  // Linux 7.2 does so.
  it.each([
    { port: 21, persistent: 'TCP 10.0.0.1:21 -> 10.1.0.1:2121', other: 'TCP 10.0.0.1:21 -> 10.1.0.1:2121' },
    { port: 20, persistent: 'TCP 10.0.0.1:21 -> 10.1.0.1:20', other: null },
    { port: 5555, persistent: 'TCP 10.0.0.1:21 -> 10.1.0.1:5555', other: null },
    { port: 80, persistent: null, other: null },
  ])('takes port $port for FTP as IPVS does', ({ port, persistent, other }) => {
    const realServers = [real('10.1.0.1:2121')];
    const packet = () => packetOf(`TCP 192.0.2.7 -> 10.0.0.1:${port}`);
    expect(outcomeOf([row('TCP 10.0.0.1:21', { realServers, config: AFFINITY })], packet())).toBe(persistent);
    expect(outcomeOf([row('TCP 10.0.0.1:21', { realServers })], packet())).toBe(other);
  });

  it('takes every port by port 0, with affinity alone', () => {
    const realServers = [real('10.1.0.1:0')];
    expect(outcomeOf([row('TCP 10.0.0.1:0', { realServers, config: AFFINITY })], packetOf(http))).toBe(
      'TCP 10.0.0.1:0 -> 10.1.0.1:80',
    );
    expect(outcomeOf([row('TCP 10.0.0.1:0', { realServers })], packetOf(http))).toBe(
      'IPVS: every port needs persistence',
    );
  });

  it('leaves other addresses alone', () => {
    const packet = { ...packetOf(http), destination: ip('10.0.0.2') };
    expect(outcomeOf([address], packet)).toBe(null);
  });
});
