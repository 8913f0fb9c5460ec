// @ts-check
/**
 * The same aggregation in a plugin in Rust (plugin.rs), once called inline, on this thread, and
 * once isolated, on a thread of its own. Flights are packed into bytes, which it reads in place.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { loadZone } from 'busbar';

import { airportCode, airportNumber } from './airports.js';
import { DISTANCE_BANDS, hourLabel } from './groups.js';

/** @typedef {import('./aggregate.js').Aggregate} Aggregate */
/** @typedef {import('./aggregate.js').Cell} Cell */
/** @typedef {import('./dataset.js').FlightColumns} FlightColumns */
/** @typedef {'inline' | 'dedicated'} Mode */

/** @typedef {Cell & { group: number }} GroupCell */

/**
 * @typedef {{
 *   flights: number, origin: GroupCell[], destination: GroupCell[], hour: GroupCell[],
 *   distance: GroupCell[],
 * }} Groups
 */

const FLIGHT_BYTES = 12;
/** What fits into the arena of a zone. */
const FLIGHTS_AT_ONCE = 5000;

/** The library, which `npm start` and `npm test` build; `undefined` where they did not. */
export function pluginLibrary() {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const target = process.env['CARGO_TARGET_DIR'] ?? join(root, 'target');
  const names = { darwin: 'libflights.dylib', win32: 'flights.dll' };
  const name = names[/** @type {keyof typeof names} */ (process.platform)] ?? 'libflights.so';
  const path = join(target, 'fast', 'examples', name);
  return existsSync(path) ? path : undefined;
}

export class PluginAggregation {
  #zone;
  #add;
  /** Where flights are packed. */
  #bytes;
  #seconds = 0;

  /**
   * @param {string} path
   * @param {Mode} mode
   */
  static async open(path, mode) {
    return new PluginAggregation(await loadZone({ path, mode }));
  }

  /**
   * @private
   * @param {import('busbar').Zone} zone
   */
  constructor(zone) {
    this.#zone = zone;
    if (zone.mode === 'inline') {
      const { input, run } = zone.bind('add');
      this.#bytes = input;
      this.#add = (/** @type {number} */ length) => void run(length);
    } else {
      const bytes = new Uint8Array(FLIGHTS_AT_ONCE * FLIGHT_BYTES);
      this.#bytes = bytes;
      this.#add = (/** @type {number} */ length) => zone.call('add', bytes.subarray(0, length));
    }
  }

  get mode() {
    return this.#zone.mode;
  }

  /** Spent packing and calling. */
  get seconds() {
    return this.#seconds;
  }

  /** @param {FlightColumns} columns */
  async add(columns) {
    const start = performance.now();
    for (let row = 0; row < columns.length; row += FLIGHTS_AT_ONCE) {
      const end = Math.min(row + FLIGHTS_AT_ONCE, columns.length);
      pack(columns, row, end, this.#bytes);
      await this.#add((end - row) * FLIGHT_BYTES);
    }
    this.#seconds += (performance.now() - start) / 1000;
  }

  /** @returns {Promise<Aggregate>} */
  async result() {
    const plugin = /** @type {{ result(): Groups | Promise<Groups> }} */ (
      this.#zone.interface({ u64: 'number' })
    );
    const { flights, origin, destination, hour, distance } = await plugin.result();
    return {
      flights,
      origin: grouping(origin, airportCode),
      destination: grouping(destination, airportCode),
      hour: grouping(hour, hourLabel),
      distance: grouping(distance, (band) => DISTANCE_BANDS[band]?.label ?? 'no band'),
    };
  }

  close() {
    return this.#zone.close();
  }
}

/**
 * @param {FlightColumns} columns
 * @param {number} start
 * @param {number} end
 * @param {Uint8Array} bytes
 */
function pack(columns, start, end, bytes) {
  const { buffer, byteOffset } = bytes;
  const view = new DataView(buffer, byteOffset);
  for (let row = start, at = 0; row < end; row += 1, at += FLIGHT_BYTES) {
    const micros = /** @type {number} */ (columns.departureMicros[row]);
    view.setUint16(at, airportNumber(/** @type {string} */ (columns.origin[row])), true);
    view.setUint16(at + 2, airportNumber(/** @type {string} */ (columns.destination[row])), true);
    view.setUint32(at + 4, Math.floor(micros / 1e6), true);
    view.setInt16(at + 8, /** @type {number} */ (columns.delayMinutes[row]), true);
    view.setUint16(at + 10, /** @type {number} */ (columns.distanceMiles[row]), true);
  }
}

/**
 * @param {readonly GroupCell[]} cells
 * @param {(group: number) => string} label
 * @returns {import('./aggregate.js').Grouping}
 */
function grouping(cells, label) {
  return new Map(
    cells.map(({ group, flights, sum, max, late }) => [label(group), { flights, sum, max, late }]),
  );
}
