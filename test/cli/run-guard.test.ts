import { expect, it } from 'vitest';
import { NodeGuard } from '../../src/cli/run-guard.ts';
import { parsePort } from '../../src/model/port.ts';

it('NodeGuard.healthChecks() loses none while deletions are held, and all once they are released', () => {
  const guard = new NodeGuard({ maxDeleteShare: 0.5, minDeletes: 10, holdSeconds: 300 }, () => 0);
  const port = parsePort(32000);
  if (port === undefined) throw new RangeError('no port');
  const checks = [{ service: 'web/front', port, localEndpoints: 1 }];
  expect(guard.healthChecks(checks)).toBe(checks);
  expect(guard.review({ ours: 20, unwanted: 20 })).toBe('hold');
  expect(guard.healthChecks([])).toEqual(checks);
  expect(guard.healthChecks([])).toEqual(checks);
  guard.release();
  expect(guard.healthChecks([])).toEqual([]);
});
