import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { nodeObjectOf, objectsOf, POD_CIDRS, SERVICE_CIDRS, type TestService } from './test-services.ts';
import type { Lab, LabNode } from './traffic/topology.ts';

const SVCPLANE = join(import.meta.dirname, '../../scripts/svcplane');
const execute = promisify(execFile);

/** What it printed. */
export interface Printed {
  readonly stdout: string;
  readonly stderr: string;
}

/** svcplane on one node of a lab. Sockets of this process go on while it runs. */
export interface SvcplaneOn {
  /** Makes the node serve these Services and no others. @throws Error unless it ends with code 0 */
  apply(services: readonly TestService[]): Promise<Printed>;
  cleanup(): Promise<Printed>;
}

/** @param flags of every verb, beside those the lab needs */
export function svcplaneOn(lab: Lab, node: LabNode, flags: readonly string[] = []): SvcplaneOn {
  const manifest = join(lab.directory, `${node.name}.json`);
  const own = [
    ...['--node', node.name],
    ...['--state-directory', join(lab.directory, node.name)],
    ...['--service-cidrs', Object.values(SERVICE_CIDRS).join(',')],
    ...['--cluster-cidrs', Object.values(POD_CIDRS).join(',')],
    ...flags,
  ];
  const svcplane = (verb: string, ...args: readonly string[]): Promise<Printed> =>
    execute('ip', ['netns', 'exec', node.namespace, SVCPLANE, verb, ...args, ...own]);
  return {
    apply: (services) => {
      const items = [nodeObjectOf(node), ...services.flatMap(objectsOf)];
      writeFileSync(manifest, JSON.stringify({ kind: 'List', apiVersion: 'v1', items }));
      return svcplane('apply', '-f', manifest);
    },
    cleanup: () => svcplane('cleanup'),
  };
}
