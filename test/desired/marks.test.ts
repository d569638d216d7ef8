import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assignMarks } from '../../src/desired/marks.ts';
import { virtualServer } from '../dataplane/ipvs/build.ts';

const BASE = 0x53000000;

function frontends(ports: readonly number[]) {
  return ports.map((port) => virtualServer(`TCP 203.0.113.9:${port}`, { insideRealServers: [] }));
}

describe('assignMarks()', () => {
  it('marks only frontends whose inside clients differ, each with its own mark above the base', () => {
    const outsideOnly = virtualServer('TCP 203.0.113.10:80');
    const marks = assignMarks([...frontends([80, 443]), outsideOnly], BASE);
    expect([...marks.keys()]).toEqual(['TCP 203.0.113.9:80', 'TCP 203.0.113.9:443']);
    for (const mark of marks.values()) expect(mark - (mark % 2 ** 24)).toBe(BASE);
  });

  it('keeps the marks of the others when one comes or goes', () => {
    const all = assignMarks(frontends([80, 443, 8080]), BASE);
    const fewer = assignMarks(frontends([80, 8080]), BASE);
    for (const [key, mark] of fewer) expect(mark).toBe(all.get(key));
  });

  it('gives no mark twice, even where keys collide', () => {
    // 20,000 keys in 2^24 places collide about a dozen times.
    const ports =
      fc.sample(
        fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { minLength: 5000, maxLength: 5000 }),
        1,
      )[0] ?? [];
    const many = ['203.0.113.1', '203.0.113.2', '203.0.113.3', '203.0.113.4'].flatMap((address) =>
      ports.map((port) => virtualServer(`TCP ${address}:${port}`, { insideRealServers: [] })),
    );
    const marks = assignMarks(many, BASE);
    expect(marks.size).toBe(many.length);
    expect(new Set(marks.values()).size).toBe(many.length);
  });
});
