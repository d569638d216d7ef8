import { parseIpAddress } from '../../model/address.ts';
import type { Snapshot, SnapshotAnnouncement } from '../../snapshot/snapshot.ts';
import {
  groupOfInstance,
  type InstanceName,
  type InstanceRow,
  NO_ROWS,
  sortedInstances,
  type VrrpRows,
} from './rows.ts';
import { addressesIn } from './text.ts';

/** What of a snapshot this dataplane has. */
export type VrrpOfSnapshot = Pick<Snapshot, 'announcements'>;

export function toSnapshot(rows: VrrpRows): VrrpOfSnapshot {
  return { announcements: sortedInstances(rows.instances).map(announcementOf) };
}

/**
 * The rows that a snapshot records. It does not have all of the configuration: where what it has is as wanted, so is
 * all the rest, and keepalived runs.
 */
export function fromSnapshot({ announcements = [] }: VrrpOfSnapshot, wanted: VrrpRows): VrrpRows {
  const instances = new Map<InstanceName, InstanceRow>();
  for (const row of wanted.instances.values()) {
    const want = announcementOf(row);
    const recorded = announcements.find(
      ({ group, family }) => group === want.group && family === want.family,
    );
    if (!recorded) continue;
    const isSame = JSON.stringify(recorded) === JSON.stringify(want);
    instances.set(row.name, isSame ? row : { ...row, config: '', isAble: recorded.mayHold });
  }
  return instances.size === 0 ? NO_ROWS : { ...wanted, instances };
}

function announcementOf({ name, config, isAble }: InstanceRow): SnapshotAnnouncement {
  return {
    ...groupOfInstance(name),
    priority: Number(/^ {2}priority (\d+)$/m.exec(config)?.[1] ?? 0),
    mayHold: isAble,
    addresses: addressesIn(config).flatMap((text) => parseIpAddress(text) ?? []),
  };
}
