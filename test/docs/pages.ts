import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..', '..');

/** One page of the documentation. */
export interface Page {
  /** Path from the root of the checkout. */
  readonly path: string;
  readonly text: string;
}

/** A fenced block. */
export interface Fence {
  /** What stands behind the opening fence: `console kernel`; "" if nothing. */
  readonly info: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
  readonly lines: readonly string[];
}

/** Every page that a reader is led to: README, CONTRIBUTING, CHANGELOG and docs. */
export function readPages(): readonly Page[] {
  const docs = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
  const paths = [
    'README.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    ...docs.sort().map((name) => `docs/${name}`),
  ];
  return paths.map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}

/**
 * The fenced blocks of a page.
 * @throws SyntaxError if one is not closed
 */
export function fencesOf({ path, text }: Page): readonly Fence[] {
  const fences: Fence[] = [];
  let open: { info: string; line: number; lines: string[] } | undefined;
  for (const [i, line] of text.split('\n').entries()) {
    const fence = /^```(.*)$/.exec(line);
    if (!fence) open?.lines.push(line);
    else if (open) {
      fences.push(open);
      open = undefined;
    } else open = { info: (fence[1] ?? '').trim(), line: i + 1, lines: [] };
  }
  if (open) throw new SyntaxError(`${path}:${open.line}: this block is not closed`);
  return fences;
}

/** Everything on a page that is set as code: inline spans, then the lines of blocks, of transcripts only commands. */
export function codeOf(page: Page): readonly string[] {
  const prose = page.text.replaceAll(/^```[\s\S]*?^```$/gm, '');
  const spans = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, span]) => span ?? '');
  const lines = fencesOf(page).flatMap(({ info, lines }) =>
    info.startsWith('console') ? lines.filter((line) => line.startsWith('$ ')) : lines,
  );
  return [...spans, ...lines];
}

/** The cells of the table rows on a page, without header rules. */
export function tableRowsOf({ text }: Page): readonly (readonly string[])[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|[-| :]+\|$/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim().replaceAll('\\|', '|')),
    );
}
