// @ts-check
/**
 * Aggregation of flight records, in place: no object, string or allocation for a flight. Knows
 * nothing of pipes; aggregator.js feeds it and sends {@link FlightAggregator.result}.
 */

import { DISTANCE_BANDS, LATE_MINUTES, hourLabel } from './groups.js';
import {
  AIRPORT_CODES,
  airportName,
  readDelayMinutes,
  readDepartureSeconds,
  readDestination,
  readDistanceMiles,
  readOrigin,
} from './record.js';

/**
 * Delays of the flights of one group, in minutes. Sums of integers are exact, so two computations
 * agree to the last digit or one of them is wrong.
 *
 * @typedef {{ flights: number, sum: number, max: number, late: number }} Cell
 */

/** @typedef {Record<string, Cell>} Grouping cells by label; groups without flights are absent */

/**
 * @typedef {{
 *   flights: number, origin: Grouping, destination: Grouping, hour: Grouping, distance: Grouping,
 * }} Aggregate
 */

export class FlightAggregator {
  #flights = 0;
  #origin = new Tally(AIRPORT_CODES);
  #destination = new Tally(AIRPORT_CODES);
  #hour = new Tally(24);
  #distance = new Tally(DISTANCE_BANDS.length);

  get flights() {
    return this.#flights;
  }

  /**
   * Adds the flight whose record begins at byte `at`.
   *
   * @param {DataView} view
   * @param {number} at
   */
  add(view, at) {
    const delay = readDelayMinutes(view, at);
    this.#origin.add(readOrigin(view, at), delay);
    this.#destination.add(readDestination(view, at), delay);
    this.#hour.add(Math.floor(readDepartureSeconds(view, at) / 3600) % 24, delay);
    this.#distance.add(distanceBand(readDistanceMiles(view, at)), delay);
    this.#flights += 1;
  }

  /** @returns {Aggregate} */
  result() {
    return {
      flights: this.#flights,
      origin: this.#origin.cells(airportName),
      destination: this.#destination.cells(airportName),
      hour: this.#hour.cells(hourLabel),
      distance: this.#distance.cells((band) => DISTANCE_BANDS[band]?.label ?? ''),
    };
  }
}

/** The cells of one grouping, four numbers each, so that a cell lies in one cache line. */
class Tally {
  #cells;

  /** @param {number} groups */
  constructor(groups) {
    this.#cells = new Float64Array(groups * CELL);
  }

  /**
   * @param {number} group
   * @param {number} delay
   */
  add(group, delay) {
    const cells = this.#cells;
    const at = group * CELL;
    const flights = /** @type {number} */ (cells[at + FLIGHTS]);
    const max = /** @type {number} */ (cells[at + MAX]);
    cells[at + FLIGHTS] = flights + 1;
    cells[at + SUM] = /** @type {number} */ (cells[at + SUM]) + delay;
    if (delay > max || flights === 0) cells[at + MAX] = delay;
    if (delay > LATE_MINUTES) cells[at + LATE] = /** @type {number} */ (cells[at + LATE]) + 1;
  }

  /**
   * @param {(group: number) => string} label
   * @returns {Grouping}
   */
  cells(label) {
    /** @type {Grouping} */
    const grouping = {};
    for (let at = 0; at < this.#cells.length; at += CELL) {
      const [flights = 0, sum = 0, max = 0, late = 0] = this.#cells.subarray(at, at + CELL);
      if (flights > 0) grouping[label(at / CELL)] = { flights, sum, max, late };
    }
    return grouping;
  }
}

/** @param {number} miles */
function distanceBand(miles) {
  let band = 0;
  while (miles >= /** @type {number} */ (BAND_BOUNDS[band])) band += 1;
  return band;
}

const BAND_BOUNDS = DISTANCE_BANDS.map((band) => band.belowMiles);

const FLIGHTS = 0;
const SUM = 1;
const MAX = 2;
const LATE = 3;
/** Numbers in a cell. */
const CELL = 4;
