/**
 * What of bpf(2) the socket balancer uses, by structure: the bindings have it, and tests may. Calls throw an error with
 * the errno's name as `code` where the kernel refuses.
 */

/** What a map is made of. Sizes in bytes. */
export interface MapDefinition {
  readonly name: string;
  readonly type: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
}

/** An error of the kernel. */
export interface KernelRefusal {
  /** The errno's name. */
  readonly code: string;
}

/** How far many writes got: elements before `done` are written. */
export interface WriteResult {
  readonly done: number;
  readonly refusal?: KernelRefusal;
  /** Whether the kernel took them in batches. */
  readonly batched?: boolean;
}

/** Something with a descriptor. */
export interface Handle extends Disposable {
  readonly fd: number;
  /** @returns false if there is a file of that name already */
  pin(path: string): boolean;
}

export interface MapHandle extends Handle {
  readonly shape: Omit<MapDefinition, 'name'>;
  entries(): { readonly keys: Uint8Array; readonly values: Uint8Array };
  lookup(key: Uint8Array): Uint8Array | undefined;
  update(key: Uint8Array, value: Uint8Array): unknown;
  /** In a map of maps values are descriptors. */
  updateAll(keys: Uint8Array, values: Uint8Array): WriteResult;
  /** Those that there are not count as done. */
  deleteAll(keys: Uint8Array): WriteResult;
}

export interface LinkHandle extends Handle {
  /** Puts another program in the place of the attached one, without a gap. */
  update(program: Handle): void;
  detach(): void;
  /** `cgroupId` is 0 if the link is detached, as where its cgroup is gone. */
  info(): { readonly cgroupId: bigint };
}

/** A program of the object, by the hook it is for: `connect4`. */
export interface ProgramDefinition {
  readonly name: string;
  readonly hook: string;
}

/** Our object, and what can be made of it. */
export interface SocketPrograms {
  readonly maps: readonly MapDefinition[];
  readonly programs: readonly ProgramDefinition[];
  /** A text of letters and digits that another build does not have. */
  readonly version: string;
  createMap(definition: MapDefinition): MapHandle;
  /** A map to put into the map of maps. */
  createTable(definition: MapDefinition): MapHandle;
  openMap(path: string): MapHandle | undefined;
  /** @param fdOf the descriptor of the map of this name */
  load(program: ProgramDefinition, fdOf: (map: string) => number): Handle;
  attach(program: Handle, cgroup: string, hook: string): LinkHandle;
  openLink(path: string): LinkHandle | undefined;
}
