import type { Scheduler } from '../../model/scheduler.ts';
import type { VirtualServerIdentity } from '../../model/virtual-server.ts';
import type { GenlClient } from '../../netlink/client.ts';
import type { GenlRequest } from '../../netlink/genl.ts';
import {
  decodeDestination,
  decodeService,
  getDestinations,
  getService,
  getServices,
  type Service,
} from '../../netlink/ipvs-messages.ts';
import type { NetlinkMessage } from '../../netlink/message.ts';
import { NetlinkRequestError } from '../../netlink/results.ts';
import {
  type IpvsKernel,
  type KernelAnswer,
  type KernelRequest,
  type KernelState,
  type KernelVirtualServer,
  missingScheduler,
} from './kernel.ts';
import { decodeConfig, decodeIdentity, decodeRealServer, encodeIdentity, encodeRequest } from './wire.ts';

/** The kernel's IPVS table over generic netlink; remembers which schedulers it could not have. */
export class NetlinkIpvsKernel implements IpvsKernel {
  readonly #client: GenlClient;
  readonly #unavailableSchedulers: Set<Scheduler>;

  /**
   * @param client opened for the family "IPVS"; stays the caller's
   * @param unavailableSchedulers those that the kernel is known to lack before it is asked
   */
  constructor(client: GenlClient, unavailableSchedulers: Iterable<Scheduler> = []) {
    this.#client = client;
    this.#unavailableSchedulers = new Set(unavailableSchedulers);
  }

  /** @throws NetlinkRequestError if refused (EPERM), or if the table would not stand still to be read */
  async dump(signal: AbortSignal): Promise<KernelState> {
    const virtualServers: KernelVirtualServer[] = [];
    for (const service of await this.#rows('virtual servers', getServices(), decodeService, signal)) {
      virtualServers.push(...(await this.#withRealServers(service, signal)));
    }
    return { virtualServers, unavailableSchedulers: new Set(this.#unavailableSchedulers) };
  }

  /** One by one, for a socket can hold only one dump. @throws NetlinkRequestError as `dump` */
  async read(identities: readonly VirtualServerIdentity[], signal: AbortSignal): Promise<KernelState> {
    const virtualServers: KernelVirtualServer[] = [];
    for (const identity of identities) {
      const service = this.#lookUp(identity);
      if (service) virtualServers.push(...(await this.#withRealServers(service, signal)));
    }
    return { virtualServers, unavailableSchedulers: new Set(this.#unavailableSchedulers) };
  }

  async has(identity: VirtualServerIdentity): Promise<boolean> {
    return this.#lookUp(identity) !== undefined;
  }

  /** Many requests per send, as the client slices them. */
  async execute(requests: readonly KernelRequest[], signal: AbortSignal): Promise<readonly KernelAnswer[]> {
    const answers = await this.#client.executeBatch(requests.map(encodeRequest), signal);
    for (const [i, answer] of answers.entries()) {
      const request = requests[i];
      const missing = request && missingScheduler(request, answer);
      if (missing !== undefined) this.#unavailableSchedulers.add(missing);
    }
    return answers;
  }

  #lookUp(identity: VirtualServerIdentity): Service | undefined {
    const answer = this.#client.query(getService(encodeIdentity(identity)), decodeService);
    if (answer.outcome === 'ok') return answer.row;
    const refusal = answer.outcome === 'refused' ? answer : undefined;
    if (refusal?.code === 'ESRCH') return undefined;
    throw new NetlinkRequestError('look up a virtual server of IPVS', refusal);
  }

  /** None of a protocol that we have no name for: nothing that svcplane makes or looks for can be on it. */
  async #withRealServers(service: Service, signal: AbortSignal): Promise<KernelVirtualServer[]> {
    const identity = decodeIdentity(service);
    if (identity === undefined) return [];
    const decode = (message: NetlinkMessage) => decodeRealServer(decodeDestination(message, service.family));
    const realServers = await this.#rows('real servers', getDestinations(service), decode, signal);
    return [{ identity, config: decodeConfig(service), realServers }];
  }

  async #rows<Row>(
    what: string,
    request: GenlRequest,
    decode: (message: NetlinkMessage) => Row,
    signal: AbortSignal,
  ): Promise<readonly Row[]> {
    const result = await this.#client.dump(request, decode, signal);
    if (result.outcome === 'ok') return result.rows;
    throw new NetlinkRequestError(
      `read the ${what} of IPVS`,
      result.outcome === 'refused' ? result : undefined,
    );
  }
}
