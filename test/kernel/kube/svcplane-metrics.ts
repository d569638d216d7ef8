/** The sum of all samples of a metric whose labels hold these; 0 if there is none. @param page as Prometheus reads it */
export function metricSum(page: string, name: string, labels: Readonly<Record<string, string>> = {}): number {
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  const samples = page.matchAll(new RegExp(`^${name}(?:\\{([^}]*)\\})? (\\S+)$`, 'gm'));
  return [...samples]
    .filter(([, found = '']) => wanted.every((label) => found.split(',').includes(label)))
    .reduce((sum, [, , value]) => sum + Number(value), 0);
}
