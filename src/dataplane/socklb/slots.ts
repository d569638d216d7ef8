/** More slots than this make no difference that clients could see. */
const FINEST = 256;

/**
 * How many slots each real server gets: the smallest numbers that say the same as the weights, or nearly so where
 * those would be many. 0 stays 0, and nothing else becomes it.
 */
export function slotWeights(weights: readonly number[]): readonly number[] {
  const divisor = weights.reduce(greatestCommonDivisor, 0);
  if (divisor === 0) return weights;
  const reduced = weights.map((weight) => weight / divisor);
  const sum = reduced.reduce((total, weight) => total + weight, 0);
  const limit = Math.max(FINEST, 4 * weights.length);
  if (sum <= limit) return reduced;
  const scaled = reduced.map((weight) =>
    weight === 0 ? 0 : Math.max(1, Math.round((weight * limit) / sum)),
  );
  const again = scaled.reduce(greatestCommonDivisor, 0);
  return scaled.map((weight) => weight / again);
}

function greatestCommonDivisor(a: number, b: number): number {
  let [high, low] = [a, b];
  while (low !== 0) [high, low] = [low, high % low];
  return high;
}
