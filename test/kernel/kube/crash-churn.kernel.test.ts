import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { sysctlsOf, tableNames } from '../foreign-setup.ts';
import { describeWithKube } from './binaries.ts';
import { clusterContent, endpointObject } from './cluster-content.ts';
import { createContent, deleteContent, writeEndpoints } from './load.ts';
import { inTrouble } from './trouble.ts';
import { startTroubledNode, type TroubledNode } from './troubled-node.ts';

const START_MS = 900_000;
const LONG_MS = 1_800_000;
const SERVICES = 60;
const ENDPOINTS = 3;
const KILLS = inTrouble({ some: 10, all: 50 });
/** Of the Services that come and go. */
const FIRST_FLEETING = 1000;
const FLEETING = 10;
/** It is in sync after one or two seconds. */
const LONGEST_START_MS = 3000;
const LONGEST_LIFE_MS = 1500;

describeWithKube('svcplane run, killed while things change', ['kube-apiserver'], () => {
  let troubled: TroubledNode;

  beforeAll(async () => {
    troubled = await startTroubledNode({ services: SERVICES, endpoints: ENDPOINTS });
  }, START_MS);

  afterAll(() => troubled?.[Symbol.asyncDispose]());

  /** Endpoints are exchanged, and Services made and deleted, until it is over. @returns how many writes there were */
  async function churn(isOver: () => boolean): Promise<number> {
    const { api, content } = troubled;
    const fleeting = clusterContent({ services: FLEETING, endpoints: ENDPOINTS, first: FIRST_FLEETING });
    let writes = 0;
    for (let turn = 0; !isOver(); turn++) {
      const index = turn % SERVICES;
      const [slice] = content[index]?.slices ?? [];
      const endpoints = Array.from({ length: ENDPOINTS }, (_, i) => endpointObject(index, i + (turn % 4)));
      if (slice) await writeEndpoints(api, slice, endpoints);
      const one = fleeting.slice(turn % FLEETING, (turn % FLEETING) + 1);
      if (Math.floor(turn / FLEETING) % 2 === 0) await createContent(api, one);
      else await deleteContent(api, one);
      writes += 3;
    }
    return writes;
  }

  it(
    `is killed ${KILLS} times at random moments, and the next one mends all, and cuts nobody off`,
    async () => {
      const { daemon, clients } = troubled;
      const sysctls = sysctlsOf(troubled.node);
      let isOver = false;
      const churned = churn(() => isOver);
      const syncedBefore: boolean[] = [];
      try {
        for (let kill = 0; kill < KILLS; kill++) {
          // Every second one has come to follow changes before it is killed.
          if (kill % 2 === 0) await daemon.synced();
          await sleep(Math.random() * (kill % 2 === 0 ? LONGEST_LIFE_MS : LONGEST_START_MS));
          syncedBefore.push(/\nsvcplane_synced 1\n/.test(await daemon.metrics()));
          await daemon.stop('SIGKILL');
          await daemon.start();
        }
      } finally {
        isOver = true;
      }
      const writes = await churned;
      await daemon.synced();
      await troubled.converged();
      await clients.asked();
      const { rounds, lost } = clients.report();
      const inSync = syncedBefore.filter(Boolean).length;
      console.log(
        `crash: ${KILLS} times killed, ${inSync} times after its first sync, during ${writes} writes; ` +
          `all connections exchanged data ${rounds} times`,
      );
      expect(lost).toEqual([]);
      expect(troubled.foreign()).toEqual(troubled.foreignBefore);
      expect(sysctlsOf(troubled.node)).toBe(sysctls);
    },
    LONG_MS,
  );

  it(
    'has nothing left to do, and takes away all of its own',
    async () => {
      const { daemon } = troubled;
      expect(await daemon.svcplane(['verify'])).toMatch(/^Verify: 0 missing, 0 altered, 0 stale, /m);
      await daemon.stop();
      await daemon.svcplane(['cleanup']);
      expect(troubled.rows()).toEqual([]);
      expect(troubled.foreign()).toEqual(troubled.foreignBefore);
      expect(tableNames(troubled.node)).not.toContain('table inet svcplane');
      expect(troubled.node.run(['ip', '-br', 'link'])).not.toContain('svcplane0');
    },
    LONG_MS,
  );
});
