import { Option } from 'commander';
import { diffSnapshots, isEmptyDiff } from '../snapshot/diff.ts';
import { parseSnapshot } from '../snapshot/parse.ts';
import { renderDiff } from '../snapshot/render-diff.ts';
import { EXIT, type ExitCode } from './context.ts';
import { chosen, type Invocation, type Verb } from './verb.ts';

export const diffVerb: Verb = {
  name: 'diff',
  arguments: '<a> <b>',
  summary: 'two snapshots (JSON): what B has that A has not, and the other way round',
  exitCodes: '0 no difference, 1 error, 2 they differ',
  options: [new Option('-o, --output <format>', 'text or json')],
  run: diff,
};

async function diff({ context, given, args }: Invocation): Promise<ExitCode> {
  const format = chosen(given, 'output', ['text', 'json'], 'text');
  const [a = '', b = ''] = args;
  const found = diffSnapshots(
    parseSnapshot(await context.readText(a), a),
    parseSnapshot(await context.readText(b), b),
  );
  await context.out(
    format === 'json' ? `${JSON.stringify({ version: 1, ...found }, null, 2)}\n` : renderDiff(found),
  );
  return isEmptyDiff(found) ? EXIT.done : EXIT.changes;
}
