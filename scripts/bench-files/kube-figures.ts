import type { Place } from './machine.ts';

/** What is compared. */
export const CANDIDATES = ['svcplane', 'kube-proxy ipvs', 'kube-proxy nftables'] as const;

export type Candidate = (typeof CANDIDATES)[number];

/** What one process of kube-candidate.ts is to measure. */
export interface Task {
  readonly candidate: Candidate;
  readonly services: number;
  /** Of each Service and of each of its families. */
  readonly endpoints: number;
  /** Whether the Services are of both families. */
  readonly isDualStack: boolean;
  /** Endpoints changed one by one. */
  readonly changes: number;
  readonly idleSeconds: number;
  /** Pods of the Service that has a rolling update. */
  readonly rollingPods: number;
  /** Services made at once. */
  readonly burst: number;
  /** How long each step may take. */
  readonly limitSeconds: number;
  /** Whether to count netlink datagrams, with everything started once more under strace. */
  readonly countsNetlink: boolean;
}

/** A number, or null if the step was not through in `limitSeconds`; absent if it was not tried. */
type Figure = number | null;

/** What has been measured, in milliseconds from the API server's acknowledgement or the start of the process. */
export interface Figures {
  /** All virtual servers with all real servers; what has none is in the kernel as a whole or not at all. */
  readonly coldTableMs?: Figure;
  readonly coldSyncMs?: Figure;
  readonly coldSeconds?: number;
  readonly coldProcesses?: number;
  readonly idlePercent?: number;
  readonly idleProcesses?: number;
  /** One for each change that the kernel has shown. */
  readonly changeMs?: readonly number[];
  readonly changeSeconds?: number;
  readonly rollingMs?: Figure;
  readonly rollingSeconds?: number;
  readonly burstMs?: Figure;
  readonly burstSeconds?: number;
  readonly restartSyncMs?: Figure;
  readonly restartSeconds?: number;
  readonly residentBytes?: number;
  readonly peakBytes?: number;
  readonly restartDatagrams?: number;
  readonly changeDatagrams?: number;
}

/** One line of the results. */
export interface Result {
  readonly task: Task;
  readonly figures: Figures;
  /** Why the rest is missing. */
  readonly failure?: string;
}

/** Where it was measured, and with what: the first line of the results. */
export interface Machine extends Place {
  readonly kubernetes: string;
}
