import fc from 'fast-check';
import { MOST_HOST_NAMESPACE } from '../../../src/dataplane/socklb/layout.ts';
import { type ProjectOptions, projectSocklb } from '../../../src/dataplane/socklb/project.ts';
import type { BackendRow, ServiceRow, SocklbRows } from '../../../src/dataplane/socklb/rows.ts';
import type { DesiredState } from '../../../src/model/desired-state.ts';
import { parseScheduler, type Scheduler } from '../../../src/model/scheduler.ts';
import { realServerKey, type VirtualServer } from '../../../src/model/virtual-server.ts';
import { desiredOf } from '../../derive.ts';
import { objectsCase } from '../../properties/arbitrary-objects.ts';

/** What odd objects of a cluster mean, with weights and schedulers that objects can't tell yet. */
export const desiredStates: fc.Arbitrary<DesiredState> = fc
  .record({
    objects: objectsCase.map(({ objects }) => objects.map((object) => ({ ...object }))),
    weights: fc.array(fc.constantFrom(1, 1, 1, 2, 3, 0, 100), { minLength: 7, maxLength: 7 }),
    schedulers: fc.array(fc.constantFrom('rr', 'rr', 'wrr', 'mh', 'sh', 'lc', 'fo'), {
      minLength: 5,
      maxLength: 5,
    }),
  })
  .map(({ objects, weights, schedulers }) => {
    const desired = desiredOf(objects);
    const servers = [...desired.virtualServers].map(([key, server], i): [typeof key, VirtualServer] => [
      key,
      { ...weighted(server, weights, i), scheduler: schedulerOf(schedulers[i % schedulers.length]) },
    ]);
    return { ...desired, virtualServers: new Map(servers) };
  });

function schedulerOf(name: string | undefined): Scheduler {
  const scheduler = parseScheduler(name);
  if (!scheduler) throw new Error(`no scheduler: ${name}`);
  return scheduler;
}

function weighted(server: VirtualServer, weights: readonly number[], seed: number): VirtualServer {
  const realServers = server.realServers.map((each, i) => ({
    ...each,
    weight: weights[(seed + i) % weights.length] ?? 1,
  }));
  return { ...server, realServers };
}

export const projectOptions: fc.Arbitrary<ProjectOptions> = fc.record({
  mode: fc.constantFrom('on', 'on', 'on', 'hostOnly', 'off'),
  hostNamespace: fc.constantFrom(0, 17, MOST_HOST_NAMESPACE),
  excludeCIDRs: fc.constant([]),
  nodePortAddresses: fc.constantFrom([] as const, 'primary' as const),
  capacity: fc.constantFrom(
    { services: 1000, slots: 1000, backends: 1000, tables: 1000 },
    { services: 5, slots: 12, backends: 9, tables: 1 },
  ),
});

export const wantedRows: fc.Arbitrary<SocklbRows> = fc
  .tuple(desiredStates, projectOptions)
  .map(([desired, options]) => projectSocklb(desired, options).rows);

/** Rows with all their keys in the reverse order. */
export function reversed(rows: SocklbRows): SocklbRows {
  const services = [...rows.services].map(([key, row]): [typeof key, ServiceRow] => [
    key,
    { ...row, backends: new Map([...row.backends].reverse()) },
  ]);
  return {
    ...rows,
    services: new Map(services.reverse()),
    remains: new Map([...rows.remains].reverse()),
  };
}

/** What of a frontend is configured, in one line, those of weight 0 left out. */
export function servingText({ key, algorithm, affinitySeconds, backends }: ServiceRow): string {
  const servers = [...backends.values()]
    .filter(({ weight }) => weight > 0)
    .map((backend: BackendRow) => `${realServerKey(backend)}*${backend.weight}`);
  return [key, algorithm, affinitySeconds, ...servers.sort()].join(' ');
}
