import { type ComparedCell, DIFFERENCE_CLASSES } from './compare-classes.ts';
import { describeResults } from './compare-results.ts';

const HEADINGS = ['difference', 'cells', 'for example', 'kube-proxy', 'svcplane', 'reason'];

/** The differences in Markdown, a row for each class, with its first cell for an example. */
export function renderDifferences(cells: readonly ComparedCell[]): string {
  const rows = DIFFERENCE_CLASSES.map((each) => {
    const { name, reason } = each;
    const covered = cells.filter(({ difference }) => difference === each);
    const [example] = covered;
    if (!example) return [name, '0', '', '', '', reason];
    const { cell, theirs, ours } = example;
    const sides = [theirs, ours].map(describeResults);
    return [name, String(covered.length), `\`${cell.id}\``, ...sides, reason];
  });
  return [HEADINGS, HEADINGS.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
