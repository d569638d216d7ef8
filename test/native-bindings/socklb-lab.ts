import { mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { endianness, tmpdir } from 'node:os';
import { join } from 'node:path';
import { BpfLink } from '../../native-bindings/bpf-links.ts';
import type { BpfMap } from '../../native-bindings/bpf-maps.ts';
import {
  type BpfObject,
  createInnerMap,
  createMap,
  loadProgram,
  readSocklbObject,
  type SocklbBuild,
} from '../../native-bindings/bpf-object.ts';
import { ATTACH_TYPE } from '../../native-bindings/bpf-programs.ts';
import { findCgroup2Mounts } from '../../native-bindings/mounts.ts';
import { mappedBytes } from '../../src/model/address.ts';
import { createNamespace, type NetworkNamespace } from '../kernel/probe.ts';
import { within } from '../kernel/traffic/raw-socket.ts';
import { type ClientKind, RawSocket, splitAddress } from './raw-sockets.ts';

const PROTOCOL = { TCP: 6, UDP: 17 } as const;
const littleEndian = endianness() === 'LE';

type FieldValue = number | bigint | Uint8Array;

/** A service of a test: its frontend, and the numbers that its row has. */
export interface TestService {
  readonly frontend: string;
  readonly protocol?: 'TCP' | 'UDP';
  readonly id: number;
  readonly generation?: number;
  readonly flags?: number;
  readonly affinitySeconds?: number;
  /** Backends by number, as often as they have slots. */
  readonly slots: readonly number[];
}

/** A backend of a test. */
export interface TestBackend {
  readonly id: number;
  readonly service: number;
  readonly address: string;
  readonly protocol?: 'TCP' | 'UDP';
  readonly state?: number;
}

/** Programs attached to a cgroup, their maps, and a network namespace with nothing but a loopback. */
export class SocklbLab implements Disposable {
  readonly object: BpfObject;
  readonly maps: ReadonlyMap<string, BpfMap>;
  readonly links: readonly BpfLink[];
  readonly namespace: NetworkNamespace;

  private constructor(object: BpfObject, cgroup: string) {
    this.object = object;
    // The hashes of the product take 30 MB, and every test makes its own.
    const most = (entries: number) => Math.min(entries, 1024);
    this.maps = new Map(object.maps.map((map) => [map.name, createMap(map, most(map.maxEntries))]));
    this.links = object.programs.map((program) => {
      using loaded = loadProgram(object, program, (name) => this.map(name).fd);
      return BpfLink.createOnCgroup(loaded, cgroup, ATTACH_TYPE[program.hook]);
    });
    this.namespace = createNamespace('socklb');
  }

  static open(cgroup: string, build: SocklbBuild = 'socklb'): SocklbLab {
    return new SocklbLab(readSocklbObject(build), cgroup);
  }

  map(name: string): BpfMap {
    const map = this.maps.get(name);
    if (map === undefined) throw new Error(`there is no map ${name}`);
    return map;
  }

  configure(fields: { readonly flags?: number; readonly udp_flow_s?: number }): void {
    this.map('lb_cfg').update(new Uint8Array(4), this.encode('cfg', { udp_flow_s: 60, ...fields }));
  }

  /** Writes slots, then the row. */
  putService(service: TestService): void {
    const generation = service.generation ?? 1;
    for (const [slot, backend] of service.slots.entries()) {
      this.map('lb_slot').update(
        this.encode('slot_key', { svc_id: service.id, gen: generation, slot }),
        this.encode('slot_val', { backend_id: backend }),
      );
    }
    const row = {
      svc_id: service.id,
      gen: generation,
      count: service.slots.length,
      flags: service.flags ?? 0,
      affinity_s: service.affinitySeconds ?? 0,
    };
    this.map('lb_svc').update(this.serviceKey(service), this.encode('svc_val', row));
  }

  serviceKey({ frontend, protocol = 'TCP' }: Pick<TestService, 'frontend' | 'protocol'>): Uint8Array {
    const { address, port } = splitAddress(frontend);
    return this.encode('svc_key', {
      addr: mappedBytes(address),
      port: bigEndian16(port),
      proto: PROTOCOL[protocol],
    });
  }

  putBackend({ id, service, address: text, protocol = 'TCP', state = 0 }: TestBackend): void {
    const { address, port } = splitAddress(text);
    const addr = mappedBytes(address);
    const proto = PROTOCOL[protocol];
    const backend = { addr, port: bigEndian16(port), proto, state, svc_id: service, id };
    this.map('lb_backend').update(this.encode('backend_key', { id }), this.encode('backend', backend));
  }

  deleteBackend(id: number): void {
    this.map('lb_backend').delete(this.encode('backend_key', { id }));
  }

  /** A Maglev table that names one backend everywhere, in an array of its own. */
  putMaglev(service: number, backend: number): BpfMap {
    const definition = this.object.maps.find(({ name }) => name === 'lb_maglev');
    if (definition === undefined) throw new Error('there is no map lb_maglev');
    const table = createInnerMap(definition);
    this.fillMaglev(table, backend);
    this.map('lb_maglev').updateMap(this.encode('maglev_key', { svc_id: service }), table);
    return table;
  }

  fillMaglev(table: BpfMap, backend: number): void {
    const slots = new Uint32Array(table.shape.valueBytes / 4).fill(backend);
    table.update(new Uint8Array(4), new Uint8Array(slots.buffer));
  }

  /** A counter of the programs, over all CPUs. */
  statistic(name: string): number {
    const number = this.object.constants[name];
    if (number === undefined) throw new Error(`there is no counter ${name}`);
    const values = this.map('lb_stat').lookup(new Uint8Array(Uint32Array.of(number).buffer));
    const counts = new BigUint64Array(values?.buffer ?? new ArrayBuffer(0));
    return Number(counts.reduce((sum, count) => sum + count, 0n));
  }

  /** A socket of the namespace, in whatever cgroup this process is. */
  socket(protocol: 'TCP' | 'UDP', kind?: ClientKind): RawSocket {
    return within(this.namespace.name, () => new RawSocket(protocol, kind));
  }

  /** A server on an address of the loopback. */
  server(protocol: 'TCP' | 'UDP', address: string): RawSocket {
    const socket = this.socket(protocol, address.startsWith('[') ? 'IPv6' : 'IPv4');
    return socket.bind(address, protocol === 'TCP');
  }

  /** A struct as the programs read it; what is left out is zero. */
  encode(record: string, fields: Readonly<Record<string, FieldValue>>): Uint8Array {
    const layout = this.object.records[record];
    if (layout === undefined) throw new Error(`there is no struct ${record}`);
    const bytes = new Uint8Array(layout.bytes);
    const view = new DataView(bytes.buffer);
    for (const [name, value] of Object.entries(fields)) {
      const field = layout.fields[name];
      if (field === undefined) throw new Error(`there is no field ${record}.${name}`);
      if (value instanceof Uint8Array) bytes.set(value, field.offset);
      else if (field.bytes === 8) view.setBigUint64(field.offset, BigInt(value), littleEndian);
      else if (field.bytes === 4) view.setUint32(field.offset, Number(value), littleEndian);
      else view.setUint8(field.offset, Number(value));
    }
    return bytes;
  }

  [Symbol.dispose](): void {
    for (const handle of [...this.links, ...this.maps.values()]) handle[Symbol.dispose]();
    this.namespace[Symbol.dispose]();
  }
}

function bigEndian16(port: number): Uint8Array {
  return Uint8Array.of(port >> 8, port & 0xff);
}

/** A cgroup with this process in it, which goes back when it is disposed of. */
export interface JoinedCgroup extends Disposable {
  readonly path: string;
}

/** Makes a cgroup below the one that this process is in. It must be removed. */
export function makeCgroup(): string {
  return mkdtempSync(join(ownCgroup(), 'svcplane-test-'));
}

/** Moves this process into a new cgroup: sockets that it makes from now on are balanced by what is attached there. */
export function joinNewCgroup(): JoinedCgroup {
  const home = ownCgroup();
  const path = makeCgroup();
  writeFileSync(join(path, 'cgroup.procs'), String(process.pid));
  return {
    path,
    [Symbol.dispose]: () => {
      writeFileSync(join(home, 'cgroup.procs'), String(process.pid));
      rmdirSync(path);
    },
  };
}

/** Where this process is. @see cgroups(7) */
export function ownCgroup(): string {
  const [mount] = findCgroup2Mounts();
  if (mount === undefined) throw new Error('no cgroup2 is mounted');
  const below = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  return join(mount.path, below);
}

/** An empty directory below that of temporary files. */
export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'svcplane-bpf-'));
}
