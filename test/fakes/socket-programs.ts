import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import type {
  Handle,
  LinkHandle,
  MapDefinition,
  MapHandle,
  ProgramDefinition,
  SocketPrograms,
} from '../../src/dataplane/socklb/handles.ts';

/** An error as the kernel's refusals are. */
export function refusal(code: string): Error {
  return Object.assign(new Error(`bpf: ${code}`), { code });
}

const definition = (name: string, maxEntries: number): MapDefinition => {
  return { name, type: 1, keyBytes: 4, valueBytes: 8, maxEntries, flags: 0 };
};

const NO_ELEMENTS = { keys: new Uint8Array(0), values: new Uint8Array(0) };

/**
 * An object of three maps and two programs. A pin is a file with the shape of a map, or the name of a program; what is
 * open is counted. It keeps no elements.
 */
export class FakeSocketPrograms implements SocketPrograms {
  readonly maps = [definition('lb_cfg', 1), definition('lb_svc', 8), definition('lb_stat', 2)];
  readonly programs: readonly ProgramDefinition[] = [
    { name: 'lb_connect4', hook: 'connect4' },
    { name: 'lb_getpeer4', hook: 'getpeername4' },
  ];
  readonly version = 'v';
  /** Descriptors that are open. */
  open = 0;
  /** Names of what was made, in order: maps, then `load lb_connect4`. */
  readonly made: string[] = [];
  /** Asked before each request, `make lb_svc` or `open lb_svc`; an error it returns is thrown. */
  fault: (request: string) => Error | undefined = () => undefined;

  createMap(definition: MapDefinition): MapHandle {
    this.#ask(`make ${definition.name}`);
    this.made.push(definition.name);
    const { name: _, ...shape } = definition;
    return { ...this.#map(shape), pin: (path) => pinned(path, JSON.stringify(shape)) };
  }

  createTable(definition: MapDefinition): MapHandle {
    return this.createMap(definition);
  }

  openMap(path: string): MapHandle | undefined {
    this.#ask(`open ${path.split('/').at(-1)}`);
    return existsSync(path) ? this.#map(JSON.parse(readFileSync(path, 'utf8'))) : undefined;
  }

  load({ name }: ProgramDefinition, fdOf: (map: string) => number): Handle {
    this.#ask(`load ${name}`);
    for (const map of this.maps) fdOf(map.name);
    this.made.push(`load ${name}`);
    return this.#handle();
  }

  attach(_: Handle, cgroup: string, hook: string): LinkHandle {
    this.#ask(`attach ${hook}`);
    return this.#link(cgroup);
  }

  openLink(path: string): LinkHandle | undefined {
    return existsSync(path) ? this.#link(readFileSync(path, 'utf8')) : undefined;
  }

  #ask(request: string): void {
    const error = this.fault(request);
    if (error) throw error;
  }

  #handle(): Handle {
    this.open += 1;
    let isOpen = true;
    return {
      fd: 3,
      pin: (path) => pinned(path, ''),
      [Symbol.dispose]: () => {
        if (isOpen) this.open -= 1;
        isOpen = false;
      },
    };
  }

  #map(shape: MapHandle['shape']): MapHandle {
    return {
      ...this.#handle(),
      shape,
      entries: () => NO_ELEMENTS,
      lookup: () => undefined,
      update: () => undefined,
      updateAll: (keys) => ({ done: keys.length / shape.keyBytes }),
      deleteAll: (keys) => ({ done: keys.length / shape.keyBytes }),
    };
  }

  #link(cgroup: string): LinkHandle {
    return {
      ...this.#handle(),
      pin: (path) => pinned(path, cgroup),
      update: () => undefined,
      detach: () => undefined,
      info: () => ({ cgroupId: statSync(cgroup, { bigint: true }).ino }),
    };
  }
}

function pinned(path: string, content: string): boolean {
  if (existsSync(path)) return false;
  writeFileSync(path, content);
  return true;
}
