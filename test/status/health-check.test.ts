import { describe, expect, test } from 'vitest';
import { healthResponse } from '../../src/status/health-check.ts';

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
