import { Option } from 'commander';
import { askDaemon } from '../status/local-client.ts';
import { EXIT, type ExitCode } from './context.ts';
import { chosen, configOf, type Invocation, type Verb } from './verb.ts';

export const statusVerb: Verb = {
  name: 'status',
  arguments: '',
  summary:
    'what the daemon of this node says of itself: its syncs, its watches, what fails and what is held back',
  exitCodes: '0 done; 1 error, as where no daemon runs',
  options: [new Option('-o, --output <format>', 'text or json')],
  run: status,
};

async function status(invocation: Invocation): Promise<ExitCode> {
  const { context, given } = invocation;
  const format = chosen(given, 'output', ['text', 'json'], 'text');
  const { socket } = await configOf(invocation);
  await context.out(await askDaemon(socket, 'GET', `/status?output=${format}`, context.signal));
  return EXIT.done;
}
