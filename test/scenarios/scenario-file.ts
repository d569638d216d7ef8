/**
 * A scenario is a text file: steps, each with what happens and the state of the node that must follow.
 *
 *     Prose: what the scenario is about.
 *
 *     == a title ==
 *     -- apply examples/guide/00-node.yaml --
 *     -- apply --
 *     (manifests in YAML)
 *     -- expect --
 *     (lines; scripts/update-goldens writes them)
 *
 * The verbs are those of {@link ScenarioNode}'s table.
 */
export interface Scenario {
  readonly prose: string;
  readonly steps: readonly Step[];
}

export interface Step {
  readonly title: string;
  readonly actions: readonly Action[];
  /** The state afterwards, one row a line. */
  readonly expected: readonly string[];
}

/** `-- verb argument --` with the lines below it. */
export interface Action {
  readonly verb: string;
  /** "" without */
  readonly argument: string;
  readonly body: string;
}

const TITLE = /^== (.+) ==$/m;
const ACTION = /^-- (\S+)(?: (.+))? --$/m;

/** @throws SyntaxError naming the step that is not as above */
export function parseScenario(text: string): Scenario {
  const [prose = '', ...rest] = text.split(TITLE);
  const steps: Step[] = [];
  for (let i = 0; i < rest.length; i += 2) steps.push(parseStep(rest[i] ?? '', rest[i + 1] ?? ''));
  if (steps.length === 0) throw new SyntaxError('Cannot read scenario: it has no step');
  return { prose: prose.trim(), steps };
}

function parseStep(title: string, text: string): Step {
  const [before = '', ...rest] = text.split(ACTION);
  const actions: Action[] = [];
  for (let i = 0; i < rest.length; i += 3) {
    actions.push({ verb: rest[i] ?? '', argument: rest[i + 1] ?? '', body: (rest[i + 2] ?? '').trim() });
  }
  const last = actions.pop();
  if (before.trim() !== '' || last?.verb !== 'expect') {
    throw new SyntaxError(`Cannot read step "${title}": it must be actions, the last of them expect`);
  }
  return { title, actions, expected: last.body === '' ? [] : last.body.split('\n') };
}

/** The inverse of {@link parseScenario}. */
export function renderScenario({ prose, steps }: Scenario): string {
  return [`${prose}\n`, ...steps.map(renderStep)].join('\n');
}

function renderStep({ title, actions, expected }: Step): string {
  const expectation: Action = { verb: 'expect', argument: '', body: expected.join('\n') };
  return [`== ${title} ==\n`, ...[...actions, expectation].map(renderAction)].join('');
}

function renderAction({ verb, argument, body }: Action): string {
  return `-- ${verb}${argument === '' ? '' : ` ${argument}`} --\n${body === '' ? '' : `${body}\n`}`;
}
