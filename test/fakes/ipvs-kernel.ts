import { setImmediate } from 'node:timers/promises';
import {
  type IpvsKernel,
  type KernelAnswer,
  type KernelRealServer,
  type KernelRequest,
  type KernelState,
  type KernelVirtualServer,
  missingScheduler,
} from '../../src/dataplane/ipvs/kernel.ts';
import {
  NO_CONNECTIONS,
  type RealServerConfig,
  type VirtualServerConfig,
} from '../../src/dataplane/ipvs/rows.ts';
import { familyOf } from '../../src/model/address.ts';
import type { Scheduler } from '../../src/model/scheduler.ts';
import {
  type RealServerKey,
  realServerKey,
  type VirtualServerIdentity,
  type VirtualServerKey,
  virtualServerKey,
} from '../../src/model/virtual-server.ts';

interface Service {
  readonly identity: VirtualServerIdentity;
  config: VirtualServerConfig;
  readonly realServers: Map<RealServerKey, KernelRealServer>;
}

const OK: KernelAnswer = { outcome: 'ok' };

/** As the real client sends: the signal is looked at between sends. */
const SLICE = 256;

/** An IPVS table that refuses what the kernel refuses. @see net/netfilter/ipvs/ip_vs_ctl.c */
export class FakeIpvsKernel implements IpvsKernel {
  /** Requests executed or refused so far. */
  writes = 0;
  /** There is no module for these. */
  missingSchedulers: ReadonlySet<string> = new Set();
  /** Called between two slices of a batch. */
  betweenSlices: () => void = () => {};
  readonly #services = new Map<VirtualServerKey, Service>();
  readonly #unavailable = new Set<Scheduler>();

  /** How many of the next dumps pass over the first virtual server, as when the table changes meanwhile. */
  tornDumps = 0;

  /** Virtual servers read by name so far, and whole dumps. */
  reads = 0;
  dumps = 0;

  async read(identities: readonly VirtualServerIdentity[], signal: AbortSignal): Promise<KernelState> {
    signal.throwIfAborted();
    this.reads += identities.length;
    const found = identities.flatMap((identity) => this.#services.get(virtualServerKey(identity)) ?? []);
    return {
      virtualServers: found.map(kernelRow),
      unavailableSchedulers: new Set(this.#unavailable),
    };
  }

  async has(identity: VirtualServerIdentity): Promise<boolean> {
    return this.#services.has(virtualServerKey(identity));
  }

  async dump(signal: AbortSignal): Promise<KernelState> {
    signal.throwIfAborted();
    this.dumps += 1;
    const isTorn = this.tornDumps > 0;
    if (isTorn) this.tornDumps -= 1;
    return {
      virtualServers: this.table().slice(isTorn ? 1 : 0),
      unavailableSchedulers: new Set(this.#unavailable),
    };
  }

  async execute(requests: readonly KernelRequest[], signal: AbortSignal): Promise<readonly KernelAnswer[]> {
    const answers = requests.map((): KernelAnswer => ({ outcome: 'notAttempted' }));
    for (const [i, request] of requests.entries()) {
      if (i > 0 && i % SLICE === 0) {
        this.betweenSlices();
        await setImmediate();
      }
      if (i % SLICE === 0 && signal.aborted) break;
      answers[i] = this.request(request);
      const missing = missingScheduler(request, answers[i] ?? OK);
      if (missing !== undefined) this.#unavailable.add(missing);
    }
    return answers;
  }

  /** One request, as `ipvsadm` makes it. */
  request(request: KernelRequest): KernelAnswer {
    this.writes += 1;
    const code = this.#execute(request);
    return code === undefined ? OK : { outcome: 'refused', code };
  }

  /** What is there, oldest first. */
  table(): readonly KernelVirtualServer[] {
    return Array.from(this.#services.values(), kernelRow);
  }

  /** Sets the open connections of a real server, as traffic does. */
  connect(
    virtualServer: string,
    realServer: string,
    activeConnections: number,
    inactiveConnections = 0,
  ): void {
    for (const [key, { realServers }] of this.#services) {
      if (key !== virtualServer) continue;
      for (const [real, row] of realServers) {
        if (real === realServer) realServers.set(real, { ...row, activeConnections, inactiveConnections });
      }
    }
  }

  /** Every connection ends. */
  disconnectAll(): void {
    for (const { realServers } of this.#services.values()) {
      for (const [key, { config }] of realServers) realServers.set(key, { config, ...NO_CONNECTIONS });
    }
  }

  /** @returns the errno name of a refusal */
  #execute(request: KernelRequest): string | undefined {
    const key = virtualServerKey(request.identity);
    const service = this.#services.get(key);
    if (request.command === 'newService') {
      if (service) return 'EEXIST';
      const { identity, config } = request;
      const problem = this.#configProblem(identity, config);
      if (problem === undefined) this.#services.set(key, { identity, config, realServers: new Map() });
      return problem;
    }
    if (!service) return 'ESRCH';
    if ('realServer' in request) return destination(service, request.command, request.realServer);
    if (request.command === 'delService') {
      this.#services.delete(key);
      return undefined;
    }
    const problem = this.#configProblem(request.identity, request.config);
    if (problem === undefined) service.config = request.config;
    return problem;
  }

  #configProblem(identity: VirtualServerIdentity, config: VirtualServerConfig): string | undefined {
    if (this.missingSchedulers.has(config.scheduler)) return 'ENOENT';
    const prefixLength = config.netmask === null ? 128 : Number(config.netmask);
    const ipv6 = serviceFamily(identity) === 'IPv6';
    return ipv6 && !(prefixLength >= 1 && prefixLength <= 128) ? 'EINVAL' : undefined;
  }
}

function kernelRow({ identity, config, realServers }: Service): KernelVirtualServer {
  return { identity, config, realServers: [...realServers.values()] };
}

function destination(
  { identity, realServers }: Service,
  command: 'newDest' | 'setDest' | 'delDest',
  config: RealServerConfig,
): string | undefined {
  const key = realServerKey(config);
  const present = realServers.get(key);
  if (command === 'delDest') return realServers.delete(key) ? undefined : 'ENOENT';
  const otherFamily = familyOf(config.address) !== serviceFamily(identity);
  if (otherFamily && config.forwarding !== 'tunnel') return 'EINVAL';
  if (config.weight < 0 || config.lowerThreshold > config.upperThreshold) return 'ERANGE';
  if (command === 'newDest' ? present : !present) return present ? 'EEXIST' : 'ENOENT';
  realServers.set(key, { ...(present ?? NO_CONNECTIONS), config });
  return undefined;
}

function serviceFamily(identity: VirtualServerIdentity) {
  return identity.kind === 'address' ? familyOf(identity.address) : identity.family;
}

/** /proc/sys of one namespace. */
export class FakeSysctls {
  readonly values: Map<string, string>;
  /** As in an unprivileged container. */
  readOnly = false;

  constructor(values: Readonly<Record<string, string>>) {
    this.values = new Map(Object.entries(values));
  }

  readonly read = (name: string): string | undefined => this.values.get(name);

  readonly write = (name: string, value: string): string | undefined => {
    if (!this.values.has(name)) return 'ENOENT';
    if (this.readOnly) return 'EROFS';
    this.values.set(name, value);
    return undefined;
  };
}
