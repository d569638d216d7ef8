import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { SOCKET_EVENTS, socketEvents } from '../../../src/dataplane/socklb/statistics.ts';

const HEADER = readFileSync(join(import.meta.dirname, '../../../native-bindings/bpf/socklb.h'), 'utf8');

it('SOCKET_EVENTS are the counters of the programs, in their order', () => {
  const counters = [...HEADER.matchAll(/^#define STAT_(\w+)\s+(\d+)/gm)].filter(
    ([, name]) => name !== 'SLOTS',
  );
  const wanted = counters.map(([, name = '', number]) => [name.toLowerCase(), Number(number)]);
  expect(SOCKET_EVENTS.map((name, i) => [name, i])).toEqual(wanted);
});

it('socketEvents() names counters, and has none where there are no maps', () => {
  expect(socketEvents([5n, 2n, 1n])).toMatchObject({ hit: 5, miss: 2, refused: 1, stale: 0, no_memory: 0 });
  expect(Object.values(socketEvents([]))).toEqual(SOCKET_EVENTS.map(() => 0));
});
