import { Option } from 'commander';
import type { Config } from '../config.ts';
import type { DesiredState } from '../model/desired-state.ts';
import { compareRejected } from '../model/rejected.ts';
import { renderIpvsadm } from '../snapshot/render-ipvsadm.ts';
import { renderIpvsadmSave } from '../snapshot/render-ipvsadm-save.ts';
import { renderJson } from '../snapshot/render-json.ts';
import { renderText } from '../snapshot/render-text.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import { type CliContext, EXIT, type ExitCode, UsageError } from './context.ts';
import { loadDesired, nodeNameOf, reportRejected } from './load-desired.ts';
import { chosen, configOf, type Invocation, type Verb } from './verb.ts';

const FORMATS = ['text', 'json', 'ipvsadm', 'ipvsadm-save'] as const;

export const snapshotVerb: Verb = {
  name: 'snapshot',
  arguments: '',
  summary: 'the whole dataplane as text: what it should be, or what the kernel has',
  exitCodes: '0 done, 1 error',
  options: [
    new Option('--desired', 'what the manifests mean on this node; needs no kernel (default with -f)'),
    new Option('--observed', 'what the kernel has (default without -f)'),
    new Option('-o, --output <format>', FORMATS.join(', ')),
  ],
  run: snapshot,
};

async function snapshot(invocation: Invocation): Promise<ExitCode> {
  const { context, given } = invocation;
  const format = chosen(given, 'output', FORMATS, 'text');
  if (given.desired && given.observed) throw new UsageError('Give one of --desired and --observed, not both');
  const config = await configOf(invocation);
  const desired = given.desired === true || (given.observed !== true && config.manifests.length > 0);
  if (desired) {
    const taken = await desiredSnapshot(context, config);
    if (format !== 'json' && format !== 'text') reportRejected(context, taken.rejected);
    await context.out(render(taken, format, undefined));
    return EXIT.done;
  }
  await using node = await context.openNode(config, 'read');
  const taken = await node.snapshot(nodeNameOf(config, context), context.signal);
  const info = format === 'ipvsadm' ? await node.ipvsInfo(context.signal) : undefined;
  await context.out(render(taken, format, info));
  return EXIT.done;
}

async function desiredSnapshot(context: CliContext, config: Config): Promise<Snapshot> {
  const { derivation } = await loadDesired(context, config, []);
  return snapshotOfDesired(context, config, derivation.desired);
}

/** What is wanted, and all that is not served of it. */
export function snapshotOfDesired(
  context: Pick<CliContext, 'projectSnapshot'>,
  config: Config,
  desired: DesiredState,
): Snapshot {
  const projected = context.projectSnapshot(config, desired);
  return { ...projected, rejected: [...desired.rejected, ...projected.rejected].sort(compareRejected) };
}

function render(
  taken: Snapshot,
  format: (typeof FORMATS)[number],
  info: Parameters<typeof renderIpvsadm>[1],
): string {
  switch (format) {
    case 'json':
      return renderJson(taken);
    case 'ipvsadm':
      return renderIpvsadm(taken, info);
    case 'ipvsadm-save':
      return renderIpvsadmSave(taken);
    default:
      return renderText(taken);
  }
}
