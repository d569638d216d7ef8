import { describe, expect, test } from 'vitest';
import { attributeCodec, type Schema } from '../../src/netlink/attributes.ts';
import { ByteWriter, byteViewOf } from '../../src/netlink/bytes.ts';
import { decodeGenlHeader, encodeGenlRequest } from '../../src/netlink/genl.ts';
import { getServices } from '../../src/netlink/ipvs-messages.ts';
import { decodeServiceStatistics } from '../../src/netlink/ipvs-statistics.ts';
import { decodeMessages, type NetlinkMessage } from '../../src/netlink/message.ts';
import {
  IPVS_COMMAND,
  ipvsSchema,
  ipvsStatisticsSchema,
  serviceSchema,
} from '../../src/netlink/uapi/ipvs.ts';
import { NLMSG_DONE } from '../../src/netlink/uapi/nlmsg.ts';
import { capturesOf, datagramsOf } from './golden.ts';

const SERVICE = {
  family: 2,
  protocol: 6,
  address: Uint8Array.of(10, 96, 0, 50),
  port: 80,
  scheduler: 'rr',
  flags: { flags: 2, mask: 0xffff_ffff },
};
const LARGE = {
  connections: 5_000_000_000n,
  inPackets: 2n ** 40n,
  outPackets: 2n ** 41n,
  inBytes: 2n ** 50n,
  outBytes: 2n ** 51n,
};

/** As the kernel writes a row, with the attributes of `schema`. */
function row<S extends Schema>(schema: S, service: object): NetlinkMessage {
  const codec = attributeCodec<Schema>({ ...ipvsSchema, service: { type: 1, kind: 'nested', schema } });
  const writer = new ByteWriter();
  const header = { type: 0x17, flags: 0, sequence: 1 };
  encodeGenlRequest(writer, header, { ...getServices(), codec, attributes: { service: { ...service } } });
  const [message] = decodeMessages(byteViewOf(writer.written()));
  return message ?? expect.unreachable();
}

/** What kernels before 4.1 have. */
const OLD = {
  ...serviceSchema,
  statistics: {
    type: 10,
    kind: 'nested',
    schema: {
      connections: { type: 1, kind: 'u32' },
      inPackets: { type: 2, kind: 'u32' },
      outPackets: { type: 3, kind: 'u32' },
      inBytes: { type: 4, kind: 'u64' },
      outBytes: { type: 5, kind: 'u64' },
    },
  },
} as const satisfies Schema;

describe('decodeServiceStatistics()', () => {
  test('reads counters of 64 bits', () => {
    const message = row(ipvsStatisticsSchema.service.schema, { ...SERVICE, statistics: LARGE });
    expect(decodeServiceStatistics(message)).toEqual({
      identity: expect.objectContaining({ protocol: 6, port: 80, address: Uint8Array.of(10, 96, 0, 50) }),
      statistics: LARGE,
    });
  });

  test('reads those of 32 bits where the kernel has no others', () => {
    const statistics = {
      connections: 4_294_967_295,
      inPackets: 2,
      outPackets: 3,
      inBytes: 2n ** 40n,
      outBytes: 5n,
    };
    expect(decodeServiceStatistics(row(OLD, { ...SERVICE, statistics })).statistics).toEqual({
      connections: 4_294_967_295n,
      inPackets: 2n,
      outPackets: 3n,
      inBytes: 2n ** 40n,
      outBytes: 5n,
    });
  });

  test('prefers the counters that do not wrap', () => {
    const both = { ...OLD, statistics64: ipvsStatisticsSchema.service.schema.statistics } as const;
    const statistics = { connections: 1, inPackets: 1, outPackets: 1, inBytes: 1n, outBytes: 1n };
    const message = row(both, { ...SERVICE, statistics, statistics64: LARGE });
    expect(decodeServiceStatistics(message).statistics).toEqual(LARGE);
  });

  test('reads every service that a kernel has told ipvsadm of', () => {
    const services = capturesOf('ipvsadm -Ln')
      .flatMap((capture) => datagramsOf(capture, 'reply'))
      .flatMap((datagram) => [...decodeMessages(datagram)])
      .filter(({ type }) => type !== NLMSG_DONE)
      .filter((message) => decodeGenlHeader(message).command === IPVS_COMMAND.newService);
    expect(services.length).toBeGreaterThan(50);
    for (const message of services) {
      expect(decodeServiceStatistics(message).statistics).toEqual({
        connections: 0n,
        inPackets: 0n,
        outPackets: 0n,
        inBytes: 0n,
        outBytes: 0n,
      });
    }
  });
});
