import { describeExpectation, describeOutcomes, type Expectation } from '../traffic/expectation.ts';
import type { Outcome } from '../traffic/sockets.ts';

/** The client waits in vain, or is told after seconds that there is no route. */
export const NO_ANSWER = 'no answer';

/** What becomes of a cell's connections. */
export interface Results {
  /** `refused`, NO_ANSWER or `SERVER seeing ADDRESS`: sorted, each once. */
  readonly texts: readonly string[];
  /** One of these for all connections; else each of these for one of them at least. */
  readonly oneForAll: boolean;
}

/** Those of connections that all end alike. */
export function always(text: string): Results {
  return { texts: [text], oneForAll: false };
}

/** Those of an expectation. */
export function resultsOf(expectation: Expectation): Results {
  switch (expectation.kind) {
    case 'refused':
      return always('refused');
    case 'silence':
      return always(NO_ANSWER);
    case 'answered': {
      const { answers, oneServer: oneForAll } = expectation;
      const textOf = (answer: (typeof answers)[number]) =>
        describeExpectation({ kind: 'answered', answers: [answer], oneServer: false });
      return { texts: [...new Set(answers.map(textOf))].sort(), oneForAll };
    }
    default:
      return expectation satisfies never;
  }
}

/** The same connections, each with its text changed. */
export function mapResults({ texts, oneForAll }: Results, change: (text: string) => string): Results {
  return { texts: [...new Set(texts.map(change))].sort(), oneForAll };
}

/** Results in one line: two of one meaning have one text. */
export function describeResults({ texts, oneForAll }: Results): string {
  if (texts.length === 1) return texts.join();
  return `${oneForAll ? 'always one' : 'each'} of ${texts.join(', ')}`;
}

/** What came, as `texts`. */
export function textsOf(outcomes: readonly Outcome[]): readonly string[] {
  const textOf = (outcome: Outcome) =>
    outcome.kind === 'answered' || outcome.kind === 'refused' ? describeOutcomes([outcome]) : NO_ANSWER;
  return [...new Set(outcomes.map(textOf))].sort();
}

/** Whether what came is what was to come. */
export function cameAs({ texts, oneForAll }: Results, outcomes: readonly Outcome[]): boolean {
  const came = textsOf(outcomes);
  return came.every((text) => texts.includes(text)) && came.length === (oneForAll ? 1 : texts.length);
}
