import { afterEach, beforeEach, expect, it } from 'vitest';
import { NETLINK_GENERIC, NetlinkSocket } from '../../native-bindings/netlink-socket.ts';
import { probeGenericNetlinkFamily } from '../../native-bindings/probe.ts';
import { GenlClient } from '../../src/netlink/client.ts';
import {
  ADDRESS_FAMILY,
  type DestinationParameters,
  decodeDestination,
  decodeInfo,
  decodeService,
  deleteDestination,
  deleteService,
  getDestinations,
  getInfo,
  getService,
  getServices,
  newDestination,
  newService,
  type ServiceIdentity,
  type ServiceParameters,
  setDestination,
  setService,
} from '../../src/netlink/ipvs-messages.ts';
import { FORWARDING_METHOD, IPVS_GENL_NAME, SERVICE_FLAG } from '../../src/netlink/uapi/ipvs.ts';
import { describeWithIpvs, run } from './probe.ts';

const { ipv4, ipv6 } = ADDRESS_FAMILY;
const never = new AbortController().signal;
const roundRobin: ServiceParameters = { scheduler: 'rr', flags: 0, timeoutSeconds: 0, netmask: 0xffff_ffff };
const masquerade: DestinationParameters = {
  forwardingMethod: FORWARDING_METHOD.masquerade,
  weight: 1,
  upperThreshold: 0,
  lowerThreshold: 0,
};

/** 10.96.200.0 and up: nobody else's in these tests. */
const service = (index: number) => ({
  family: ipv4,
  protocol: 6,
  address: Uint8Array.of(10, 96, 200 + (index >> 8), index & 0xff),
  port: 80,
});
const service6 = { family: ipv6, protocol: 17, address: new Uint8Array(16).fill(0xfd), port: 53 };
const server = (index: number) => ({ family: ipv4, address: Uint8Array.of(10, 1, 200, index), port: 8080 });
const range = (count: number) => Array.from({ length: count }, (_, index) => index);

describeWithIpvs('GenlClient on IPVS', () => {
  let socket: NetlinkSocket;
  let client: GenlClient;

  beforeEach(() => {
    socket = NetlinkSocket.open(NETLINK_GENERIC);
    client = GenlClient.open(socket, IPVS_GENL_NAME);
  });

  afterEach(async () => {
    // The table is shared with the other tests and files.
    const identities: ServiceIdentity[] = [...range(1024).map(service), service6];
    await client.executeBatch(identities.map(deleteService), never);
    socket[Symbol.dispose]();
  });

  async function services() {
    const dump = await client.dump(getServices(), decodeService, never);
    return dump.outcome === 'ok' ? dump.rows : [];
  }

  async function destinations(of: ServiceIdentity) {
    const dump = await client.dump(
      getDestinations(of),
      (message) => decodeDestination(message, of.family),
      never,
    );
    return dump.outcome === 'ok' ? dump.rows : [];
  }

  it('probeGenericNetlinkFamily() finds IPVS', () => {
    expect(probeGenericNetlinkFamily(IPVS_GENL_NAME)).toEqual({ outcome: 'supported' });
  });

  it('query() reads the version', () => {
    expect(client.query(getInfo(), decodeInfo)).toMatchObject({ outcome: 'ok', row: { version: 0x010201 } });
  });

  it('executeBatch() of 1,000 requests takes 4 sends and 4 answers, and dump() gives what was made', async () => {
    const batch = range(200).flatMap((i) => [
      newService(service(i), roundRobin),
      ...range(4).map((j) => newDestination(service(i), server(j), masquerade)),
    ]);
    const before = client.traffic();
    const results = await client.executeBatch(batch, never);
    const after = client.traffic();
    expect(results).toEqual(new Array(1000).fill({ outcome: 'ok' }));
    expect(after.writeSends - before.writeSends).toBe(4);
    expect(after.receivedDatagrams - before.receivedDatagrams).toBe(4);
    const made = await services();
    for (const i of range(200)) expect(made).toContainEqual({ ...service(i), ...roundRobin });
    const rows = await destinations(service(7));
    expect(rows).toHaveLength(4);
    for (const j of range(4))
      expect(rows).toContainEqual(expect.objectContaining({ ...server(j), ...masquerade }));
  });

  it('executeBatch() tells refusals apart within one send', async () => {
    const unknownScheduler = { ...roundRobin, scheduler: 'no-such' };
    const results = await client.executeBatch(
      [
        newService(service(0), roundRobin),
        newService(service(0), roundRobin),
        newDestination(service(0), server(1), masquerade),
        newDestination(service(0), server(1), masquerade),
        deleteDestination(service(0), server(2)),
        setDestination(service(0), server(2), masquerade),
        newDestination(service(1), server(1), masquerade),
        newService(service(2), unknownScheduler),
        deleteService(service(3)),
        setService(service(3), roundRobin),
        deleteService(service(0)),
      ],
      never,
    );
    expect(results.map((result) => ('code' in result ? result.code : result.outcome))).toEqual([
      ...['ok', 'EEXIST', 'ok', 'EEXIST', 'ENOENT', 'ENOENT'],
      ...['ESRCH', 'ENOENT', 'ESRCH', 'ESRCH', 'ok'],
    ]);
    expect(client.traffic().writeSends).toBe(1);
  });

  it('executeBatch() with nothing but errors fits the receive buffer', async () => {
    const batch = range(1000).map((i) => deleteService(service(i)));
    const results = await client.executeBatch(batch, never);
    expect(results).toEqual(new Array(1000).fill({ outcome: 'refused', errno: 3, code: 'ESRCH' }));
  });

  it('executeBatch() says so when answers are lost, and what was sent is executed', async () => {
    using small = NetlinkSocket.open(NETLINK_GENERIC, { receiveBufferBytes: 4096 });
    const lossy = GenlClient.open(small, IPVS_GENL_NAME);
    const failing = range(250).map((i) => deleteService(service(i)));
    const results = await lossy.executeBatch([...failing, newService(service(0), roundRobin)], never);
    expect(results[0]).toMatchObject({ code: 'ESRCH' });
    expect(results.at(-1)).toEqual({ outcome: 'unknown' });
    expect(await services()).toContainEqual({ ...service(0), ...roundRobin });
    expect(await lossy.executeBatch([deleteService(service(0))], never)).toEqual([{ outcome: 'ok' }]);
  });

  it.each([
    { name: 'flags and time-out', parameters: { scheduler: 'sh', flags: SERVICE_FLAG.scheduler1 } },
    {
      name: 'persistence',
      parameters: { flags: SERVICE_FLAG.persistent, timeoutSeconds: 600, netmask: 0xffff_0000 },
    },
  ])('setService() changes $name and getService() reads it', async ({ parameters }) => {
    const changed = { ...roundRobin, ...parameters };
    const batch = [newService(service(0), roundRobin), setService(service(0), changed)];
    expect(await client.executeBatch(batch, never)).toEqual([{ outcome: 'ok' }, { outcome: 'ok' }]);
    expect(client.query(getService(service(0)), decodeService)).toEqual({
      outcome: 'ok',
      row: { ...service(0), ...changed },
    });
  });

  it('newService() and newDestination() make what ipvsadm prints, IPv6 too', async () => {
    const parameters = { ...roundRobin, flags: SERVICE_FLAG.persistent, timeoutSeconds: 90, netmask: 64 };
    const address = Uint8Array.of(0xfd, ...new Array<number>(14).fill(0), 1);
    const batch = [
      newService(service6, parameters),
      newDestination(service6, { family: ipv6, address, port: 5353 }, { ...masquerade, weight: 3 }),
    ];
    expect(await client.executeBatch(batch, never)).toEqual([{ outcome: 'ok' }, { outcome: 'ok' }]);
    const vip = '[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:53';
    const lines = run(['ipvsadm', '-Sn'])
      .split('\n')
      .map((line) => line.trim());
    expect(lines).toContain(`-A -u ${vip} -s rr -p 90 -M 64`);
    expect(lines).toContain(`-a -u ${vip} -r [fd00::1]:5353 -m -w 3`);
  });

  it('getDestinations() of a service that does not exist is an empty dump', async () => {
    const request = getDestinations(service(0));
    const dump = await client.dump(request, (message) => decodeDestination(message, ipv4), never);
    expect(dump).toEqual({ outcome: 'ok', rows: [] });
  });

  it('dump() reads a table that takes many datagrams', async () => {
    await client.executeBatch(
      range(1000).map((i) => newService(service(i), roundRobin)),
      never,
    );
    const before = client.traffic().receivedDatagrams;
    const made = (await services()).map((row) => JSON.stringify(row));
    expect(client.traffic().receivedDatagrams - before).toBeGreaterThan(3);
    const wanted = range(1000).map((i) => JSON.stringify({ ...service(i), ...roundRobin }));
    expect(made.filter((row) => wanted.includes(row)).sort()).toEqual(wanted.sort());
  });
});
