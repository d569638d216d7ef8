import type { HealthCheck } from '../model/desired-state.ts';

/** What a health check node port answers. */
export interface HealthResponse {
  readonly status: 200 | 503;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON */
  readonly body: string;
}

/**
 * What to answer while the guard holds deletions back: who still has what the API server says is gone is not to be left by
 * load balancers either.
 * @param before as answered last
 * @param now as the API server says
 */
export function checksWhileHeld(
  before: readonly HealthCheck[],
  now: readonly HealthCheck[],
): readonly HealthCheck[] {
  const checks = new Map(now.map((check) => [check.service, check]));
  const ports = new Map(now.map(({ port, service }) => [port, service]));
  for (const check of before) {
    const isTaken = (ports.get(check.port) ?? check.service) !== check.service;
    if (!isTaken && (checks.get(check.service)?.localEndpoints ?? 0) === 0) checks.set(check.service, check);
  }
  return [...checks.values()];
}

/**
 * The answer to a load balancer that asks whether this node has endpoints of a Service, as kube-proxy gives it.
 * @param isHealthy whether this node's dataplane is as it should be
 */
export function healthResponse(
  { service, localEndpoints }: Pick<HealthCheck, 'service' | 'localEndpoints'>,
  isHealthy: boolean,
): HealthResponse {
  const [namespace, name] = service.split('/', 2);
  const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy: isHealthy };
  return {
    status: localEndpoints > 0 && isHealthy ? 200 : 503,
    headers: {
      'Content-Type': 'application/json',
      'X-Content-Type-Options': 'nosniff',
      'X-Load-Balancing-Endpoint-Weight': String(localEndpoints),
    },
    body: JSON.stringify(body),
  };
}
