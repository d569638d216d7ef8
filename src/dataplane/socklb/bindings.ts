import { createHash } from 'node:crypto';
import type {
  Handle,
  LinkHandle,
  MapDefinition,
  MapHandle,
  ProgramDefinition,
  SocketPrograms,
} from './handles.ts';

/** A program with its instructions, from which its version follows. */
export interface BoundProgram extends ProgramDefinition {
  readonly instructions: Uint8Array;
}

/** The object that the bindings read. */
export interface BoundObject {
  readonly maps: readonly MapDefinition[];
  readonly programs: readonly BoundProgram[];
}

/** The modules of bpf(2), as far as they are used here. */
export interface BpfModules {
  readonly createMap: { bound(definition: MapDefinition): MapHandle }['bound'];
  readonly createInnerMap: { bound(definition: MapDefinition): MapHandle }['bound'];
  readonly loadProgram: {
    bound(object: BoundObject, program: BoundProgram, fdOf: (map: string) => number): Handle;
  }['bound'];
  readonly BpfMap: { openPinned(path: string): MapHandle | undefined };
  readonly BpfLink: {
    openPinned(path: string): LinkHandle | undefined;
    createOnCgroup(program: Handle, cgroup: string, attachType: number): LinkHandle;
  };
  readonly ATTACH_TYPE: Readonly<Record<string, number>>;
}

/** What can be made of an object by the modules that have read it. */
export function socketPrograms(modules: BpfModules, object: BoundObject): SocketPrograms {
  const { ATTACH_TYPE, BpfLink, BpfMap } = modules;
  const programOf = (name: string): BoundProgram => {
    const program = object.programs.find((each) => each.name === name);
    if (!program) throw new RangeError(`Cannot load program ${name}: the object has none`);
    return program;
  };
  return {
    maps: object.maps,
    programs: object.programs,
    version: versionOf(object),
    createMap: (definition) => modules.createMap(definition),
    createTable: (definition) => modules.createInnerMap(definition),
    openMap: (path) => BpfMap.openPinned(path),
    load: ({ name }, fdOf) => modules.loadProgram(object, programOf(name), fdOf),
    attach: (program, cgroup, hook) => {
      const attachType = ATTACH_TYPE[hook];
      if (attachType === undefined) throw new RangeError(`Cannot attach to ${hook}: there is no such hook`);
      return BpfLink.createOnCgroup(program, cgroup, attachType);
    },
    openLink: (path) => BpfLink.openPinned(path),
  };
}

/** The same for the same instructions. */
function versionOf({ programs }: BoundObject): string {
  const hash = createHash('sha256');
  for (const { name, instructions } of programs) hash.update(name).update(instructions);
  return hash.digest('hex').slice(0, 16);
}
