import { describe, expect, test } from 'vitest';
import { parseIpAddress } from '../../src/model/address.ts';
import { type VirtualServerIdentity, virtualServerKey } from '../../src/model/virtual-server.ts';
import {
  renderTraffic,
  TrafficMetrics,
  type TrafficOwner,
  type TrafficRow,
} from '../../src/status/traffic-metrics.ts';

const at = (text: string, port: number): VirtualServerIdentity => ({
  kind: 'address',
  address: parseIpAddress(text) ?? expect.unreachable(),
  port,
  protocol: 'TCP',
});
const row = (identity: VirtualServerIdentity, bytes: number): TrafficRow => ({
  key: virtualServerKey(identity),
  identity,
  connections: 1,
  inPackets: 2,
  outPackets: 3,
  inBytes: bytes,
  outBytes: 2 * bytes,
});

const FRONT = at('10.96.0.50', 80);
const MARK: VirtualServerIdentity = { kind: 'firewallMark', family: 'IPv4', firewallMark: 7 };
const OWNERS = new Map<string, TrafficOwner>([
  [virtualServerKey(FRONT), { service: 'web/front', servicePort: 'http', frontend: FRONT }],
  [virtualServerKey(MARK), { service: 'web/front', servicePort: 'http', frontend: FRONT }],
]);
const ownerOf = (key: string) => OWNERS.get(key);

describe('renderTraffic()', () => {
  test('gives each virtual server its series, foreign ones without a Service', () => {
    const text = renderTraffic([row(FRONT, 100), row(at('fd00::1', 53), 10)], ownerOf, 9);
    const front = 'service="web/front",port_name="http",address="10.96.0.50",port="80",protocol="TCP"';
    const other = 'service="",port_name="",address="fd00::1",port="53",protocol="TCP"';
    expect(text.split('\n').filter((line) => !line.startsWith('# HELP'))).toEqual([
      '# TYPE svcplane_virtual_server_connections_total counter',
      `svcplane_virtual_server_connections_total{${front}} 1`,
      `svcplane_virtual_server_connections_total{${other}} 1`,
      '# TYPE svcplane_virtual_server_packets_total counter',
      `svcplane_virtual_server_packets_total{${front},direction="in"} 2`,
      `svcplane_virtual_server_packets_total{${front},direction="out"} 3`,
      `svcplane_virtual_server_packets_total{${other},direction="in"} 2`,
      `svcplane_virtual_server_packets_total{${other},direction="out"} 3`,
      '# TYPE svcplane_virtual_server_bytes_total counter',
      `svcplane_virtual_server_bytes_total{${front},direction="in"} 100`,
      `svcplane_virtual_server_bytes_total{${front},direction="out"} 200`,
      `svcplane_virtual_server_bytes_total{${other},direction="in"} 10`,
      `svcplane_virtual_server_bytes_total{${other},direction="out"} 20`,
      '',
    ]);
  });

  test('counts a firewall mark for its frontend', () => {
    const text = renderTraffic([row(FRONT, 100), row(MARK, 11)], ownerOf, 9);
    expect(text.match(/connections_total\{/g)).toHaveLength(1);
    expect(text).toMatch(/bytes_total\{.*address="10\.96\.0\.50",.*direction="in"\} 111\n/);
  });

  test('shows those with most bytes, and sums up the others', () => {
    const rows = Array.from({ length: 1003 }, (_, i) => row(at('10.0.0.1', i + 1), i));
    const lines = renderTraffic(rows, ownerOf, 1000).split('\n');
    const bytes = lines.filter((line) => line.includes('bytes_total{') && line.includes('"in"'));
    expect(bytes).toHaveLength(1001);
    expect(bytes[0]).toMatch(/port="1003".* 1002$/);
    expect(bytes.at(-1)).toBe(
      'svcplane_virtual_server_bytes_total{service="",port_name="",address="others",port="",protocol="",direction="in"} 3',
    );
  });
});

describe('TrafficMetrics', () => {
  test('render() reads at most once in five seconds, whoever asks, and keeps no failure', async () => {
    let nowMs = 0;
    let reads = 0;
    let fails = true;
    let most = 0;
    const metrics = new TrafficMetrics({
      nowMs: () => nowMs,
      owners: () => ownerOf,
      maxVirtualServers: () => most,
      read: async () => {
        reads += 1;
        if (fails) throw new Error('Cannot read the counters of IPVS: EPERM');
        return [row(FRONT, reads)];
      },
    });
    expect([await metrics.render(), reads]).toEqual(['', 0]);
    most = 9;
    await expect(metrics.render()).rejects.toThrow('EPERM');
    fails = false;
    const [first, second] = await Promise.all([metrics.render(), metrics.render()]);
    expect([reads, second]).toEqual([2, first]);
    nowMs = 4999;
    expect(await metrics.render()).toBe(first);
    nowMs = 5000;
    expect(await metrics.render()).not.toBe(first);
    expect(reads).toBe(3);
  });
});
