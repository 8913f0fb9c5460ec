// @ts-check
/**
 * The direct computation: the same totals straight from the columns of the file, in this process,
 * without messages or the code of aggregate.js; and the comparison of every cell.
 */

import { DISTANCE_BANDS, LATE_MINUTES, hourLabel } from './groups.js';

/** @typedef {import('./aggregate.js').Aggregate} Aggregate */
/** @typedef {import('./aggregate.js').Cell} Cell */
/** @typedef {import('./aggregate.js').Grouping} Grouping */
/** @typedef {import('./dataset.js').FlightColumns} FlightColumns */

export class DirectComputation {
  #flights = 0;
  /** @type {Grouping} */ #origin = new Map();
  /** @type {Grouping} */ #destination = new Map();
  /** @type {Grouping} */ #hour = new Map();
  /** @type {Grouping} */ #distance = new Map();

  /** @param {FlightColumns} columns */
  add(columns) {
    this.#flights += columns.length;
    for (let row = 0; row < columns.length; row += 1) {
      const delay = /** @type {number} */ (columns.delayMinutes[row]);
      const departure = new Date(/** @type {number} */ (columns.departureMicros[row]) / 1000);
      const miles = /** @type {number} */ (columns.distanceMiles[row]);
      const band = DISTANCE_BANDS.find(({ belowMiles }) => miles < belowMiles);
      count(this.#origin, /** @type {string} */ (columns.origin[row]), delay);
      count(this.#destination, /** @type {string} */ (columns.destination[row]), delay);
      count(this.#hour, hourLabel(departure.getUTCHours()), delay);
      count(this.#distance, band?.label ?? 'no band', delay);
    }
  }

  /** @returns {Aggregate} */
  result() {
    return {
      flights: this.#flights,
      origin: this.#origin,
      destination: this.#destination,
      hour: this.#hour,
      distance: this.#distance,
    };
  }
}

/** The aggregate that came back differs from the direct computation. */
export class MismatchError extends Error {
  /**
   * @param {readonly string[]} differences
   * @param {string} [what] differs
   */
  constructor(differences, what = 'the aggregate') {
    const shown = differences
      .slice(0, DIFFERENCES_SHOWN)
      .map((line) => `\n  ${line}`)
      .join('');
    const more = differences.length - DIFFERENCES_SHOWN;
    const rest = more > 0 ? `\n  and ${more} more` : '';
    const total = differences.length;
    super(`${what} differs from the direct computation in ${total} values:${shown}${rest}`);
    this.name = 'MismatchError';
  }
}

/**
 * Every value in which `actual` differs from `expected`, as a sentence each; also cells that only
 * one of them has.
 *
 * @param {Aggregate} expected
 * @param {Aggregate} actual
 */
export function findDifferences(expected, actual) {
  const differences = [];
  if (expected.flights !== actual.flights) {
    differences.push(`flights: expected ${expected.flights}, got ${actual.flights}`);
  }
  for (const by of GROUPINGS) {
    differences.push(...findCellDifferences(by, expected[by], actual[by]));
  }
  return differences;
}

/** Number of values that {@link findDifferences} compares when nothing is missing. */
export function countValues(/** @type {Aggregate} */ aggregate) {
  const cells = GROUPINGS.reduce((sum, by) => sum + aggregate[by].size, 0);
  return 1 + cells * FIELDS.length;
}

/**
 * @param {string} by
 * @param {Grouping} expected
 * @param {Grouping} actual
 */
function* findCellDifferences(by, expected, actual) {
  for (const label of new Set([...expected.keys(), ...actual.keys()])) {
    for (const field of FIELDS) {
      const want = expected.get(label)?.[field];
      const have = actual.get(label)?.[field];
      if (want !== have) {
        yield `${by} ${label} ${field}: expected ${want ?? 'none'}, got ${have ?? 'none'}`;
      }
    }
  }
}

/**
 * @param {Grouping} cells
 * @param {string} label
 * @param {number} delay
 */
function count(cells, label, delay) {
  let cell = cells.get(label);
  if (cell === undefined) {
    cell = { flights: 0, sum: 0, max: delay, late: 0 };
    cells.set(label, cell);
  }
  cell.flights += 1;
  cell.sum += delay;
  cell.max = Math.max(cell.max, delay);
  cell.late += delay > LATE_MINUTES ? 1 : 0;
}

const GROUPINGS = /** @type {const} */ (['origin', 'destination', 'hour', 'distance']);
const FIELDS = /** @type {const} */ (['flights', 'sum', 'max', 'late']);
const DIFFERENCES_SHOWN = 10;
