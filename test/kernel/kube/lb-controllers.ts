import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ADDRESS_CONDITION } from '../../../src/load-balancer/decode-service.ts';
import { type ApiAccess, type ApiServer, kubeconfigOf } from './api-server.ts';
import { type Daemon, startDaemon } from './daemon.ts';

const SVCPLANE = join(import.meta.dirname, '../../../scripts/svcplane');
/** A second is enough where the machine has nothing else to do. */
const WAIT_MS = 30_000;
const POLL_MS = 100;

/** What the status of a Service says of its address. */
export interface AddressStatus {
  readonly addresses: readonly string[];
  readonly ipModes: readonly string[];
  /** Reason of our condition; "" without. */
  readonly reason: string;
  readonly message: string;
}

/** `svcplane lb-controller`, to be killed and started again. */
export interface LbController extends AsyncDisposable {
  readonly pid: number;
  log(): string;
  /** @returns the body of an answer; "" if nobody answers */
  ask(path: '/healthz' | '/metrics'): Promise<string>;
  leads(): Promise<boolean>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
}

/** Several controllers with one configuration file. Disposing of them ends them. */
export class LbControllers implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'svcplane-lb-'));
  readonly #parts = new AsyncDisposableStack();
  #count = 0;

  constructor(access: ApiAccess) {
    writeFileSync(join(this.#directory, 'kubeconfig'), kubeconfigOf(access));
    mkdirSync(join(this.#directory, 'config'));
    this.#parts.defer(() => rmSync(this.#directory, { recursive: true, force: true }));
  }

  /** @param loadBalancer keys of that name, for all that run */
  configure(loadBalancer: object): void {
    const file = this.#file;
    const kubeconfig = join(this.#directory, 'kubeconfig');
    writeFileSync(`${file}.new`, JSON.stringify({ kubeconfig, loadBalancer }));
    renameSync(`${file}.new`, file);
  }

  async start(): Promise<LbController> {
    const port = 20_000 + 10 * this.#count++;
    const command = [
      SVCPLANE,
      'lb-controller',
      ...['--config', this.#file],
      ...['--healthz-bind-address', `127.0.0.1:${port}`],
      ...['--metrics-bind-address', `127.0.0.1:${port + 1}`],
    ];
    let earlier = '';
    let current: Daemon = await startDaemon(command);
    const ask: LbController['ask'] = async (path) => {
      const url = `http://127.0.0.1:${path === '/metrics' ? port + 1 : port}${path}`;
      return fetch(url, { signal: AbortSignal.timeout(2000) }).then(
        (answer) => answer.text(),
        () => '',
      );
    };
    const controller: LbController = {
      get pid() {
        return current.pid;
      },
      log: () => earlier + current.log(),
      ask,
      leads: async () => (await ask('/healthz')) === 'ok: leads\n',
      stop: (signal) => current.stop(signal),
      start: async () => {
        earlier += current.log();
        current = await startDaemon(command);
      },
      [Symbol.asyncDispose]: () => current.stop('SIGKILL'),
    };
    return this.#parts.use(controller);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }

  get #file(): string {
    return join(this.#directory, 'config', 'config.yaml');
  }
}

/** By `namespace/name`, of all Services of type LoadBalancer. */
export async function addressStatuses(api: ApiServer): Promise<ReadonlyMap<string, AddressStatus>> {
  const { items } = Object(await api.request('GET', '/api/v1/services'));
  const statuses = new Map<string, AddressStatus>();
  for (const { metadata, spec, status } of items) {
    if (spec.type !== 'LoadBalancer') continue;
    const ingress: readonly { ip: string; ipMode: string }[] = status.loadBalancer?.ingress ?? [];
    const conditions: readonly { type: string; reason: string; message: string }[] = status.conditions ?? [];
    const condition = conditions.find(({ type }) => type === ADDRESS_CONDITION);
    statuses.set(`${metadata.namespace}/${metadata.name}`, {
      addresses: ingress.map(({ ip }) => ip),
      ipModes: ingress.map(({ ipMode }) => ipMode),
      reason: condition?.reason ?? '',
      message: condition?.message ?? '',
    });
  }
  return statuses;
}

/** Waits until `get` gives something. @throws Error with what `describe` says, if it does not in time */
export async function eventually<T>(get: () => Promise<T | undefined>, describe: () => string): Promise<T> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const found = await get();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`nothing came of it: ${describe()}`);
    await sleep(POLL_MS);
  }
}
