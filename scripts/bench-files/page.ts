/** Where a report ends in docs/performance.md. */
const END = '<!-- to here -->';

/**
 * Puts a report in the place of the one that the same options have written before.
 * @param options of scripts/bench: `--kube`
 * @throws Error if the page has no place for it
 */
export function insertReport(page: string, report: string, options = '--kube'): string {
  const begin = `<!-- scripts/bench ${options} writes from here -->`;
  const [before, rest, ...others] = page.split(begin);
  const end = rest?.indexOf(END) ?? -1;
  if (before === undefined || rest === undefined || others.length > 0 || end < 0) {
    throw new Error(`The page lacks ${begin} or ${END}`);
  }
  return `${before}${begin}\n\n${report}\n\n${rest.slice(end)}`;
}
