import { describe, expect, test } from 'vitest';
import type { HealthCheck } from '../../src/model/desired-state.ts';
import { checksWhileHeld, healthResponse } from '../../src/status/health-check.ts';
import { healthCheck } from './status-build.ts';

describe('healthResponse()', () => {
  test.each([
    { localEndpoints: 2, isHealthy: true, status: 200 },
    { localEndpoints: 0, isHealthy: true, status: 503 },
    { localEndpoints: 2, isHealthy: false, status: 503 },
    { localEndpoints: 0, isHealthy: false, status: 503 },
  ])('$localEndpoints endpoints, healthy $isHealthy: $status', ({ localEndpoints, isHealthy, status }) => {
    expect(healthResponse({ service: 'web/front', localEndpoints }, isHealthy)).toEqual({
      status,
      headers: {
        'Content-Type': 'application/json',
        'X-Content-Type-Options': 'nosniff',
        'X-Load-Balancing-Endpoint-Weight': String(localEndpoints),
      },
      body: `{"service":{"namespace":"web","name":"front"},"localEndpoints":${localEndpoints},"serviceProxyHealthy":${isHealthy}}`,
    });
  });
});

describe('checksWhileHeld()', () => {
  const texts = (checks: readonly HealthCheck[]) =>
    checks.map(({ service, port, localEndpoints }) => `${service} ${port} ${localEndpoints}`).sort();
  const before = [healthCheck(32000, 2, 'web/a'), healthCheck(32001, 1, 'web/b')];

  test.each([
    { name: 'keeps what is gone', now: [], held: ['web/a 32000 2', 'web/b 32001 1'] },
    {
      name: 'keeps what would have no endpoints',
      now: [healthCheck(32000, 0, 'web/a')],
      held: texts(before),
    },
    {
      name: 'takes what has fewer',
      now: [healthCheck(32000, 1, 'web/a')],
      held: ['web/a 32000 1', 'web/b 32001 1'],
    },
    {
      name: 'takes what is new in the place of what is gone',
      now: [healthCheck(32000, 0, 'web/c')],
      held: ['web/b 32001 1', 'web/c 32000 0'],
    },
  ])('$name', ({ now, held }) => {
    expect(texts(checksWhileHeld(before, now))).toEqual(held);
  });
});
