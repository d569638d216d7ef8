import { rmdirSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TrafficProcesses } from '../dataplane/socklb/traffic.ts';
import { needsBpf } from './bpf-environment.ts';
import { makeCgroup, SocklbLab } from './socklb-lab.ts';

const SERVICE = { frontend: '10.96.0.10:80', id: 1, slots: [1] };
const PORT = 8080;
/** A program must be met between two look-ups: that takes a second or two of a hundred thousand connects. */
const PATIENCE_MS = 30_000;
const TURNS = 500;

describe('a frontend that is deleted while a program reads it', needsBpf(), () => {
  let cgroup = '';

  beforeAll(() => {
    cgroup = makeCgroup();
  });

  afterAll(() => {
    rmdirSync(cgroup);
  });

  test('is left to IPVS, and not refused', { timeout: 2 * PATIENCE_MS }, async ({ skip }) => {
    using lab = SocklbLab.open(cgroup);
    lab.configure({});
    lab.putBackend({ id: 1, service: 1, address: `127.0.0.1:${PORT}` });
    await using processes = new TrafficProcesses(null);
    await processes.serve(lab.namespace.name, 'connect', PORT);
    const client = await processes.client();
    const hammering = client.hammer({ to: SERVICE.frontend, namespace: lab.namespace.name, cgroup });
    const row = lab.serviceKey(SERVICE);
    const slot = lab.encode('slot_key', { svc_id: 1, gen: 1, slot: 0 });
    const deadline = performance.now() + PATIENCE_MS;
    while (lab.statistic('STAT_STALE') === 0 && performance.now() < deadline) {
      for (let turn = 0; turn < TURNS; turn++) {
        // Whoever finds the row finds its slot, or the row is gone by then.
        lab.putService(SERVICE);
        lab.map('lb_svc').delete(row);
        lab.map('lb_slot').delete(slot);
      }
      await setImmediate();
    }
    const { failed } = await hammering.end();
    if (lab.statistic('STAT_STALE') === 0) skip('no program was met between its two look-ups');
    // Without the row nothing leads there: the namespace has a loopback and no route.
    expect(Object.keys(failed)).toEqual(['ENETUNREACH']);
  });
});
