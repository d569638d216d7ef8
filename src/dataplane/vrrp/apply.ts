import { type ApplyReport, type Executors, execute, type RefusedOp } from '../dataplane.ts';
import type { Keepalived } from './kernel.ts';
import type { VrrpOp, VrrpOps } from './ops.ts';
import { instanceFile, LOADED_FILE, MAIN_FILE, trackFile } from './text.ts';

/** Text by file name; null for a file that is to go. */
type FileChanges = Map<string, string | null>;

/**
 * Executes all together: keepalived reads a configuration as a whole, and is asked before whether it takes it. If not,
 * the files are as before, and every operation on them is refused with what it says.
 */
export async function apply(
  keepalived: Keepalived,
  ops: readonly VrrpOp[],
  signal: AbortSignal,
): Promise<ApplyReport<VrrpOp>> {
  if (ops.length === 0 || signal.aborted) return { acknowledged: [], refused: [], notAttempted: ops };
  // With its configuration it goes, even where it seemed not to run: it may only not have read the last of it.
  const isLast = ops.some(({ op }) => op === 'deleteProcess' || op === 'deleteMain');
  if (isLast) await keepalived.stop();
  const configs = changesOf(ops, CONFIGS);
  const tracks = changesOf(ops, TRACKS);
  const before = await keepalived.files();
  try {
    if (configs.size > 0) await keepalived.remove(LOADED_FILE);
    await write(keepalived, tracks);
    await write(keepalived, configs);
    const isLoaded = !isLast && ops.some(({ op }) => NEEDS_LOADING.has(op));
    if (isLoaded) await load(keepalived);
    return { acknowledged: ops, refused: [], notAttempted: [] };
  } catch (error) {
    // Keepalived has read nothing of it: what it does is what was there before.
    const undone = new Map([...configs.keys()].map((file) => [file, before.get(file) ?? null] as const));
    await write(keepalived, undone);
    if (before.has(LOADED_FILE)) await keepalived.write(LOADED_FILE, '');
    return refusal(ops, error);
  }
}

const NEEDS_LOADING: ReadonlySet<string> = new Set([
  'setMain',
  'addInstance',
  'setInstance',
  'deleteInstance',
  'addProcess',
]);

async function load(keepalived: Keepalived): Promise<void> {
  const complaint = await keepalived.complaint();
  if (complaint !== undefined) throw new Error(`keepalived does not take its configuration: ${complaint}`);
  await keepalived.load();
  await keepalived.write(LOADED_FILE, '');
}

async function write(keepalived: Keepalived, changes: FileChanges): Promise<void> {
  for (const [file, text] of changes) {
    if (text === null) await keepalived.remove(file);
    else await keepalived.write(file, text);
  }
}

function refusal(ops: readonly VrrpOp[], error: unknown): ApplyReport<VrrpOp> {
  const cause: NodeJS.ErrnoException = error instanceof Error ? error : new Error(String(error));
  const code = cause.code ?? 'EINVAL';
  const [first, ...rest] = ops;
  if (!first) return { acknowledged: [], refused: [], notAttempted: [] };
  const refused: RefusedOp<VrrpOp>[] = [{ op: first, code, message: `${first.subject}: ${cause.message}` }];
  return { acknowledged: [], refused, notAttempted: rest };
}

function changesOf(ops: readonly VrrpOp[], executors: Executors<VrrpOps, FileEntries>): FileChanges {
  return new Map(ops.flatMap((op) => execute<VrrpOps, keyof VrrpOps, FileEntries>(executors, op)));
}

type FileEntries = readonly (readonly [file: string, text: string | null])[];

const nothing = (): FileEntries => [];

/** What each operation does to the configuration. */
const CONFIGS: Executors<VrrpOps, FileEntries> = {
  setMain: ({ config }) => [[MAIN_FILE, config]],
  addInstance: ({ instance, config }) => [[instanceFile(instance), config]],
  setInstance: ({ instance, config }) => [[instanceFile(instance), config]],
  deleteInstance: ({ instance }) => [
    [instanceFile(instance), null],
    [trackFile(instance), null],
  ],
  deleteMain: () => [
    [MAIN_FILE, null],
    [LOADED_FILE, null],
  ],
  setAbility: nothing,
  addProcess: nothing,
  deleteProcess: nothing,
};

/** And to the files that keepalived watches, which are there before it is told of them. */
const TRACKS: Executors<VrrpOps, FileEntries> = {
  addInstance: ({ instance, isAble }) => [[trackFile(instance), ability(isAble)]],
  setAbility: ({ instance, isAble }) => [[trackFile(instance), ability(isAble)]],
  setMain: nothing,
  setInstance: nothing,
  deleteInstance: nothing,
  deleteMain: nothing,
  addProcess: nothing,
  deleteProcess: nothing,
};

function ability(isAble: boolean): string {
  return isAble ? '0\n' : '1\n';
}
