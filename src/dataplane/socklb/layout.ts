import { addressFromBytes, type IpAddress, mappedBytes, parseIpAddress } from '../../model/address.ts';

/**
 * The keys and values of the socket balancer's maps, as its programs read them. Integers are little-endian, for the
 * programs are built for such hosts alone; addresses and ports are in network byte order, an IPv4 address as
 * ::ffff:a.b.c.d. Pads are zero.
 * @see native-bindings/bpf/socklb.h
 */

/** The maps that are read and written element by element. */
export type SocketMap = 'lb_cfg' | 'lb_svc' | 'lb_slot' | 'lb_backend' | 'lb_udp_conn';

/** Sizes in bytes, and how many elements the kernel takes. */
export interface MapShape {
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
}

export const MAP_SHAPES: { readonly [Name in SocketMap | 'lb_maglev']: MapShape } = {
  lb_cfg: { keySize: 4, valueSize: 16, maxEntries: 1 },
  lb_svc: { keySize: 20, valueSize: 24, maxEntries: 65_536 },
  lb_slot: { keySize: 12, valueSize: 4, maxEntries: 131_072 },
  lb_backend: { keySize: 4, valueSize: 28, maxEntries: 65_536 },
  // The least recently used give way.
  lb_udp_conn: { keySize: 8, valueSize: 8, maxEntries: 16_384 },
  // Of the outer map; an inner one has MAGLEV_SIZE u32.
  lb_maglev: { keySize: 4, valueSize: 4, maxEntries: 4096 },
};

/** Entries of a Maglev table: a prime, so that every step walks all of it. */
export const MAGLEV_SIZE = 16_381;

/** Bits of lb_cfg.flags. */
export const CONFIG_FLAG = { off: 1, hostOnly: 2 } as const;

/** With hostOnly: the cookie of the node's network namespace lies above these bits; 0 is the initial one. */
export const HOST_NAMESPACE_SHIFT = 2;
/** The highest that there is room for: namespaces are counted, and a machine makes no billion. */
export const MOST_HOST_NAMESPACE = 2 ** (32 - HOST_NAMESPACE_SHIFT) - 1;

/** Bits of lb_svc.flags that these programs honour. */
export const SERVICE_FLAG = { maglev: 1 } as const;

/** lb_backend.state: a terminating one takes no new connections, and keeps its UDP flows. */
export const BACKEND_STATE = { active: 0, terminating: 1 } as const;

const PROTOCOL_NUMBERS = { TCP: 6, UDP: 17 } as const;

/** A transport whose sockets have hooks; SCTP has none. */
export type SocketProtocol = keyof typeof PROTOCOL_NUMBERS;

/** The one element of lb_cfg. */
export interface ConfigElement {
  /** See {@link CONFIG_FLAG}. */
  readonly flags: number;
  /** How long a UDP socket that is silent keeps its real server. */
  readonly udpFlowSeconds: number;
  /** The highest ids ever given, which no program reads: kept here so that a restart gives none again. */
  readonly lastServiceId: number;
  readonly lastBackendId: number;
}

/** Key of lb_svc. */
export interface FrontendKey {
  readonly address: IpAddress;
  /** Host order. */
  readonly port: number;
  readonly protocol: SocketProtocol;
}

/** Value of lb_svc. */
export interface ServiceElement {
  readonly id: number;
  readonly generation: number;
  /** Slots of that generation: 0 to count - 1. */
  readonly count: number;
  /** See {@link SERVICE_FLAG}. */
  readonly flags: number;
  /** 0 without affinity. */
  readonly affinitySeconds: number;
}

/** Key of lb_slot; its value is the id of a backend. */
export interface SlotKey {
  readonly serviceId: number;
  readonly generation: number;
  readonly slot: number;
}

/** Value of lb_backend, whose key is its id. */
export interface BackendElement extends FrontendKey {
  readonly id: number;
  readonly serviceId: number;
  /** See {@link BACKEND_STATE}. */
  readonly state: number;
}

/** Value of lb_udp_conn, whose key is the cookie of a UDP socket that has connected; programs write it. */
export interface ConnectionElement {
  readonly backendId: number;
  readonly serviceId: number;
}

/** Keys, or keys and values, of one map, one behind the other. */
export interface PackedElements {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
}

/** How one map's keys and values are written and read; reading gives undefined for what the programs can't use. */
export interface MapCodec<Key, Value> {
  readonly map: SocketMap;
  writeKey(view: DataView, at: number, key: Key): void;
  writeValue(view: DataView, at: number, value: Value): void;
  readKey(view: DataView, at: number): Key | undefined;
  readValue(view: DataView, at: number): Value | undefined;
}

export const CONFIG: MapCodec<0, ConfigElement> = {
  map: 'lb_cfg',
  writeKey: (view, at, key) => view.setUint32(at, key, true),
  writeValue: (view, at, value) => setWords(view, at, configWords(value)),
  readKey: () => 0,
  readValue: (view, at) => ({
    flags: word(view, at),
    udpFlowSeconds: word(view, at + 4),
    lastServiceId: word(view, at + 8),
    lastBackendId: word(view, at + 12),
  }),
};

export const SERVICES: MapCodec<FrontendKey, ServiceElement> = {
  map: 'lb_svc',
  writeKey: (view, at, key) => writeEndpoint(view, at, key, 0),
  writeValue: (view, at, value) => setWords(view, at, serviceWords(value)),
  readKey: (view, at) => (view.getUint8(at + 19) === 0 ? readEndpoint(view, at) : undefined),
  readValue: (view, at) => ({
    id: word(view, at),
    generation: word(view, at + 4),
    count: word(view, at + 8),
    flags: word(view, at + 12),
    affinitySeconds: word(view, at + 16),
  }),
};

export const SLOTS: MapCodec<SlotKey, number> = {
  map: 'lb_slot',
  writeKey: (view, at, key) => setWords(view, at, slotWords(key)),
  writeValue: (view, at, backendId) => view.setUint32(at, backendId, true),
  readKey: (view, at) => ({
    serviceId: word(view, at),
    generation: word(view, at + 4),
    slot: word(view, at + 8),
  }),
  readValue: (view, at) => word(view, at),
};

export const BACKENDS: MapCodec<number, BackendElement> = {
  map: 'lb_backend',
  writeKey: (view, at, id) => view.setUint32(at, id, true),
  writeValue: (view, at, backend) => writeBackend(view, at, backend),
  readKey: (view, at) => word(view, at),
  readValue: (view, at) => {
    const endpoint = readEndpoint(view, at);
    const state = view.getUint8(at + 19);
    const isState = state === BACKEND_STATE.active || state === BACKEND_STATE.terminating;
    if (!endpoint || !isState) return undefined;
    return { ...endpoint, state, serviceId: word(view, at + 20), id: word(view, at + 24) };
  },
};

export const CONNECTIONS: MapCodec<bigint, ConnectionElement> = {
  map: 'lb_udp_conn',
  writeKey: (view, at, cookie) => view.setBigUint64(at, cookie, true),
  writeValue: (view, at, { backendId, serviceId }) => setWords(view, at, [backendId, serviceId]),
  readKey: (view, at) => view.getBigUint64(at, true),
  readValue: (view, at) => ({ backendId: word(view, at), serviceId: word(view, at + 4) }),
};

/** Where the id of its Service lies in a value of lb_backend, whatever else the value says. */
export const BACKEND_SERVICE_ID_OFFSET = 20;

/** Keys and values of a map, packed for one batch. */
export function packElements<Key, Value>(
  { map, writeKey, writeValue }: MapCodec<Key, Value>,
  elements: readonly (readonly [Key, Value])[],
): PackedElements {
  const { keySize, valueSize } = MAP_SHAPES[map];
  const keys = new Uint8Array(keySize * elements.length);
  const values = new Uint8Array(valueSize * elements.length);
  const [keyView, valueView] = [viewOf(keys), viewOf(values)];
  elements.forEach(([key, value], i) => {
    writeKey(keyView, i * keySize, key);
    writeValue(valueView, i * valueSize, value);
  });
  return { keys, values };
}

/** Keys of a map, packed for one batch. */
export function packKeys<Key>(
  { map, writeKey }: Pick<MapCodec<Key, never>, 'map' | 'writeKey'>,
  keys: readonly Key[],
): Uint8Array {
  const { keySize } = MAP_SHAPES[map];
  const packed = new Uint8Array(keySize * keys.length);
  const view = viewOf(packed);
  keys.forEach((key, i) => void writeKey(view, i * keySize, key));
  return packed;
}

/** One element of a map as read. */
export interface ReadElement<Key, Value> {
  readonly key: Key | undefined;
  readonly value: Value | undefined;
  readonly keyBytes: Uint8Array;
  readonly valueBytes: Uint8Array;
}

/** The elements of a batch, in its order. */
export function* unpackElements<Key, Value>(
  { map, readKey, readValue }: MapCodec<Key, Value>,
  { keys, values }: PackedElements,
): Generator<ReadElement<Key, Value>> {
  const { keySize, valueSize } = MAP_SHAPES[map];
  const [keyView, valueView] = [viewOf(keys), viewOf(values)];
  for (let i = 0; i * keySize < keys.length; i++) {
    yield {
      key: readKey(keyView, i * keySize),
      value: readValue(valueView, i * valueSize),
      keyBytes: keys.subarray(i * keySize, (i + 1) * keySize),
      valueBytes: values.subarray(i * valueSize, (i + 1) * valueSize),
    };
  }
}

/** A little-endian u32. */
export function word(view: DataView, at: number): number {
  return view.getUint32(at, true);
}

/** A view of the bytes where they lie. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function setWords(view: DataView, at: number, words: readonly number[]): void {
  words.forEach((value, i) => void view.setUint32(at + 4 * i, value, true));
}

function configWords({ flags, udpFlowSeconds, lastServiceId, lastBackendId }: ConfigElement) {
  return [flags, udpFlowSeconds, lastServiceId, lastBackendId];
}

function serviceWords({ id, generation, count, flags, affinitySeconds }: ServiceElement) {
  return [id, generation, count, flags, affinitySeconds, 0];
}

function slotWords({ serviceId, generation, slot }: SlotKey) {
  return [serviceId, generation, slot];
}

/** addr[16], port be16, proto u8 and a byte of its own: how keys of lb_svc and values of lb_backend begin. */
function writeEndpoint(
  view: DataView,
  at: number,
  { address, port, protocol }: FrontendKey,
  last: number,
): void {
  mappedBytes(address).forEach((byte, i) => void view.setUint8(at + i, byte));
  view.setUint16(at + 16, port, false);
  view.setUint8(at + 18, PROTOCOL_NUMBERS[protocol]);
  view.setUint8(at + 19, last);
}

function writeBackend(view: DataView, at: number, backend: BackendElement): void {
  writeEndpoint(view, at, backend, backend.state);
  setWords(view, at + 20, [backend.serviceId, backend.id]);
}

function readEndpoint(view: DataView, at: number): FrontendKey | undefined {
  const number = view.getUint8(at + 18);
  const protocol = number === PROTOCOL_NUMBERS.TCP ? 'TCP' : number === PROTOCOL_NUMBERS.UDP ? 'UDP' : null;
  const port = view.getUint16(at + 16, false);
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at, 16);
  // One address, one text: a mapped one is the IPv4 address.
  const address = parseIpAddress(isMapped(bytes) ? bytes.subarray(12).join('.') : addressFromBytes(bytes));
  if (protocol === null || port === 0 || !address) return undefined;
  return { address, port, protocol };
}

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}
