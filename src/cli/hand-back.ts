import type { Config } from '../config.ts';
import type { Operation } from '../dataplane/dataplane.ts';
import { connectionsOfMarks, type HandBack, planHandBack } from '../kube-proxy/hand-back.ts';
import { count, type KubeProxyHost } from '../kube-proxy/leftovers.ts';
import { KUBE_PROXY_LINK } from '../kube-proxy/names.ts';
import { identityOf, keyOf } from '../snapshot/canonical.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import {
  applySync,
  isComplete,
  observeStages,
  operationsOf,
  planTeardown,
  type SyncPlan,
} from '../sync/sync-once.ts';
import { type CliContext, EXIT, type ExitCode, type NodeAccess, UsageError } from './context.ts';
import { nodeNameOf } from './load-desired.ts';
import { renderOperations } from './render-plan.ts';
import { renderReport } from './render-report.ts';
import { configOf, type Invocation } from './verb.ts';

/**
 * `cleanup --hand-back-to kube-proxy`: with kube-proxy at work on the node again, removes our addresses, rules and
 * link, and leaves it the virtual servers with their connections.
 */
export async function handBack(invocation: Invocation): Promise<ExitCode> {
  const { context, given } = invocation;
  const { signal } = context;
  if (given.handBackTo !== 'kube-proxy') {
    throw new UsageError(`Cannot hand back to ${String(given.handBackTo)}: give --hand-back-to kube-proxy`);
  }
  const isDryRun = given.dryRun === true;
  const config = await configOf(invocation);
  await using host = context.openKubeProxy();
  if ((await host.whyRunning(signal)) === null) {
    refuse('it does not run here: start it, and wait until it serves this node');
  }
  await using node = await context.openNode(config, isDryRun ? 'read' : 'write');
  for (const note of node.notes) context.err(`note: ${note}\n`);
  const observed = await node.snapshot(nodeNameOf(config, context), signal);
  const traces = await host.observe(signal);
  for (const note of traces.notes) context.err(`note: ${note}\n`);
  const planned = planHandBack(observed, traces);
  refuseUnserved(planned);
  const moves = moveOperations(planned, config);
  if (isDryRun) return await show(context, { host, node, observed, planned, moves });
  // First, because kube-proxy serves them already and only does not bind what another link has.
  const { moves: addresses } = planned;
  const failures = addresses.length === 0 ? [] : await host.moveAddresses(config.interface, addresses);
  if (failures.length > 0) {
    throw new Error(
      `Cannot move addresses from ${config.interface} to ${KUBE_PROXY_LINK}: ${failures.join(', ')}: try again`,
    );
  }
  return await finish(context, { host, node, observed, planned, moves });
}

interface Handing {
  readonly host: KubeProxyHost;
  readonly node: NodeAccess;
  readonly observed: Snapshot;
  readonly planned: HandBack;
  readonly moves: readonly Operation[];
}

/** While packets are marked, new connections go through the marks' virtual servers: these go when nothing marks any more. */
async function finish(context: CliContext, handing: Handing): Promise<ExitCode> {
  const { node, observed, moves } = handing;
  const { signal } = context;
  const plan = planTeardown(await observeStages(node.stages, signal));
  const rest = await applySync(keepServers(plan, NONE), signal);
  const busyMarks = await settledMarks(context, handing);
  const marks = isComplete(rest)
    ? await applySync(
        keepServers(planTeardown(await observeStages(node.stages, signal)), idleMarks(observed, busyMarks)),
        signal,
      )
    : NOTHING;
  const done = isComplete(rest) && isComplete(marks);
  // Last: until then a second call finds what is ours.
  if (done) node.disown(new Set(busyMarks.keys()));
  const refused = [...rest.refused, ...marks.refused];
  context.err(refused.map(({ message }) => `failed: ${message}\n`).join(''));
  context.err(leftLines(plan, observed, busyMarks).join(''));
  await context.out(renderReport([{ ...NOTHING, acknowledged: moves }, rest, marks], context.colour));
  return done && busyMarks.size === 0 ? EXIT.done : EXIT.changes;
}

/** The marks with established connections, once none opens: whose handshake is cut believes to be connected. */
async function settledMarks({ signal }: CliContext, { host, node }: Handing): Promise<HandBack['busyMarks']> {
  // The node's name plays no part.
  const look = async () => connectionsOfMarks(await node.snapshot('', signal));
  const { established, others } = await look();
  if (others.size === 0) return established;
  await host.untilOpened(signal);
  return (await look()).established;
}

const NONE: ReadonlySet<string> = new Set();
const NOTHING = { acknowledged: [], refused: [], notAttempted: [] } as const;

/** @throws UsageError where kube-proxy would not serve what we let go */
function refuseUnserved({ unserved, unmasqueraded }: HandBack): void {
  const [first, ...more] = unserved;
  if (first !== undefined) {
    const others = more.length > 0 ? ` and ${more.length} more` : '';
    refuse(`it has not bound ClusterIP ${first}${others} to ${KUBE_PROXY_LINK}: wait until it has synced`);
  }
  if (unmasqueraded.length > 0) {
    refuse(`it has not written its rules for ${unmasqueraded.join(' and ')}: wait until it has synced`);
  }
}

function refuse(reason: string): never {
  throw new UsageError(`Cannot hand back to kube-proxy: ${reason}`);
}

function moveOperations({ moves }: HandBack, config: Config): readonly Operation[] {
  return moves.map((address) => ({
    op: 'moveAddress',
    subject: `address ${address}`,
    detail: `dev ${config.interface} → ${KUBE_PROXY_LINK}`,
    reason: 'kube-proxy binds no external address that another link has',
  }));
}

/** Of a clean-up what kube-proxy does not go on with: virtual servers stay, but those of marks that nobody sets any more. */
function keepServers(plan: SyncPlan, idle: ReadonlySet<string>): SyncPlan {
  const goes = ({ op, subject }: Operation): boolean =>
    op === 'deleteVirtualServer' ? idle.has(subject) : op !== 'restoreSysctl' && op !== 'deleteFlows';
  return {
    ...plan,
    break: plan.break.map((stage) => ({
      ...stage,
      ops: stage.ops.filter(goes),
      apply: (permits, signal) => stage.apply((op) => goes(op) && permits(op), signal),
    })),
  };
}

function idleMarks({ virtualServers }: Snapshot, busy: HandBack['busyMarks']): ReadonlySet<string> {
  const marks = virtualServers.filter((row) => identityOf(row).kind === 'firewallMark').map(keyOf);
  return new Set(marks.filter((key) => !busy.has(key)));
}

/** What is ours no more, and stays. */
function leftLines(plan: SyncPlan, observed: Snapshot, busyMarks: HandBack['busyMarks']): readonly string[] {
  const left = observed.virtualServers.filter(
    ({ owner, address }) => owner === 'svcplane' && address !== null,
  );
  const sysctls = operationsOf(plan).filter(({ op }) => op === 'restoreSysctl');
  return [
    ...(left.length > 0 ? [`left: ${count(left.length, 'virtual server')}, to kube-proxy\n`] : []),
    ...sysctls.map(
      ({ subject, detail }) => `left: ${subject}, not set back (${detail}): kube-proxy may need it\n`,
    ),
    ...[...busyMarks].map(
      ([key, connections]) => `kept: ${key} for ${count(connections, 'connection')}: run this again later\n`,
    ),
  ];
}

async function show(context: CliContext, { node, observed, planned, moves }: Handing): Promise<ExitCode> {
  const plan = planTeardown(await observeStages(node.stages, context.signal));
  const moved = new Set(moves.map(({ subject }) => subject));
  const rest = operationsOf(keepServers(plan, idleMarks(observed, planned.busyMarks))).filter(
    ({ op, subject }) => op !== 'deleteAddress' || !moved.has(subject),
  );
  const ops = [...moves, ...rest];
  const left = leftLines(plan, observed, planned.busyMarks);
  context.err(left.join(''));
  await context.out(renderOperations(ops, context.colour));
  return ops.length + left.length > 0 ? EXIT.changes : EXIT.done;
}
