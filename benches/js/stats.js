// @ts-check
/**
 * The arithmetic of the results: exact percentiles of one run, medians over the rounds.
 */

/**
 * @typedef {object} Percentiles times in nanoseconds
 * @property {number} p50
 * @property {number} p90
 * @property {number} p99
 * @property {number} p999
 */

/**
 * Percentiles by the nearest-rank method. Sorts `samples` in place.
 *
 * @param {Float64Array} samples nanoseconds, at least one
 * @returns {Percentiles}
 */
export function percentiles(samples) {
  if (samples.length === 0) throw new RangeError('percentiles of no samples');
  samples.sort();
  const rank = (/** @type {number} */ share) => {
    const index = Math.max(0, Math.ceil(share * samples.length) - 1);
    return Math.round(samples[index] ?? NaN);
  };
  return { p50: rank(0.5), p90: rank(0.9), p99: rank(0.99), p999: rank(0.999) };
}

/**
 * The middle value, or the mean of the two middle ones.
 *
 * @param {readonly number[]} values
 * @returns {number}
 */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/**
 * The median of what `pick` finds in each round, or null when a round has none of it.
 *
 * @template T
 * @param {readonly T[]} rounds
 * @param {(round: T) => number | null | undefined} pick
 * @returns {number | null}
 */
export function medianOf(rounds, pick) {
  const values = rounds.map(pick);
  if (values.length === 0 || values.some((value) => value === null || value === undefined)) {
    return null;
  }
  return median(/** @type {number[]} */ (values));
}
