import { mkdirSync, readFileSync, rmdirSync, statfsSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { SysError } from './errno.ts';
import { mount, umount2 } from './libc.ts';
import { type Probe, probeOfError, SUPPORTED } from './probe.ts';

const { EACCES, EPERM, EROFS } = constants.errno;
// include/uapi/linux/magic.h
const BPF_FS_MAGIC = 0xcafe4a11;
const CGROUP2_SUPER_MAGIC = 0x63677270;
// include/uapi/linux/mount.h
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
/** The inode number of the root of all cgroups; a cgroup namespace shows another cgroup as its root. */
const ROOT_CGROUP_INODE = 1;
const MOUNT_TABLE = '/proc/self/mountinfo';

/** A mounted cgroup2. */
export interface Cgroup2Mount {
  readonly path: string;
  /**
   * Whether its top is the root of all cgroups, so that a program attached there is called for every socket of the host.
   * In a container it is mostly the container's own cgroup.
   */
  readonly isHostRoot: boolean;
  /**
   * Whether its top lies above the root of this process's cgroup namespace: a mount from outside, as a container gets it
   * by a bind mount.
   */
  readonly isHandedIn: boolean;
}

/** The file systems of the socket balancer that we mount where they are missing. */
export type MountableFileSystem = 'bpf' | 'cgroup2';

/**
 * Mounts a new bpffs, or the cgroup2 that there is once.
 * @param path an existing directory
 * @throws SysError EPERM without CAP_SYS_ADMIN, ENODEV if the kernel has none, …
 */
export function mountFileSystem(type: MountableFileSystem, path: string): void {
  const { value, errno } = mount(type, path, type, MS_NOSUID | MS_NODEV | MS_NOEXEC, null);
  if (value < 0) throw new SysError(`mount ${type} ${path}`, errno);
}

/** Undoes `mountFileSystem`. What is pinned in a bpffs goes with its last mount. @throws SysError EBUSY, … */
export function unmountFileSystem(path: string): void {
  const { value, errno } = umount2(path, 0);
  if (value < 0) throw new SysError(`umount ${path}`, errno);
}

/** Is there a bpffs at this path? */
export function probeBpffs(path: string): Probe {
  try {
    if (statfsSync(path).type === BPF_FS_MAGIC) return SUPPORTED;
    return { outcome: 'unsupported', reason: `${path} is no bpffs` };
  } catch (error) {
    return probeOfError(error, []);
  }
}

/** Can directories be made there? Makes one, and takes it away. AppArmor may forbid it to whoever else may. */
export function probeMakingDirectories(path: string): Probe {
  const directory = join(path, `svcplane-probe-${process.pid}`);
  try {
    mkdirSync(directory);
    rmdirSync(directory);
    return SUPPORTED;
  } catch (error) {
    return probeOfError(error, [EACCES, EPERM, EROFS]);
  }
}

/**
 * The cgroup2 mounts that this process can get to, those with the root of all cgroups first.
 * @throws Error if the mount table cannot be read
 */
export function findCgroup2Mounts(): readonly Cgroup2Mount[] {
  const mounts = cgroup2Entries(readFileSync(MOUNT_TABLE, 'utf8')).flatMap(({ path, top }) => {
    const inode = cgroup2Inode(path);
    if (inode === undefined) return [];
    return [{ path, isHostRoot: inode === ROOT_CGROUP_INODE, isHandedIn: /^(\/\.\.)+$/.test(top) }];
  });
  return mounts.toSorted((a, b) => Number(b.isHostRoot) - Number(a.isHostRoot));
}

/** Of the cgroup at a path; undefined where another mount hides it, or this process may not get there. */
function cgroup2Inode(path: string): number | undefined {
  try {
    return statfsSync(path).type === CGROUP2_SUPER_MAGIC ? statSync(path).ino : undefined;
  } catch {
    // It is of no use then, and another mount may do.
    return undefined;
  }
}

/** Is there a cgroup2 with the root of all cgroups at its top? Its absence does not mean that the kernel has none. */
export function probeHostCgroup(): Probe {
  try {
    const [first] = findCgroup2Mounts();
    if (first === undefined) return { outcome: 'unsupported', reason: 'no cgroup2 is mounted' };
    if (first.isHostRoot) return SUPPORTED;
    return { outcome: 'unsupported', reason: `the cgroup2 at ${first.path} is not the host's root` };
  } catch (error) {
    return probeOfError(error, []);
  }
}

/**
 * Mounts of type cgroup2 in a mount table: where they are, and which cgroup is at their top, seen from the root of the
 * reader's cgroup namespace.
 * @see Documentation/filesystems/proc.rst, section 3.5; cgroup_namespaces(7)
 */
export function cgroup2Entries(
  mountTable: string,
): readonly { readonly path: string; readonly top: string }[] {
  return mountTable.split('\n').flatMap((line) => {
    // Optional fields end with a lone hyphen, and the type of the file system comes behind it.
    const [left = '', right = ''] = line.split(' - ');
    const [, , , top = '', path = ''] = left.split(' ').map(withoutEscapes);
    return right.startsWith('cgroup2 ') ? [{ path, top }] : [];
  });
}

/** Blanks and the like are written as octal numbers. */
function withoutEscapes(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
