import { expect, it } from 'vitest';
import { NodeGuard } from '../../src/cli/run-guard.ts';
import { healthCheck } from '../status/status-build.ts';

it('NodeGuard.healthChecks() loses none while deletions are held, and all once they are released', () => {
  const guard = new NodeGuard({ maxDeleteShare: 0.5, minDeletes: 10, holdSeconds: 300 }, () => 0);
  const checks = [healthCheck(32000)];
  expect(guard.healthChecks(checks)).toBe(checks);
  expect(guard.review({ ours: 20, unwanted: 20 })).toBe('hold');
  expect(guard.healthChecks([])).toEqual(checks);
  expect(guard.healthChecks([])).toEqual(checks);
  guard.release();
  expect(guard.healthChecks([])).toEqual([]);
});
