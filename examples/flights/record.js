// @ts-check
/**
 * The message that carries one flight: 16 bytes, little-endian, always the same layout, so that the
 * receiver reads fields where they lie and never builds an object.
 *
 * | byte | size | field         | type  | unit                                                 |
 * |-----:|-----:|---------------|-------|------------------------------------------------------|
 * |    0 |    1 | kind          | u8    | `Kind.FLIGHT`; every message of this program has one |
 * |    1 |    3 | origin        | ASCII | IATA code of the airport of departure                |
 * |    4 |    3 | destination   | ASCII | IATA code of the airport of arrival                  |
 * |    7 |    1 | reserved      | u8    | 0                                                    |
 * |    8 |    4 | departure     | u32   | seconds since 1970-01-01T00:00 on the local clock    |
 * |   12 |    2 | delay         | i16   | minutes late on arrival, negative when early         |
 * |   14 |    2 | distance      | u16   | miles                                                |
 */

/** First byte of every message; the layouts other than FLIGHT are in control.js. */
export const Kind = Object.freeze({
  FLIGHT: 1,
  PING: 2,
  PONG: 3,
  MARK: 4,
  ACK: 5,
  END: 6,
  RESULT: 7,
});

export const FLIGHT_BYTES = 16;

/** Number of values {@link readAirport} can return. */
export const AIRPORT_CODES = 26 ** 3;

/** @typedef {import('./dataset.js').FlightColumns} FlightColumns */

/**
 * Writes row `row` of `columns` as a record at byte `at`.
 *
 * @param {DataView} view
 * @param {number} at
 * @param {FlightColumns} columns
 * @param {number} row
 */
export function writeFlight(view, at, columns, row) {
  view.setUint8(at, Kind.FLIGHT);
  writeAirport(view, at + ORIGIN, /** @type {string} */ (columns.origin[row]));
  writeAirport(view, at + DESTINATION, /** @type {string} */ (columns.destination[row]));
  view.setUint8(at + RESERVED, 0);
  const micros = /** @type {number} */ (columns.departureMicros[row]);
  view.setUint32(at + DEPARTURE, micros / 1e6, true);
  view.setInt16(at + DELAY, /** @type {number} */ (columns.delayMinutes[row]), true);
  view.setUint16(at + DISTANCE, /** @type {number} */ (columns.distanceMiles[row]), true);
}

/** @param {DataView} view @param {number} at */
export function readOrigin(view, at) {
  return readAirport(view, at + ORIGIN);
}

/** @param {DataView} view @param {number} at */
export function readDestination(view, at) {
  return readAirport(view, at + DESTINATION);
}

/** @param {DataView} view @param {number} at */
export function readDepartureSeconds(view, at) {
  return view.getUint32(at + DEPARTURE, true);
}

/** @param {DataView} view @param {number} at */
export function readDelayMinutes(view, at) {
  return view.getInt16(at + DELAY, true);
}

/** @param {DataView} view @param {number} at */
export function readDistanceMiles(view, at) {
  return view.getUint16(at + DISTANCE, true);
}

/**
 * Makes the flight at byte `at` one minute later than it was: what `--tamper` does to one message.
 *
 * @param {DataView} view
 * @param {number} at
 */
export function tamperWithFlight(view, at) {
  view.setInt16(at + DELAY, view.getInt16(at + DELAY, true) + 1, true);
}

/**
 * The IATA code that {@link readOrigin} or {@link readDestination} returned as a number.
 *
 * @param {number} airport
 */
export function airportName(airport) {
  const letters = [Math.floor(airport / 676), Math.floor(airport / 26) % 26, airport % 26];
  return String.fromCharCode(...letters.map((letter) => LETTER_A + letter));
}

/**
 * @param {DataView} view
 * @param {number} at
 * @param {string} code
 */
function writeAirport(view, at, code) {
  view.setUint8(at, code.charCodeAt(0));
  view.setUint8(at + 1, code.charCodeAt(1));
  view.setUint8(at + 2, code.charCodeAt(2));
}

/**
 * An airport as a number below {@link AIRPORT_CODES}: an index into an array instead of a string to
 * hash.
 *
 * @param {DataView} view
 * @param {number} at
 */
function readAirport(view, at) {
  const first = view.getUint8(at) - LETTER_A;
  const second = view.getUint8(at + 1) - LETTER_A;
  const third = view.getUint8(at + 2) - LETTER_A;
  if (first >>> 0 > 25 || second >>> 0 > 25 || third >>> 0 > 25) {
    throw new RangeError(`byte ${at} of a batch does not begin an IATA airport code`);
  }
  return first * 676 + second * 26 + third;
}

const ORIGIN = 1;
const DESTINATION = 4;
const RESERVED = 7;
const DEPARTURE = 8;
const DELAY = 12;
const DISTANCE = 14;
const LETTER_A = 65;
