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

/** Cells of one grouping as columns. */
class Tally {
  #flights;
  #sum;
  #max;
  #late;

  /** @param {number} groups */
  constructor(groups) {
    this.#flights = new Uint32Array(groups);
    this.#sum = new Float64Array(groups);
    this.#max = new Int16Array(groups).fill(-32_768);
    this.#late = new Uint32Array(groups);
  }

  /**
   * @param {number} group
   * @param {number} delay
   */
  add(group, delay) {
    this.#flights[group] += 1;
    this.#sum[group] += delay;
    if (delay > /** @type {number} */ (this.#max[group])) this.#max[group] = delay;
    if (delay > LATE_MINUTES) this.#late[group] += 1;
  }

  /**
   * @param {(group: number) => string} label
   * @returns {Grouping}
   */
  cells(label) {
    /** @type {Grouping} */
    const cells = {};
    for (const [group, flights] of this.#flights.entries()) {
      if (flights === 0) continue;
      cells[label(group)] = {
        flights,
        sum: this.#sum[group] ?? 0,
        max: this.#max[group] ?? 0,
        late: this.#late[group] ?? 0,
      };
    }
    return cells;
  }
}

/** @param {number} miles */
function distanceBand(miles) {
  let band = 0;
  while (miles >= /** @type {number} */ (BAND_BOUNDS[band])) band += 1;
  return band;
}

const BAND_BOUNDS = DISTANCE_BANDS.map((band) => band.belowMiles);
