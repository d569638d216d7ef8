import type { Plan } from '../dataplane.ts';
import { operation, type SocklbOp } from './ops.ts';
import { Draft } from './plan-services.ts';
import { modeOf, type SocklbRows, sortedServices, switchText } from './rows.ts';

/**
 * From observed to wanted rows. A frontend that changes gets a new generation of slots and leads to it at once; what
 * it led to before stays for a while, and goes by a later plan. Frontends are there before the switch is on, and the
 * switch is off before they go: then IPVS has every new connection, and open ones are nobody's business. The first
 * program that is attached finds the switch set.
 * @param endsSockets whether UDP sockets can be ended that are connected to an endpoint that goes
 */
export function planSocklb(observed: SocklbRows, wanted: SocklbRows, endsSockets = false): Plan<SocklbOp> {
  const draft = new Draft(observed);
  // Changes first, for they leave something that makes room for what is new.
  const [old, added] = [true, false].map((isThere) =>
    sortedServices(wanted).filter(({ key }) => observed.services.has(key) === isThere),
  );
  const make = [...(old ?? []), ...(added ?? [])].flatMap((want) => draft.service(want) ?? []);
  const unmake = sortedServices(observed)
    .filter(({ key }) => !wanted.services.has(key))
    .map((have) => draft.deletion(have));
  const mode = modeChange(observed, wanted);
  const isOff = modeOf(wanted.config.flags) === 'off';
  const programs = isOff || observed.programs === 'attached' ? [] : [addPrograms(observed)];
  return {
    make: isOff ? [...mode, ...make] : [...make, ...switchedOn(observed, programs, mode)],
    break: [...unmake, ...draft.clearance(endsSockets && !isOff)],
    conflicts: [],
  };
}

/** What is left over and may go, and nothing else. @param endsSockets as for {@link planSocklb} */
export function planClearance(observed: SocklbRows, endsSockets = false): readonly SocklbOp[] {
  return new Draft(observed).clearance(endsSockets && modeOf(observed.config.flags) !== 'off');
}

/** The maps are ours by name: they go with the programs, and with all that is in them. */
export function teardownSocklb({ programs, services, remains, obstacle }: SocklbRows): Plan<SocklbOp> {
  const isSeen = programs !== 'absent' || services.size > 0 || remains.size > 0;
  const isThere = isSeen || obstacle !== null;
  const detail = isSeen ? `and their maps, with ${services.size} frontends` : 'and their maps';
  return {
    make: [],
    break: isThere ? [operation({ op: 'deleteSocketPrograms' }, 'clean-up', detail)] : [],
    conflicts: [],
  };
}

function addPrograms({ programs }: SocklbRows): SocklbOp {
  const reason = programs === 'partly' ? 'some of them are not attached' : 'they are not attached';
  return operation({ op: 'addSocketPrograms' }, reason);
}

/** What is set before anybody reads it counts at once; where programs are attached, the missing ones come before. */
function switchedOn(
  { programs: state }: SocklbRows,
  programs: readonly SocklbOp[],
  mode: readonly SocklbOp[],
): readonly SocklbOp[] {
  return state === 'absent' ? [...mode, ...programs] : [...programs, ...mode];
}

function modeChange(observed: SocklbRows, wanted: SocklbRows): readonly SocklbOp[] {
  const { flags, udpFlowSeconds } = wanted.config;
  if (observed.config.flags === flags && observed.config.udpFlowSeconds === udpFlowSeconds) return [];
  // Without programs nobody reads the switch, and to be off is to leave all as it is.
  if (modeOf(flags) === 'off' && observed.programs === 'absent') return [];
  const detail = `${switchText(observed.config.flags)} → ${switchText(flags)}, UDP ${udpFlowSeconds} s`;
  return [operation({ op: 'setSocketMode', flags, udpFlowSeconds }, 'socketLoadBalancer.mode', detail)];
}
