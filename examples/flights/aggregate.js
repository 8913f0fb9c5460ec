// @ts-check
/**
 * Aggregation of flights, read in place: no object, string or allocation for one. Knows nothing of
 * pipes; aggregator.js feeds it and sends {@link FlightAggregator.result}.
 */

import { AIRPORT_NUMBERS, airportCode } from './airports.js';
import { DISTANCE_BANDS, LATE_MINUTES, hourLabel } from './groups.js';

/**
 * Delays of the flights of one group, in minutes. Sums of integers are exact, so two computations
 * agree to the last digit or one of them is wrong.
 *
 * @typedef {{ flights: number, sum: number, max: number, late: number }} Cell
 */

/** @typedef {import('./messages.js').Flight} Flight */

/** @typedef {Map<string, Cell>} Grouping cells by label; groups without flights are absent */

/**
 * @typedef {{
 *   flights: number, origin: Grouping, destination: Grouping, hour: Grouping, distance: Grouping,
 * }} Aggregate
 */

export class FlightAggregator {
  #flights = 0;
  #origin = new Tally(AIRPORT_NUMBERS);
  #destination = new Tally(AIRPORT_NUMBERS);
  #hour = new Tally(24);
  #distance = new Tally(DISTANCE_BANDS.length);

  get flights() {
    return this.#flights;
  }

  /**
   * Adds a flight: a cursor over a message, or any object with its fields.
   *
   * @param {Readonly<Flight>} flight
   */
  add(flight) {
    const { delay } = flight;
    this.#origin.add(flight.origin, delay);
    this.#destination.add(flight.destination, delay);
    this.#hour.add(Math.floor(flight.departure / 3600) % 24, delay);
    this.#distance.add(distanceBand(flight.distance), delay);
    this.#flights += 1;
  }

  /** @returns {Aggregate} */
  result() {
    return {
      flights: this.#flights,
      origin: this.#origin.cells(airportCode),
      destination: this.#destination.cells(airportCode),
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
    if (at >= cells.length) throw new RangeError(`a flight names group ${group}, which is none`);
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
    const grouping = new Map();
    for (let at = 0; at < this.#cells.length; at += CELL) {
      const [flights = 0, sum = 0, max = 0, late = 0] = this.#cells.subarray(at, at + CELL);
      if (flights > 0) grouping.set(label(at / CELL), { flights, sum, max, late });
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
