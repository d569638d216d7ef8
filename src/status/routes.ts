import type { DaemonStatus } from './daemon-status.ts';
import { renderStatus } from './render-status.ts';
import { type HttpAnswer, JSON_TYPE, type Routes, TEXT_TYPE } from './status-http.ts';

/** At `healthzBindAddress`: for load balancers and probes, who may come from anywhere. */
export function healthRoutes(status: Pick<DaemonStatus, 'answer'>): Routes {
  return {
    'GET /healthz': () => status.answer('healthz'),
    'GET /livez': () => status.answer('livez'),
    'GET /readyz': () => status.answer('readyz'),
  };
}

/**
 * At `metricsBindAddress`, as of kube-proxy: `/healthz` says only that somebody is here.
 * @param config the configuration in force, as JSON can hold it
 */
export function metricsRoutes(status: Pick<DaemonStatus, 'metrics'>, config: () => object): Routes {
  return {
    'GET /metrics': () => status.metrics(),
    'GET /healthz': () => textAnswer('ok'),
    'GET /proxyMode': () => textAnswer('ipvs'),
    'GET /configz': () => jsonAnswer(JSON.stringify({ 'svcplane.io': config() })),
  };
}

export interface LocalHandlers {
  /** As `svcplane snapshot -o json` prints it. */
  snapshot(of: 'desired' | 'observed', signal: AbortSignal): Promise<string>;
  /** What a whole sync would do now, as `svcplane plan -o json` prints it. */
  plan(signal: AbortSignal): Promise<string>;
  /** Lets go of what the guard holds back. @returns one line */
  releaseGuard(): string;
}

/** At the local socket: for whoever may use it, so what is there may tell and do more. */
export function localRoutes(
  status: Pick<DaemonStatus, 'metrics' | 'document'>,
  handlers: LocalHandlers,
): Routes {
  return {
    'GET /status': (query) => {
      const document = status.document();
      return query.get('output') === 'text'
        ? textAnswer(renderStatus(document))
        : jsonAnswer(`${JSON.stringify(document, null, 2)}\n`);
    },
    'GET /snapshot': async (query, signal) => {
      const of = query.get('state') ?? 'observed';
      if (of === 'observed' || of === 'desired') return jsonAnswer(await handlers.snapshot(of, signal));
      return { ...textAnswer('state is neither observed nor desired\n'), status: 400 };
    },
    'GET /plan': async (_, signal) => jsonAnswer(await handlers.plan(signal)),
    'GET /metrics': () => status.metrics(),
    'POST /guard/release': () => textAnswer(`${handlers.releaseGuard()}\n`),
  };
}

function textAnswer(body: string): HttpAnswer {
  return { status: 200, type: TEXT_TYPE, body };
}

function jsonAnswer(body: string): HttpAnswer {
  return { status: 200, type: JSON_TYPE, body };
}
