import { describe, expect, test } from 'vitest';
import { readTraffic } from '../../../src/dataplane/ipvs/statistics.ts';
import { GenlClient } from '../../../src/netlink/client.ts';
import { IPVS_GENL_NAME } from '../../../src/netlink/uapi/ipvs.ts';
import { FakeKernel } from '../../netlink/fake-kernel.ts';

const never = new AbortController().signal;
const PARAMETERS = { scheduler: 'rr', flags: { flags: 2, mask: 0xffff_ffff } };
const service = (protocol: number, port: number) => ({
  service: { ...PARAMETERS, family: 2, protocol, address: Uint8Array.of(10, 96, 0, 50), port },
});
const NONE = { connections: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 };

describe('readTraffic()', () => {
  test('names each virtual server, and leaves out what no Service can be', async () => {
    const rows = [
      service(6, 80),
      service(17, 53),
      service(51, 1),
      { service: { ...PARAMETERS, family: 10, fwmark: 7 } },
    ];
    const client = GenlClient.open(new FakeKernel({ dump: () => ({ rows }) }), IPVS_GENL_NAME);
    const traffic = await readTraffic(client, never);
    expect(traffic.map(({ key }) => key)).toEqual(['TCP 10.96.0.50:80', 'UDP 10.96.0.50:53', 'FWM6 7']);
    expect(traffic[0]).toMatchObject(NONE);
  });

  test('says that it may not read', async () => {
    const client = GenlClient.open(new FakeKernel({ dump: () => ({ rows: [], errno: 1 }) }), IPVS_GENL_NAME);
    await expect(readTraffic(client, never)).rejects.toMatchObject({
      code: 'EPERM',
      message: expect.stringContaining('Cannot read the counters of IPVS: EPERM'),
    });
  });
});
