import { describe, expect, test } from 'vitest';
import { ByteWriter, byteViewOf, NetlinkDecodeError } from '../../src/netlink/bytes.ts';
import { decodeGenlAttributes, encodeGenlRequest } from '../../src/netlink/genl.ts';
import {
  ADDRESS_FAMILY,
  type Destination,
  decodeDestination,
  decodeInfo,
  decodeService,
  deleteDestination,
  deleteService,
  getDestinations,
  getInfo,
  getServices,
  ipvsCodec,
  newDestination,
  type Service,
  stripHashedFlag,
} from '../../src/netlink/ipvs-messages.ts';
import { decodeMessages, type NetlinkMessage } from '../../src/netlink/message.ts';
import { IPVS_COMMAND } from '../../src/netlink/uapi/ipvs.ts';
import { NLMSG_DONE } from '../../src/netlink/uapi/nlmsg.ts';
import { captures, capturesOf, datagramsOf } from './golden.ts';
import {
  dumpedDestinations,
  dumpedServices,
  masquerade,
  plain,
  sameAsIpvsadm,
  sameDestinations,
  server,
  vip,
} from './ipvs-cases.ts';

const { ipv4 } = ADDRESS_FAMILY;

describe('newService() and setService()', () => {
  test.each(sameAsIpvsadm)('encode $name as ipvsadm does, byte for byte', ({ command, ours }) => {
    const theirs = lastRequests(command);
    expect(theirs.length).toBeGreaterThan(0);
    for (const message of theirs) {
      const writer = new ByteWriter();
      encodeGenlRequest(writer, message, ours);
      expect(payload(onlyMessage(writer))).toEqual(payload(message));
    }
  });
});

describe('newDestination() and setDestination()', () => {
  test.each(sameDestinations)('encode $name as ipvsadm does', ({ command, ours }) => {
    const theirs = lastRequests(command);
    expect(theirs.length).toBeGreaterThan(0);
    for (const message of theirs) {
      const writer = new ByteWriter();
      encodeGenlRequest(writer, message, ours);
      const decoded = decodeGenlAttributes(onlyMessage(writer), ipvsCodec);
      const wanted = decodeGenlAttributes(message, ipvsCodec);
      expect(decoded.destination).toEqual(wanted.destination);
      expect(wanted.service).toMatchObject(decoded.service ?? {});
    }
  });
});

describe('requests that name a service or destination', () => {
  const service: Service = { ...vip(0, 1, 443), ...plain };
  const destination: Destination = {
    ...server(1, 6443),
    ...masquerade,
    activeConnections: 3,
    inactiveConnections: 2,
    persistentConnections: 1,
  };

  test.each([
    { name: 'deleteService()', request: deleteService(service), command: IPVS_COMMAND.deleteService },
    { name: 'getDestinations()', request: getDestinations(service), command: IPVS_COMMAND.getDestination },
    {
      name: 'deleteDestination()',
      request: deleteDestination(service, destination),
      command: IPVS_COMMAND.deleteDestination,
    },
  ])('$name carries the key and nothing else of a row that was read', ({ request, command }) => {
    expect(request.command).toBe(command);
    expect(request.attributes.service).toEqual(vip(0, 1, 443));
    if (request.attributes.destination) expect(request.attributes.destination).toEqual(server(1, 6443));
  });

  test('newDestination() does not write the connection counts of a row that was read', () => {
    const { attributes } = newDestination(service, destination, destination);
    expect(attributes.destination).not.toHaveProperty('activeConnections');
  });

  test.each([
    { name: 'getServices()', request: getServices(), command: IPVS_COMMAND.getService },
    { name: 'getInfo()', request: getInfo(), command: IPVS_COMMAND.getInfo },
  ])('$name carries no attributes', ({ request, command }) => {
    expect(request).toMatchObject({ command, attributes: {} });
  });
});

describe.each(
  capturesOf('ipvsadm -Ln').filter((capture) => capture.datagrams.length > 10),
)('the dump on $kernel', (capture) => {
  const rows = datagramsOf(capture, 'reply')
    .flatMap((datagram) => [...decodeMessages(datagram)])
    .filter((message) => message.type !== NLMSG_DONE)
    .map((message) => ({ message, attributes: decodeGenlAttributes(message, ipvsCodec) }));

  test('decodeService() reads what the commands made', () => {
    const services = rows.filter((row) => row.attributes.service).map((row) => decodeService(row.message));
    for (const service of dumpedServices) expect(services).toContainEqual(service);
  });

  test('decodeDestination() reads what the commands made', () => {
    const destinations = rows
      .filter((row) => row.attributes.destination)
      .map((row) => decodeDestination(row.message, ipv4));
    for (const destination of dumpedDestinations) {
      expect(destinations).toContainEqual(expect.objectContaining(destination));
    }
  });
});

describe('decodeInfo()', () => {
  test('decodeInfo() reads version 1.2.1 on each kernel', () => {
    const infos = captures
      .flatMap((capture) => datagramsOf(capture, 'reply'))
      .flatMap((datagram) => [...decodeMessages(datagram)])
      .filter((message) => message.type > 16 && payload(message)[0] === IPVS_COMMAND.setInfo)
      .map(decodeInfo);
    expect(infos.length).toBeGreaterThan(0);
    for (const info of infos) expect(info.version).toBe(0x010201);
  });
});

describe('stripHashedFlag()', () => {
  test.each([
    { flags: 0x2, stripped: 0 },
    { flags: 0x1b, stripped: 0x19 },
    { flags: 0xffff_ffff, stripped: 0xffff_fffd },
  ])('stripHashedFlag($flags) is $stripped', ({ flags, stripped }) => {
    expect(stripHashedFlag(flags)).toBe(stripped);
  });
});

describe('rows that lack what identifies them', () => {
  test.each([
    { name: 'decodeService()', decode: decodeService },
    { name: 'decodeInfo()', decode: decodeInfo },
    { name: 'decodeDestination()', decode: (message: NetlinkMessage) => decodeDestination(message, ipv4) },
  ])('$name refuses them', ({ decode }) => {
    const writer = new ByteWriter();
    encodeGenlRequest(writer, { type: 20, flags: 0, sequence: 1 }, getServices());
    expect(() => decode(onlyMessage(writer))).toThrow(NetlinkDecodeError);
  });
});

/** The request that the command itself is about, on each kernel: what ipvsadm asks before comes first. */
function lastRequests(command: string): NetlinkMessage[] {
  return capturesOf(`ipvsadm ${command}`).flatMap((capture) => {
    const last = datagramsOf(capture, 'request').at(-1);
    return last ? [...decodeMessages(last)] : [];
  });
}

function onlyMessage(writer: ByteWriter): NetlinkMessage {
  const [message] = decodeMessages(byteViewOf(writer.written()));
  if (message === undefined) throw new Error('nothing was written');
  return message;
}

function payload(message: NetlinkMessage): Uint8Array {
  return message.source.bytes.slice(message.payloadStart, message.payloadEnd);
}
