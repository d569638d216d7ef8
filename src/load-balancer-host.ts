import { randomUUID } from 'node:crypto';
import { openApiConnection } from './cluster/api-connection-client.ts';
import type { WatchState } from './cluster/api-kind-watch.ts';
import { EventRecorder } from './cluster/events-client.ts';
import type { Config } from './config.ts';
import type { AllocationRules } from './load-balancer/allocate.ts';
import { LeaderLease } from './load-balancer/lease-client.ts';
import { AddressController, type RoundReport } from './load-balancer/loop.ts';
import { API_BACKOFF, delayAfter } from './sync/backoff.ts';

/** Whom `lb-controller` is told of what becomes of it. */
export interface LoadBalancerHooks {
  /** What is in force now. */
  rules(): AllocationRules;
  onLeading(isLeading: boolean): void;
  onRound(report: RoundReport): void;
  onWatch(state: WatchState): void;
  /** The Lease could not be had or renewed. @param message one line */
  onLeaseFailure(message: string): void;
  /** The API server has answered. */
  onContact(): void;
}

/** The controller, connected to its API server; nothing is asked of it before it runs. */
export interface LoadBalancerAccess extends Disposable {
  readonly controller: Pick<AddressController, 'run' | 'look'>;
  readonly events: Pick<EventRecorder, 'record' | 'run'>;
  /** As the Lease and Events call this process. */
  readonly identity: string;
  readonly server: string;
}

const LEASE = 'svcplane-lb-controller';
/** Answers that have not begun after so long do not come, and the Lease runs out meanwhile. */
const ANSWER_MS = 10_000;
const WATCH_TIMES = { watchMs: 300_000, marginMs: 30_000, shortMs: 500, notServedMs: 600_000 };

/**
 * @param name of this Pod or machine; what makes it different from any other is added
 * @throws ApiConfigurationError of one line
 */
export async function openLoadBalancer(
  config: Config,
  name: string,
  hooks: LoadBalancerHooks,
): Promise<LoadBalancerAccess> {
  const connection = await openApiConnection({
    ...(config.kubeconfig === '' ? {} : { kubeconfig: config.kubeconfig }),
    ...(config.apiServer === '' ? {} : { server: config.apiServer }),
    env: process.env,
    answerTimeoutMs: ANSWER_MS,
  });
  const request: typeof connection.request = (method, path, options) =>
    connection.request(method, path, options);
  const delayMs = (failures: number) => delayAfter(failures, Math.random(), API_BACKOFF);
  const identity = `${name}_${randomUUID()}`;
  const { leaseNamespace, leaseDurationSeconds } = config.loadBalancer;
  const durationMs = leaseDurationSeconds * 1000;
  const lease = new LeaderLease({
    request,
    name: { namespace: leaseNamespace, name: LEASE },
    identity,
    delayAfter: delayMs,
    onFailure: (message) => hooks.onLeaseFailure(message),
    onContact: () => hooks.onContact(),
    // The shares that the controllers of Kubernetes have.
    times: { durationMs, deadlineMs: (durationMs * 2) / 3, retryMs: (durationMs * 2) / 15 },
  });
  const controller = new AddressController({
    connection,
    lease,
    rules: () => hooks.rules(),
    times: WATCH_TIMES,
    delayAfter: delayMs,
    onLeading: (isLeading) => hooks.onLeading(isLeading),
    onRound: (report) => hooks.onRound(report),
    onWatch: (state) => hooks.onWatch(state),
  });
  return {
    controller,
    events: new EventRecorder({ request, node: identity }),
    identity,
    get server() {
      return connection.server;
    },
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}
