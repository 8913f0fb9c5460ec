// @ts-check
/**
 * What the flights are grouped by, and when one counts as late. The aggregator and the direct
 * computation share these definitions and nothing else.
 */

/** A flight is late when it arrives more than this many minutes after schedule. */
export const LATE_MINUTES = 15;

/** Each band holds the flights shorter than its bound that no band before it holds. */
export const DISTANCE_BANDS = Object.freeze([
  Object.freeze({ label: 'under 250 mi', belowMiles: 250 }),
  Object.freeze({ label: '250–499 mi', belowMiles: 500 }),
  Object.freeze({ label: '500–999 mi', belowMiles: 1000 }),
  Object.freeze({ label: '1000–1999 mi', belowMiles: 2000 }),
  Object.freeze({ label: '2000 mi and more', belowMiles: Infinity }),
]);

/** @param {number} hour */
export function hourLabel(hour) {
  return `${String(hour).padStart(2, '0')}:00`;
}
