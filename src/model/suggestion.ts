/**
 * What somebody who wrote `name` may have meant, as the end of a message; "" if nothing is close.
 * @param known full names, with dots
 */
export function suggestion(name: string, known: readonly string[]): string {
  const lastPart = (path: string) => path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  const ranked = known
    .map((candidate) => ({
      candidate,
      distance:
        lastPart(candidate) === lastPart(name)
          ? 0
          : editDistance(candidate.toLowerCase(), name.toLowerCase()),
    }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  // A third of the letters wrong is another word.
  if (!best || best.distance > Math.max(1, lastPart(name).length / 3)) return '';
  return `: did you mean ${best.candidate}?`;
}

/** How many letters have to be put in, taken out, replaced, or swapped with the next one (Damerau-Levenshtein). */
function editDistance(a: string, b: string): number {
  let before: readonly number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      next.push(Math.min(replaced, swapped, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}
