import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BpfObject, readSocklbObject } from '../../../native-bindings/bpf-object.ts';
import {
  BACKEND_SERVICE_ID_OFFSET,
  BACKEND_STATE,
  BACKENDS,
  CONFIG,
  CONFIG_FLAG,
  HOST_NAMESPACE_SHIFT,
  MAGLEV_SIZE,
  MAP_SHAPES,
  type MapCodec,
  packElements,
  packKeys,
  SERVICE_FLAG,
  SERVICES,
  SLOTS,
  unpackElements,
} from '../../../src/dataplane/socklb/layout.ts';
import { address } from '../../trace/build.ts';

const OBJECT = readSocklbObject('socklb');

/** Bytes of an element, keys and values, in hexadecimal. */
function packed<Key, Value>(codec: MapCodec<Key, Value>, key: Key, value: Value): readonly [string, string] {
  const { keys, values } = packElements(codec, [[key, value]]);
  return [Buffer.from(keys).toString('hex'), Buffer.from(values).toString('hex')];
}

/** The fields of a struct that are not zero in `bytes`, as numbers or hexadecimal. */
function fieldsOf(
  { records }: BpfObject,
  struct: string,
  hex: string,
): Readonly<Record<string, number | string>> {
  const record = records[struct];
  const bytes = Buffer.from(hex, 'hex');
  expect(bytes.length).toBe(record?.bytes);
  const fields = Object.entries(record?.fields ?? {}).map(([name, { offset, bytes: size }]) => {
    const isInteger = size === 4;
    return [
      name,
      isInteger ? bytes.readUInt32LE(offset) : bytes.toString('hex', offset, offset + size),
    ] as const;
  });
  return Object.fromEntries(fields);
}

const FOUR = address('10.96.0.50');
const SIX = address('fd00::50');

describe('layout', () => {
  it.each(Object.entries(MAP_SHAPES))('%s has the sizes of the object', (name, shape) => {
    const map = OBJECT.maps.find((each) => each.name === name);
    expect(map && { keySize: map.keyBytes, valueSize: map.valueBytes, maxEntries: map.maxEntries }).toEqual(
      shape,
    );
  });

  it('has the constants of the header', () => {
    expect(OBJECT.constants).toMatchObject({
      MAGLEV_SLOTS: MAGLEV_SIZE,
      CFG_OFF: CONFIG_FLAG.off,
      CFG_HOST_ONLY: CONFIG_FLAG.hostOnly,
      CFG_HOST_NETNS_SHIFT: HOST_NAMESPACE_SHIFT,
      SVC_MAGLEV: SERVICE_FLAG.maglev,
      BACKEND_ACTIVE: BACKEND_STATE.active,
      BACKEND_TERMINATING: BACKEND_STATE.terminating,
    });
    expect(OBJECT.records.backend?.fields.svc_id?.offset).toBe(BACKEND_SERVICE_ID_OFFSET);
    expect(OBJECT.maps.find(({ name }) => name === 'lb_maglev')?.innerValueBytes).toBe(4 * MAGLEV_SIZE);
  });

  it('writes lb_cfg as the header has it; the ids are where programs have nothing', () => {
    const [key, value] = packed(CONFIG, 0, {
      flags: 2,
      udpFlowSeconds: 300,
      lastServiceId: 7,
      lastBackendId: 0x0102,
    });
    expect(key).toBe('00000000');
    expect(fieldsOf(OBJECT, 'cfg', value)).toEqual({
      flags: 2,
      udp_flow_s: 300,
      reserved: '0700000002010000',
    });
  });

  it.each([
    {
      frontend: { address: FOUR, port: 80, protocol: 'TCP' },
      addr: '00000000000000000000ffff0a600032',
      proto: '06',
    },
    {
      frontend: { address: SIX, port: 53, protocol: 'UDP' },
      addr: 'fd000000000000000000000000000050',
      proto: '11',
    },
  ] as const)('writes lb_svc as the header has it: $frontend.address', ({ frontend, addr, proto }) => {
    const service = { id: 3, generation: 9, count: 2, flags: 1, affinitySeconds: 10_800 };
    const [key, value] = packed(SERVICES, frontend, service);
    const port = frontend.port.toString(16).padStart(4, '0');
    expect(fieldsOf(OBJECT, 'svc_key', key)).toEqual({ addr, port, proto, scope: '00' });
    expect(fieldsOf(OBJECT, 'svc_val', value)).toEqual({
      svc_id: 3,
      gen: 9,
      count: 2,
      flags: 1,
      affinity_s: 10_800,
      reserved: 0,
    });
  });

  it('writes lb_slot as the header has it', () => {
    const [key, value] = packed(SLOTS, { serviceId: 3, generation: 9, slot: 1 }, 17);
    expect(fieldsOf(OBJECT, 'slot_key', key)).toEqual({ svc_id: 3, gen: 9, slot: 1 });
    expect(fieldsOf(OBJECT, 'slot_val', value)).toEqual({ backend_id: 17 });
  });

  it('writes lb_backend as the header has it', () => {
    const backend = { id: 17, address: FOUR, port: 8080, protocol: 'TCP', serviceId: 3, state: 1 } as const;
    const [key, value] = packed(BACKENDS, 17, backend);
    expect(fieldsOf(OBJECT, 'backend_key', key)).toEqual({ id: 17 });
    expect(fieldsOf(OBJECT, 'backend', value)).toEqual({
      addr: '00000000000000000000ffff0a600032',
      port: '1f90',
      proto: '06',
      state: '01',
      svc_id: 3,
      id: 17,
    });
  });

  it('reads what it writes', () => {
    const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
    const endpoint = {
      address: fc.oneof(fc.ipV4(), fc.ipV6()).map(address),
      port: fc.integer({ min: 1, max: 65_535 }),
      protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
    };
    const service = { id: u32, generation: u32, count: u32, flags: u32, affinitySeconds: u32 };
    const backend = { ...endpoint, id: u32, serviceId: u32, state: fc.constantFrom(0, 1) };
    const read = <Key, Value>(codec: MapCodec<Key, Value>, elements: readonly (readonly [Key, Value])[]) =>
      [...unpackElements(codec, packElements(codec, elements))].map(({ key, value }) => [key, value]);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.record(endpoint), fc.record(service))),
        fc.array(fc.tuple(u32, fc.record(backend))),
        (services, backends) => {
          expect(read(SERVICES, services)).toEqual(services);
          expect(read(BACKENDS, backends)).toEqual(backends);
        },
      ),
    );
  });

  it.each([
    { name: 'a protocol without hooks', at: 18, byte: 132 },
    { name: 'a scope that is none of ours', at: 19, byte: 1 },
  ])('reads no frontend from $name', ({ at, byte }) => {
    const keys = packKeys(SERVICES, [{ address: FOUR, port: 80, protocol: 'TCP' }]);
    keys[at] = byte;
    const [element] = unpackElements(SERVICES, { keys, values: new Uint8Array(24) });
    expect(element?.key).toBeUndefined();
  });
});
