import type { IpFamily } from './address.ts';

/** Who answers for the addresses of a group, as this node sees it. */
export interface Announcement {
  readonly family: IpFamily;
  readonly group: number;
  readonly addresses: readonly string[];
  /** `here`: by this node; `elsewhere`: by another; `barred`: not by this one, which serves none; null: not known yet. */
  readonly holder: 'here' | 'elsewhere' | 'barred' | null;
  /** Since when, ms since the epoch; null where that is not known. */
  readonly sinceMs: number | null;
  /** All nodes, in the order in which they are to hold it. */
  readonly order: readonly string[];
}
