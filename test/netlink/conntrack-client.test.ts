import { describe, expect, test } from 'vitest';
import { ConntrackClient, type FlowSelection } from '../../src/netlink/conntrack-client.ts';
import { ADDRESS_FAMILY } from '../../src/netlink/ipvs-messages.ts';
import { ERRNO } from '../../src/netlink/uapi/errno.ts';
import { FakeConntrack, type FakeConntrackBehaviour, type FakeFlow } from './fake-conntrack.ts';

const { ipv4, ipv6 } = ADDRESS_FAMILY;
const UDP = 17;
const SCTP = 132;
const never = new AbortController().signal;
const OK = { outcome: 'ok' };

const client = (index: number) => Uint8Array.of(172, 16, index >> 8, index & 0xff);
const vip = (index: number) => Uint8Array.of(10, 96, index >> 8, index & 0xff);
const pod = (index: number) => Uint8Array.of(10, 1, index >> 8, index & 0xff);
const wide = (last: number) => Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? last : 0xfd));

interface FlowShape {
  readonly id: number;
  readonly vip?: number;
  readonly pod?: number;
  readonly protocol?: number;
  readonly port?: number;
  readonly zone?: number;
}

/** A client of 10.96.0.x:53 whom 10.1.0.y:5353 answers. */
function flow({ id, vip: to = 1, pod: from = 1, protocol = UDP, port = 53, zone }: FlowShape): FakeFlow {
  const sourcePort = 4000;
  return {
    family: ipv4,
    attributes: {
      original: {
        ip: { ipv4Source: client(id), ipv4Destination: vip(to) },
        protocol: { number: protocol, sourcePort, destinationPort: port },
      },
      reply: {
        ip: { ipv4Source: pod(from), ipv4Destination: client(id) },
        protocol: { number: protocol, sourcePort: 5353, destinationPort: sourcePort },
      },
      ...(zone !== undefined && { zone }),
      id,
    },
  };
}

const keep = (...pods: readonly number[]) => pods.map((index) => ({ address: pod(index), port: 5353 }));

function selection(to: number, pods: readonly number[] = [], protocol = UDP): FlowSelection {
  return { family: ipv4, protocol, address: vip(to), port: 53, keep: keep(...pods) };
}

/** Deletes, and says which flows are left, by id. */
async function run(
  flows: readonly FakeFlow[],
  selections: readonly FlowSelection[],
  behaviour: FakeConntrackBehaviour = {},
  signal = never,
) {
  const conntrack = new FakeConntrack(flows, behaviour);
  const conntrackClient = new ConntrackClient(conntrack);
  const results = await conntrackClient.deleteFlows(selections, signal);
  const left = conntrack.flows.map(({ attributes }) => attributes.id);
  return { results, left, conntrack, traffic: conntrackClient.traffic() };
}

const MIXED = [
  flow({ id: 1 }),
  flow({ id: 2, pod: 2 }),
  flow({ id: 3, pod: 3, zone: 9 }),
  flow({ id: 4, vip: 2, pod: 3 }),
  flow({ id: 5, pod: 3, protocol: SCTP }),
  flow({ id: 6, pod: 3, port: 54 }),
];

describe('deleteFlows()', () => {
  test.each([
    'applied',
    'ignored',
    'refused',
  ] as const)('deletes what nobody of keep answers, where a filter is %s', async (filter) => {
    const { results, left } = await run(MIXED, [selection(1, [1, 2])], { filter });
    expect(results).toEqual([OK]);
    expect(left).toEqual([1, 2, 4, 5, 6]);
  });

  test('lets the kernel filter, where it can', async () => {
    expect((await run(MIXED, [selection(1, [1])])).traffic).toEqual({ dumps: 1, flowsRead: 3, deletions: 2 });
    const refused = await run(MIXED, [selection(1, [1]), selection(2)], { filter: 'refused' });
    expect(refused.traffic).toEqual({ dumps: 3, flowsRead: 10, deletions: 3 });
  });

  test.each([
    'applied',
    'ignored',
    'refused',
  ] as const)('reads all flows of a protocol once for many destinations, where a filter is %s', async (filter) => {
    const flows = Array.from({ length: 600 }, (_, id) =>
      flow({ id: id + 1, vip: id % 300, pod: id < 300 ? 1 : 2 }),
    );
    const selections = Array.from({ length: 299 }, (_, to) => selection(to, [1]));
    const { results, left, conntrack, traffic } = await run(flows, [...selections, selection(1, [], SCTP)], {
      filter,
    });
    expect(results).toEqual(Array.from({ length: 300 }, () => OK));
    // The last destination was not asked for.
    expect(left).toEqual([...Array.from({ length: 300 }, (_, i) => i + 1), 600]);
    expect(conntrack.deletionsPerSend).toEqual([256, 43]);
    expect(traffic.dumps).toBe(filter === 'refused' ? 3 : 2);
  });

  test('tells IPv6 from IPv4', async () => {
    const six: FakeFlow = {
      family: ipv6,
      attributes: {
        original: {
          ip: { ipv6Source: wide(9), ipv6Destination: wide(1) },
          protocol: { number: UDP, sourcePort: 4000, destinationPort: 53 },
        },
        reply: {
          ip: { ipv6Source: wide(2), ipv6Destination: wide(9) },
          protocol: { number: UDP, sourcePort: 5353, destinationPort: 4000 },
        },
        id: 7,
      },
    };
    const of = (pods: readonly number[]): FlowSelection => ({
      family: ipv6,
      protocol: UDP,
      address: wide(1),
      port: 53,
      keep: pods.map((last) => ({ address: wide(last), port: 5353 })),
    });
    expect((await run([six, ...MIXED], [of([2])])).left).toEqual([7, 1, 2, 3, 4, 5, 6]);
    expect((await run([six, ...MIXED], [of([3])])).left).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('takes a flow that is gone, or another of the same tuple, for deleted', async () => {
    const beforeDeletion = (flows: FakeFlow[]) => void flows.splice(0, 2, flow({ id: 1, zone: 4 }));
    const { results, left } = await run([flow({ id: 1 }), flow({ id: 2 })], [selection(1)], {
      beforeDeletion,
    });
    expect(results).toEqual([OK]);
    expect(left).toEqual([1]);
  });

  test('gives the refusal to the destination it is about', async () => {
    const { results } = await run(MIXED, [selection(1, [1, 2, 3]), selection(2)], { refusal: ERRNO.EPERM });
    expect(results).toEqual([OK, { outcome: 'refused', errno: ERRNO.EPERM, code: 'EPERM' }]);
  });

  test('knows nothing of a dump that has lost datagrams, and deletes nothing by it', async () => {
    const { results, left } = await run(MIXED, [selection(1, [1])], { overruns: true });
    expect(results).toEqual([{ outcome: 'unknown' }]);
    expect(left).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('attempts nothing after an abort', async () => {
    const { results, traffic } = await run(MIXED, [selection(1)], {}, AbortSignal.abort());
    expect(results).toEqual([{ outcome: 'notAttempted' }]);
    expect(traffic.dumps).toBe(0);
  });
});
