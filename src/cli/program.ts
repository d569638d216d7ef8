import { Argument, Command, CommanderError } from 'commander';
import { applyVerb } from './apply.ts';
import { cleanupVerb } from './cleanup.ts';
import { configVerb } from './config.ts';
import { type CliContext, EXIT, type ExitCode } from './context.ts';
import { diffVerb } from './diff.ts';
import { doctorVerb } from './doctor.ts';
import { explainVerb } from './explain.ts';
import { guardVerb } from './guard.ts';
import { importVerb } from './import.ts';
import { lbControllerVerb } from './lb-controller.ts';
import { planVerb } from './plan.ts';
import { runVerb } from './run.ts';
import { settingOptions } from './settings.ts';
import { snapshotVerb } from './snapshot.ts';
import { statusVerb } from './status.ts';
import type { Verb } from './verb.ts';
import { verifyVerb } from './verify.ts';

const VERBS: readonly Verb[] = [
  runVerb,
  planVerb,
  applyVerb,
  snapshotVerb,
  diffVerb,
  verifyVerb,
  explainVerb,
  doctorVerb,
  importVerb,
  cleanupVerb,
  statusVerb,
  guardVerb,
  configVerb,
  lbControllerVerb,
];

/**
 * Runs one command line.
 * @param argv without the program's own name
 * @returns the exit code; every failure has been said in one line on standard error
 */
export async function runCli(
  argv: readonly string[],
  context: CliContext,
  version: string,
): Promise<ExitCode> {
  let exit: ExitCode = EXIT.done;
  const program = new Command('svcplane')
    .description('Kubernetes Services on a node: IPVS, addresses, and a plan you can read first.')
    .version(version)
    .showSuggestionAfterError(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => void context.out(text), writeErr: () => undefined });
  for (const verb of verbsFor(argv)) {
    addVerb(program, verb, context, (code) => {
      exit = code;
    });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exit;
  } catch (error) {
    return report(error, context, argv.length === 0 ? program : undefined);
  }
}

/** Where the first word is a verb, that one: the options of all take longer to make than many a command. */
function verbsFor([word]: readonly string[]): readonly Verb[] {
  const named = VERBS.filter(({ name }) => name === word);
  return named.length > 0 ? named : VERBS;
}

function addVerb(program: Command, verb: Verb, context: CliContext, settle: (code: ExitCode) => void): void {
  const command = program.command(verb.name).description(verb.summary).copyInheritedSettings(program);
  command.addHelpText('after', `\nExit codes: ${verb.exitCodes}`);
  for (const argument of verb.arguments.split(' ').filter((part) => part !== '')) {
    command.addArgument(new Argument(argument));
  }
  for (const option of [...verb.options, ...settingOptions()]) command.addOption(option);
  command.action(async (..._: unknown[]) => {
    settle(await verb.run({ context, given: command.opts(), args: command.args }));
  });
}

function report(error: unknown, context: CliContext, help: Command | undefined): ExitCode {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.done;
    if (help) {
      context.err(help.helpInformation());
      return EXIT.error;
    }
    context.err(`svcplane: ${oneLine(error.message).replace(/^error: /, '')}; see svcplane --help\n`);
    return EXIT.error;
  }
  context.err(`svcplane: ${oneLine(messageOf(error))}\n`);
  if (context.env.SVCPLANE_TRACE && error instanceof Error) context.err(`${error.stack}\n`);
  return EXIT.error;
}

/** Of an error on whose way out another one came, which has nothing to say itself: of both. */
function messageOf(error: unknown): string {
  if (error instanceof SuppressedError)
    return `${messageOf(error.suppressed)}; then ${messageOf(error.error)}`;
  return error instanceof Error ? error.message : String(error);
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ').trim();
}
