import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from './errno.ts';
import type { LinkHandle, MapHandle, ProgramDefinition, SocketPrograms } from './handles.ts';
import type { ProgramState } from './kernel.ts';

/** Where the programs and maps are. */
export interface SocketPlace {
  /** Of a bpffs; made when something is pinned. */
  readonly directory: string;
  /** A directory of a cgroup2: the sockets of all processes in it and below are balanced. */
  readonly cgroup: string;
}

/** A map that is pinned is not as this version makes it. */
export class MapShapeError extends Error {
  override readonly name = 'MapShapeError';
  readonly code = 'EEXIST';

  constructor(path: string) {
    super(`Cannot use map ${path}: another version of svcplane has made it`);
  }
}

/** A map is gone that was there a moment ago. */
export class MapsGoneError extends Error {
  override readonly name = 'MapsGoneError';
  readonly code = 'ENOENT';

  constructor(directory: string) {
    super(`Cannot make the maps of ${directory}: somebody takes them away`);
  }
}

/** Pins the maps and links of the balancer, so that they outlive this process. */
export class PinnedPrograms {
  readonly #programs: SocketPrograms;
  readonly #place: SocketPlace;

  constructor(programs: SocketPrograms, place: SocketPlace) {
    this.#programs = programs;
    this.#place = place;
  }

  /**
   * All maps by name; undefined if one is not there.
   * @throws MapShapeError if one is other than it should be
   */
  openMaps(): ReadonlyMap<string, MapHandle> | undefined {
    const opened = new Map<string, MapHandle>();
    using unused = new DisposableStack();
    for (const definition of this.#programs.maps) {
      const path = this.#mapPath(definition.name);
      const map = unused.use(this.#programs.openMap(path));
      if (!map) return undefined;
      opened.set(definition.name, map);
      const { name: _, ...shape } = definition;
      const keys = ['type', 'keyBytes', 'valueBytes', 'maxEntries', 'flags'] as const;
      if (keys.some((key) => map.shape[key] !== shape[key])) throw new MapShapeError(path);
    }
    unused.move();
    return opened;
  }

  /** Makes the maps that are not there. Attached programs do not know them, and are loaded anew. */
  makeMaps(): ReadonlyMap<string, MapHandle> {
    makeDirectory(join(this.#place.directory, MAPS));
    const missing = this.#programs.maps.filter(({ name }) => {
      using known = this.#programs.openMap(this.#mapPath(name));
      return known === undefined;
    });
    // Before anything is made: whoever is killed in between leaves programs that do not count as attached.
    if (missing.length > 0) this.#markOutdated();
    for (const definition of missing) {
      using made = this.#programs.createMap(definition);
      made.pin(this.#mapPath(definition.name));
    }
    const maps = this.openMaps();
    if (!maps) throw new MapsGoneError(this.#place.directory);
    using unused = new DisposableStack();
    for (const map of maps.values()) unused.use(map);
    if (missing.length > 0 && this.#linkNames().length > 0) this.attach(maps);
    unused.move();
    return maps;
  }

  state(): ProgramState {
    const states = this.#programs.programs.map((program) => {
      using link = this.#programs.openLink(this.#linkPath(program));
      return link !== undefined && this.#isAttached(link);
    });
    if (states.every((isAttached) => isAttached)) return 'attached';
    return states.some((isAttached) => isAttached) || this.#linkNames().length > 0 ? 'partly' : 'absent';
  }

  /**
   * Attaches what is not attached, and puts this version's programs in the place of others. First those that show a
   * client the address it asked for, then those that change it: no client sees an endpoint in between.
   */
  attach(maps: ReadonlyMap<string, MapHandle>): void {
    makeDirectory(join(this.#place.directory, LINKS));
    const fdOf = (name: string): number => {
      const map = maps.get(name);
      if (!map) throw new RangeError(`Cannot load the programs: there is no map ${name}`);
      return map.fd;
    };
    const isForward = ({ hook }: ProgramDefinition) => /^(connect|sendmsg)/.test(hook);
    const ordered = this.#programs.programs.toSorted((a, b) => Number(isForward(a)) - Number(isForward(b)));
    for (const program of ordered) {
      using loaded = this.#programs.load(program, fdOf);
      const path = this.#linkPath(program);
      const older = this.#linkNames().filter((name) => name.startsWith(`${program.name}-`));
      if (older.some((name) => this.#replace(join(this.#place.directory, LINKS, name), path, loaded)))
        continue;
      for (const name of older) rmSync(join(this.#place.directory, LINKS, name), { force: true });
      using link = this.#programs.attach(loaded, this.#place.cgroup, program.hook);
      link.pin(path);
    }
  }

  /** Detaches the programs, then gives up the maps. */
  remove(): void {
    for (const name of this.#linkNames()) {
      const path = join(this.#place.directory, LINKS, name);
      using link = this.#programs.openLink(path);
      link?.detach();
      rmSync(path, { force: true });
    }
    rmSync(this.#place.directory, { recursive: true, force: true });
    removeIfEmpty(dirname(this.#place.directory));
  }

  /** @returns false if the link can't be used any more */
  #replace(from: string, to: string, program: Parameters<LinkHandle['update']>[0]): boolean {
    using link = this.#programs.openLink(from);
    if (!link || !this.#isAttached(link)) return false;
    link.update(program);
    if (from !== to) renameSync(from, to);
    return true;
  }

  /** To the cgroup that is meant; one that was removed meanwhile has left its link detached. */
  #isAttached(link: LinkHandle): boolean {
    return link.info().cgroupId === statSync(this.#place.cgroup, { bigint: true }).ino;
  }

  /** The links go on under names that no version has. */
  #markOutdated(): void {
    for (const name of this.#linkNames().filter((each) => !each.endsWith(OUTDATED))) {
      const path = join(this.#place.directory, LINKS, name);
      renameSync(path, `${path}${OUTDATED}`);
    }
  }

  #linkNames(): readonly string[] {
    try {
      return readdirSync(join(this.#place.directory, LINKS));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  #mapPath(name: string): string {
    return join(this.#place.directory, MAPS, name);
  }

  /** The version is in the name: only who made a program can tell which it is. */
  #linkPath({ name }: ProgramDefinition): string {
    return join(this.#place.directory, LINKS, `${name}-${this.#programs.version}`);
  }
}

/** Level by level: mkdirSync tells ENOENT of a file system that is read-only when it makes several. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  makeDirectory(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}

/** Another layout's maps may be there, or it is the file system itself. */
function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== 'ENOTEMPTY' && code !== 'EBUSY' && code !== 'ENOENT') throw error;
  }
}

const MAPS = 'maps';
const LINKS = 'links';
const OUTDATED = '-outdated';
