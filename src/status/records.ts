import type { Operation } from '../dataplane/dataplane.ts';
import type { IpFamily } from '../model/address.ts';
import type { Announcement } from '../model/announcement.ts';
import type { DesiredState } from '../model/desired-state.ts';
import type { Rejected } from '../model/rejected.ts';
import type { SyncReport } from '../sync/sync-once.ts';

/** What has come from the API server or from files, and asks for a sync. */
export interface ChangeRecord {
  /** Services that have changed, themselves or by their endpoints. */
  readonly services: number;
  /** EndpointSlices that have changed. */
  readonly endpoints: number;
  /** When their pods changed, by the annotation endpoints.kubernetes.io/last-change-trigger-time; ms since the epoch. */
  readonly triggers: readonly { readonly family: IpFamily; readonly atMs: number }[];
}

export const NO_CHANGES: ChangeRecord = { services: 0, endpoints: 0, triggers: [] };

/** One sync that came to its end, whatever it could do. */
export interface SyncRecord {
  /** `whole`: everything was looked at; `scoped`: only the rows of Services that had changed. */
  readonly kind: 'whole' | 'scoped';
  readonly reasons: ReadonlySet<string>;
  /** ms since the epoch */
  readonly begunAtMs: number;
  readonly endedAtMs: number;
  readonly rounds: readonly SyncReport[];
  /** Whether nothing is left undone. What the guard holds back is not. */
  readonly isComplete: boolean;
}

/** What was found where nobody had asked for a change. */
export interface AuditRecord {
  readonly atMs: number;
  /** What would repair it, or has done so. */
  readonly ops: readonly Operation[];
  readonly isRepaired: boolean;
  /** Foreign rows, by name. */
  readonly foreign: readonly string[];
}

/** Why deletions are held back, and what may come of it. */
export interface GuardRecord {
  /** One line: what would be deleted, and of how much. */
  readonly reason: string;
  readonly sinceMs: number;
  /** When it lets go by itself, ms since the epoch; null for never. */
  readonly untilMs: number | null;
}

/** What becomes of the sockets of this node. */
export interface SocketRecord {
  /** As configured. */
  readonly mode: 'auto' | 'on' | 'off' | 'hostOnly';
  /**
   * `used`: the socket balancer is there; `unasked`: it is not to be there; `lacking`: it could be, but for what the
   * machine lacks; `refused`: so, and the configuration wants it, or the kernel does not do what was tried.
   */
  readonly outcome: 'used' | 'unasked' | 'lacking' | 'refused';
  /** Whose sockets are balanced, or are to be; null where there is nothing to do it with. */
  readonly cgroup: string | null;
  /** Why none are; null where some are. */
  readonly reason: string | null;
  /** Virtual servers that sockets go past, as acknowledged by the kernel. */
  readonly served: number;
  /** Virtual servers that IPVS alone serves. */
  readonly left: number;
  /** How often each of SOCKET_EVENTS has happened since the maps were made; null where nothing is counted. */
  readonly events: Readonly<Record<string, number>> | null;
}

/** What is asked for when somebody looks, not told at each sync: it may take time that grows with the node. */
export interface NodeView {
  /** undefined before the first sync */
  readonly desired: DesiredState | undefined;
  /** All that is not served: of the input, of the dataplanes, and conflicts with foreign rows. */
  readonly rejected: readonly Rejected[];
  /** Foreign rows, by name. */
  readonly foreign: readonly string[];
  /** Entries of the ledger by kind: `virtualServers`, `addresses`, … */
  readonly ledger: Readonly<Record<string, number>>;
  /** Real servers that are draining. */
  readonly draining: number;
  /** Entries of conntrack that led to endpoints that are gone, since the start. */
  readonly deletedFlows: Readonly<Record<IpFamily, number>>;
  /** null before the node is opened */
  readonly sockets: SocketRecord | null;
  /** Empty where nothing is announced by this node. */
  readonly announcements: readonly Announcement[];
}

/** Before there is anything to look at. */
export const NO_VIEW: NodeView = {
  desired: undefined,
  rejected: [],
  foreign: [],
  ledger: {},
  draining: 0,
  deletedFlows: { IPv4: 0, IPv6: 0 },
  sockets: null,
  announcements: [],
};

/** All that a sync has done, in order. */
export function acknowledgedIn({ rounds }: Pick<SyncRecord, 'rounds'>): readonly Operation[] {
  return rounds.flatMap(({ acknowledged }) => acknowledged);
}

/** What a sync has left undone, one line each. */
export function failuresOf({
  rounds,
  isComplete,
}: Pick<SyncRecord, 'rounds' | 'isComplete'>): readonly string[] {
  if (isComplete) return [];
  const last = rounds.at(-1);
  const refused = last?.refused.map(({ message }) => message) ?? [];
  const left = last?.notAttempted.length ?? 0;
  if (refused.length > 0) return refused;
  return [`${left} operations were not attempted`];
}
