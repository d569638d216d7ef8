import { closeSync, openSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { collectGarbage, processFigures, processStartMs } from '../../src/status/host.ts';

describe('processFigures()', () => {
  test('sees a descriptor more, and processor time that never goes back', async () => {
    const read = processFigures();
    const before = await read();
    const descriptor = openSync('/dev/null', 'r');
    const after = await read();
    closeSync(descriptor);
    expect((after.openFiles ?? 0) - (before.openFiles ?? 0)).toBe(1);
    expect(after.cpuSeconds).toBeGreaterThanOrEqual(before.cpuSeconds);
    expect(after.residentBytes).toBeGreaterThan(after.heapUsedBytes);
    expect(after.eventLoopUtilization).toBeLessThanOrEqual(1);
    expect(after.maxFiles === null || after.maxFiles > 3).toBe(true);
  });
});

describe('collectGarbage()', () => {
  test('frees what nobody holds any more', async () => {
    const left = new WeakRef({ text: 'left' });
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
    expect(left.deref()).toBeUndefined();
  });
});

describe('processStartMs()', () => {
  test('is before now', () => {
    expect(processStartMs()).toBeLessThan(Date.now());
    expect(processStartMs()).toBeGreaterThan(Date.UTC(2020, 0));
  });
});
