import { askDaemon } from '../status/local-client.ts';
import { EXIT, type ExitCode, UsageError } from './context.ts';
import { configOf, type Invocation, type Verb } from './verb.ts';

export const guardVerb: Verb = {
  name: 'guard',
  arguments: '<action>',
  summary: 'release: let the daemon of this node delete what its guard holds back',
  exitCodes: '0 done; 1 error, as where no daemon runs',
  options: [],
  run: guard,
};

async function guard(invocation: Invocation): Promise<ExitCode> {
  const { context, args } = invocation;
  const [action] = args;
  if (action !== 'release') throw new UsageError(`Cannot ${action} the guard: the one action is release`);
  const { socket } = await configOf(invocation);
  await context.out(await askDaemon(socket, 'POST', '/guard/release', context.signal));
  return EXIT.done;
}
