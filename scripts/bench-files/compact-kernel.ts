import { setImmediate } from 'node:timers/promises';
import type {
  IpvsKernel,
  KernelAnswer,
  KernelRequest,
  KernelState,
  KernelVirtualServer,
} from '../../src/dataplane/ipvs/kernel.ts';
import {
  NO_CONNECTIONS,
  type RealServerConfig,
  type VirtualServerConfig,
} from '../../src/dataplane/ipvs/rows.ts';
import {
  realServerKey,
  type VirtualServerIdentity,
  type VirtualServerKey,
  virtualServerKey,
} from '../../src/model/virtual-server.ts';
import { serverText, TITLE } from '../../test/fakes/ipvs-table-text.ts';

interface Service {
  readonly identity: VirtualServerIdentity;
  config: VirtualServerConfig;
  /** Few, so that a list is smaller than a map and as fast; a copy has no room to grow. */
  realServers: readonly RealServerConfig[];
}

const OK: KernelAnswer = { outcome: 'ok' };
const SLICE = 256;
const NO_SCHEDULER_IS_MISSING: KernelState['unavailableSchedulers'] = new Set();

/**
 * An IPVS table without connections that takes little memory, and reads single virtual servers as fast as the kernel.
 * It refuses what exists or does not, as the kernel does, and nothing else.
 */
export class CompactIpvsKernel implements IpvsKernel {
  /** Requests that were executed. */
  writes = 0;
  readonly #services = new Map<VirtualServerKey, Service>();
  readonly #onNewDestination: (realServer: RealServerConfig) => void;

  /** @param onNewDestination told of each real server that has just been added */
  constructor(onNewDestination: (realServer: RealServerConfig) => void) {
    this.#onNewDestination = onNewDestination;
  }

  get size(): { readonly virtualServers: number; readonly realServers: number } {
    const services = [...this.#services.values()];
    const realServers = services.reduce((sum, service) => sum + service.realServers.length, 0);
    return { virtualServers: services.length, realServers };
  }

  /** Forgets all. */
  clear(): void {
    this.#services.clear();
  }

  async dump(signal: AbortSignal): Promise<KernelState> {
    signal.throwIfAborted();
    return stateOf(this.#services.values());
  }

  /** As `/proc/net/ip_vs` shows it; others come to their turn meanwhile, as while the kernel writes it. */
  async text(signal: AbortSignal): Promise<string | undefined> {
    const services = [...this.#services.values()];
    let text = TITLE;
    for (let i = 0; i < services.length; i += SLICE) {
      text += serverText(stateOf(services.slice(i, i + SLICE)).virtualServers);
      await setImmediate();
      if (signal.aborted) return undefined;
    }
    return text;
  }

  async read(identities: readonly VirtualServerIdentity[], signal: AbortSignal): Promise<KernelState> {
    signal.throwIfAborted();
    return stateOf(identities.flatMap((identity) => this.#services.get(virtualServerKey(identity)) ?? []));
  }

  async has(identity: VirtualServerIdentity): Promise<boolean> {
    return this.#services.has(virtualServerKey(identity));
  }

  async execute(requests: readonly KernelRequest[], signal: AbortSignal): Promise<readonly KernelAnswer[]> {
    const answers = requests.map((): KernelAnswer => ({ outcome: 'notAttempted' }));
    for (const [i, request] of requests.entries()) {
      if (i > 0 && i % SLICE === 0) await setImmediate();
      if (i % SLICE === 0 && signal.aborted) break;
      const code = this.#execute(request);
      if (code === undefined) this.writes += 1;
      answers[i] = code === undefined ? OK : { outcome: 'refused', code };
    }
    return answers;
  }

  /** @returns the errno name of a refusal */
  #execute(request: KernelRequest): string | undefined {
    const key = virtualServerKey(request.identity);
    const service = this.#services.get(key);
    if (request.command === 'newService') {
      if (service) return 'EEXIST';
      const { identity, config } = request;
      this.#services.set(key, { identity, config, realServers: [] });
      return undefined;
    }
    if (!service) return 'ESRCH';
    if ('realServer' in request)
      return this.#executeDestination(service, request.command, request.realServer);
    if (request.command === 'delService') this.#services.delete(key);
    else service.config = request.config;
    return undefined;
  }

  #executeDestination(
    service: Service,
    command: 'newDest' | 'setDest' | 'delDest',
    config: RealServerConfig,
  ): string | undefined {
    const realServer = realServerKey(config);
    const others = service.realServers.filter((other) => realServerKey(other) !== realServer);
    const isThere = others.length < service.realServers.length;
    if (command === 'newDest' && isThere) return 'EEXIST';
    if (command !== 'newDest' && !isThere) return 'ENOENT';
    service.realServers = (command === 'delDest' ? others : [...others, config]).slice();
    if (command === 'newDest') this.#onNewDestination(config);
    return undefined;
  }
}

function stateOf(services: Iterable<Service>): KernelState {
  const virtualServers = Array.from(
    services,
    ({ identity, config, realServers }): KernelVirtualServer => ({
      identity,
      config,
      realServers: realServers.map((realServer) => ({ config: realServer, ...NO_CONNECTIONS })),
    }),
  );
  return { virtualServers, unavailableSchedulers: NO_SCHEDULER_IS_MISSING };
}
