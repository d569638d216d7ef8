import { readFileSync } from 'node:fs';
import type { GenlClient } from '../../netlink/client.ts';
import type { GenlRequest } from '../../netlink/genl.ts';
import { decodeDaemon, deleteDaemon, getDaemons, newDaemon } from '../../netlink/ipvs-daemon-messages.ts';
import { NetlinkRequestError } from '../../netlink/results.ts';
import { DAEMON_STATE } from '../../netlink/uapi/ipvs.ts';
import type { SyncRole } from '../ledger.ts';
import type { SyncAnswer, SyncKernel } from './kernel.ts';
import type { SyncDaemon } from './rows.ts';

const GONE: ReadonlySet<unknown> = new Set(['ENOENT', 'EINVAL']);
const NEVER_ABORTED = new AbortController().signal;

/** The kernel's daemons over generic netlink. */
export class NetlinkSyncKernel implements SyncKernel {
  readonly #client: GenlClient;

  /** @param client opened for the family "IPVS"; stays the caller's */
  constructor(client: GenlClient) {
    this.#client = client;
  }

  /** @throws NetlinkRequestError if refused (EPERM) */
  async daemons(signal: AbortSignal): Promise<readonly SyncDaemon[]> {
    const result = await this.#client.dump(getDaemons(), decodeDaemon, signal);
    if (result.outcome !== 'ok') {
      const refusal = result.outcome === 'refused' ? result : undefined;
      throw new NetlinkRequestError('read the synchronisation daemons of IPVS', refusal);
    }
    return result.rows.map(({ state, interface: link, id }) => ({
      role: state === DAEMON_STATE.master ? 'master' : 'backup',
      interface: link,
      id,
    }));
  }

  start({ role, interface: link, id }: SyncDaemon): Promise<SyncAnswer> {
    return this.#execute(newDaemon({ state: DAEMON_STATE[role], interface: link, id }));
  }

  stop(role: SyncRole): Promise<SyncAnswer> {
    return this.#execute(deleteDaemon(DAEMON_STATE[role]));
  }

  linkIndex(name: string): number | null {
    try {
      return Number(readFileSync(`/sys/class/net/${name}/ifindex`, 'utf8'));
    } catch (error) {
      // EINVAL: it goes just now.
      const isGone = error instanceof Error && 'code' in error && GONE.has(error.code);
      if (isGone) return null;
      throw error;
    }
  }

  async #execute(request: GenlRequest): Promise<SyncAnswer> {
    const [answer] = await this.#client.executeBatch([request], NEVER_ABORTED);
    return answer === undefined || answer.outcome === 'notAttempted' ? { outcome: 'unknown' } : answer;
  }
}
