import type { Occurrence } from '../cluster/events.ts';
import type { Decision } from './draft.ts';
import { REASONS } from './status-patch.ts';

/** What an Event of the Service tells of a decision that has been written; null where there is nothing to tell. */
export function occurrenceOf({ key, verdict, reason }: Decision): Occurrence | null {
  if (verdict === 'keep' || verdict === 'free' || verdict === 'notOurs') return null;
  const [namespace = '', name = ''] = key.split('/');
  return {
    subject: { kind: 'Service', namespace, name },
    type: verdict === 'assign' ? 'Normal' : 'Warning',
    reason: `Svcplane${REASONS[verdict]}`,
    action: 'AssignAddress',
    note: reason,
    isShared: false,
  };
}
