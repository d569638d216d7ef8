import type { IpAddress } from '../../../src/model/address.ts';
import type { Outcome } from './sockets.ts';

/** A server, and the client's address that it sees. */
export interface Answer {
  readonly server: string;
  readonly source: IpAddress;
}

/** What must become of a cell's connections. */
export type Expectation =
  | { readonly kind: 'refused' }
  /** Nobody tells the client anything. */
  | { readonly kind: 'silence' }
  | {
      readonly kind: 'answered';
      /** Each of these has to answer, or with `oneServer` one of them has to answer all. */
      readonly answers: readonly Answer[];
      readonly oneServer: boolean;
    };

/** An expectation or what came in its place, in one line: two of one meaning have one text. */
export function describeExpectation(expectation: Expectation): string {
  if (expectation.kind !== 'answered') return expectation.kind;
  const answers = textsOf(expectation.answers);
  if (answers.length === 1) return answers.join();
  return `${expectation.oneServer ? 'one' : 'each'} of ${answers.join(', ')}`;
}

/** Whether the outcomes of a cell's connections are what was expected of it. */
export function agrees(expectation: Expectation, outcomes: readonly Outcome[]): boolean {
  if (expectation.kind !== 'answered') {
    const wanted = expectation.kind === 'refused' ? 'refused' : 'timeout';
    return outcomes.every(({ kind }) => kind === wanted);
  }
  const answered = outcomes.filter((outcome) => outcome.kind === 'answered');
  if (answered.length !== outcomes.length) return false;
  const seen = textsOf(answered);
  const expected = textsOf(expectation.answers);
  return (
    seen.every((text) => expected.includes(text)) &&
    seen.length === (expectation.oneServer ? 1 : expected.length)
  );
}

/** What came, in one line. */
export function describeOutcomes(outcomes: readonly Outcome[]): string {
  return outcomes
    .map((outcome) => {
      if (outcome.kind === 'answered') return textOf(outcome);
      return outcome.kind === 'unreachable' ? outcome.code : outcome.kind;
    })
    .join(', ');
}

function textsOf(answers: readonly Answer[]): readonly string[] {
  return [...new Set(answers.map(textOf))].sort();
}

function textOf({ server, source }: Answer): string {
  return `${server} seeing ${source}`;
}
