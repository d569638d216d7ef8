import type { Operation } from '../dataplane/dataplane.ts';
import type { Rejected } from '../model/rejected.ts';
import type { SyncReport } from '../sync/sync-once.ts';
import type { CliContext } from './context.ts';
import { reportRejected } from './load-desired.ts';
import { countOperations } from './render-plan.ts';

/** What `run` says on standard error: what has changed, and not over and over what stays the same. */
export class RunJournal {
  readonly #context: CliContext;
  readonly #said = new Map<string, ReadonlySet<string>>();

  constructor(context: CliContext) {
    this.#context = context;
  }

  line(text: string): void {
    this.#context.err(`${text}\n`);
  }

  /** One line for a sync that has changed something; those operations that failed, and did not before. */
  synced(rounds: readonly SyncReport[], reasons: ReadonlySet<string>): void {
    const refused = rounds.at(-1)?.refused ?? [];
    const done = rounds.flatMap(({ acknowledged }) => acknowledged);
    const undone = refused.length > 0 ? `, ${refused.length} failed` : '';
    if (done.length > 0) this.line(`synced: ${countsOf(done)}${undone} (${[...reasons].join(', ')})`);
    this.failed(refused.map(({ message }) => message));
  }

  /** Drift that is left as it is. */
  drifted(ops: readonly Operation[]): void {
    const text = `drift: ${countsOf(ops)} by a repair (audit.repair is false)`;
    for (const line of this.#new('drift', ops.length > 0 ? [text] : [])) this.line(line);
  }

  /** Those that the last sync did not have. */
  failed(messages: readonly string[]): void {
    for (const message of this.#new('failed', messages)) this.line(`failed: ${message}`);
  }

  /** Those that the last sync did not have. */
  rejected(rejected: readonly Rejected[]): void {
    const byText = new Map(rejected.map((each) => [`${each.subject}: ${each.reason}`, each]));
    const fresh = this.#new('rejected', [...byText.keys()]);
    reportRejected(
      this.#context,
      fresh.flatMap((text) => byText.get(text) ?? []),
    );
  }

  /** For what says itself what it has to say: only what it did not say the last time gets through. */
  async filtered<Result>(topic: string, body: (context: CliContext) => Promise<Result>): Promise<Result> {
    const texts: string[] = [];
    const result = await body({ ...this.#context, err: (text) => void texts.push(text) });
    for (const text of this.#new(topic, texts)) this.#context.err(text);
    return result;
  }

  #new(topic: string, texts: readonly string[]): readonly string[] {
    const before = this.#said.get(topic);
    this.#said.set(topic, new Set(texts));
    return texts.filter((text) => !before?.has(text));
  }
}

function countsOf(ops: readonly Operation[]): string {
  const counts = countOperations(ops);
  return `${counts.add} added, ${counts.change} changed, ${counts.delete} deleted`;
}
