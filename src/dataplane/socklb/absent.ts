import type { Dataplane } from '../dataplane.ts';
import type { SocklbOp } from './ops.ts';
import type { SocketRefusal } from './place.ts';
import { SUBJECT } from './project.ts';

const NOTHING: readonly never[] = [];
const EMPTY_PLAN = { make: [], break: [], conflicts: [] };

/**
 * In the place of the socket balancer where it is wanted and can't be: it does nothing, and says so among what is
 * rejected for as long as it lasts; a teardown says what it leaves there.
 */
export function createAbsentSocklb({
  reason,
  isPinned,
}: SocketRefusal): Dataplane<readonly never[], SocklbOp> {
  const refused = [{ subject: SUBJECT, reason }];
  return {
    name: 'socklb',
    project: () => ({ rows: NOTHING, refused }),
    observe: async () => NOTHING,
    plan: () => EMPTY_PLAN,
    teardown: () => ({ ...EMPTY_PLAN, conflicts: isPinned ? refused : NOTHING }),
    apply: async (ops) => ({ acknowledged: [], refused: [], notAttempted: ops }),
    reduce: () => NOTHING,
    canonical: () => '',
    foreign: () => [],
    parseOp: () => undefined,
    scoped: { needs: () => [], observe: async () => NOTHING },
  };
}
