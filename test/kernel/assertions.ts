import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Host } from './host.ts';

const ROOT = join(import.meta.dirname, '../..');

/**
 * Runs an assertion of scripts/test-kind with network namespaces in the place of nodes; `$1` is the node.
 * @param functions of bash, in the place of those that say how a node is reached
 */
export function holds({ namespace, directory }: Host, assertion: string, functions = ''): boolean {
  // The daemon's cgroups and its bpffs are those of the machine.
  const inside = 'nsenter --net="/run/netns/$node" "$@"';
  const script = `
    svcplane_on() { local node=$1; shift; set -- ${ROOT}/scripts/svcplane "$@"; ${inside}; }
    ipvsadm_on() { local node=$1; shift; set -- ipvsadm "$@"; ${inside}; }
    # Who serves may not speak HTTP.
    ask_from() { local node=$1 url=$2; set -- bash -c ': <>"/dev/tcp/\${0/://}"' "\${url#http://}"; ${inside}; }
    ${functions}
    source ${ROOT}/scripts/test-kind-files/assertions.sh
    ${assertion}`;
  const env = { ...process.env, SVCPLANE_SOCKET: join(directory, 'svcplane.sock') };
  return spawnSync('bash', ['-c', script, 'bash', namespace.name], { env }).status === 0;
}
