// @ts-check
/**
 * Sends columns of flights through a pipe, one message each, and measures that and nothing else.
 *
 * The clock of a row group starts before its first flight is written and stops when the aggregator
 * has acknowledged a mark sent behind its last one. The time therefore holds: encoding the flights,
 * the way through shared memory, the aggregation of every flight and one round trip. It does not
 * hold decoding of the file, which happens between row groups.
 */

import { airportNumber } from './airports.js';
import { expectReply } from './messages.js';

/** @typedef {import('./conversation.js').Conversation} Conversation */
/** @typedef {import('./dataset.js').FlightColumns} FlightColumns */
/** @typedef {import('./messages.js').Flight} Flight */

export class Replayer {
  #requests;
  #replies;
  #tamperedFlight;
  /** Made once, written to and sent again and again: sending encodes at once. */
  #messages = Array.from({ length: BATCH }, () => {
    const value = { origin: 0, destination: 0, departure: 0, delay: 0, distance: 0 };
    return { kind: /** @type {const} */ ('Flight'), value };
  });
  #sent = 0;
  #seconds = 0;

  /**
   * @param {Conversation} conversation
   * @param {{ tamperedFlight?: number | undefined }} [options] the one flight to falsify, if any
   */
  constructor({ requests, replies }, { tamperedFlight } = {}) {
    this.#requests = requests;
    this.#replies = replies;
    this.#tamperedFlight = tamperedFlight;
  }

  /** Flights sent so far. */
  get sent() {
    return this.#sent;
  }

  /** Seconds spent in {@link replay} so far. */
  get seconds() {
    return this.#seconds;
  }

  /**
   * Sends a row group and waits until it has been aggregated.
   *
   * @param {FlightColumns} columns
   * @param {() => void} onProgress called after each batch
   */
  async replay(columns, onProgress) {
    const start = performance.now();
    for (let first = 0; first < columns.length; first += BATCH) {
      const count = Math.min(BATCH, columns.length - first);
      this.#write(columns, first, count);
      await this.#requests.sendBatch(
        count === BATCH ? this.#messages : this.#messages.slice(0, count),
      );
      this.#sent += count;
      onProgress();
    }
    await this.#requests.send({ kind: 'Mark' });
    const { flights } = expectReply(await this.#replies.receive(), 'Ack');
    this.#seconds += (performance.now() - start) / 1000;
    if (flights !== this.#sent) {
      throw new Error(`${this.#sent} flights were sent, the aggregator received ${flights}`);
    }
  }

  /**
   * @param {FlightColumns} columns
   * @param {number} first
   * @param {number} count
   */
  #write(columns, first, count) {
    for (let i = 0; i < count; i += 1) {
      const { value } = /** @type {{ value: Flight }} */ (this.#messages[i]);
      fillFlight(value, columns, first + i);
      if (this.#sent + i === this.#tamperedFlight) value.delay += 1;
    }
  }
}

/**
 * Makes `flight` the one in row `row` of `columns`.
 *
 * @param {Flight} flight
 * @param {FlightColumns} columns
 * @param {number} row
 */
export function fillFlight(flight, columns, row) {
  flight.origin = airportNumber(/** @type {string} */ (columns.origin[row]));
  flight.destination = airportNumber(/** @type {string} */ (columns.destination[row]));
  flight.departure = Math.floor(/** @type {number} */ (columns.departureMicros[row]) / 1e6);
  flight.delay = /** @type {number} */ (columns.delayMinutes[row]);
  flight.distance = /** @type {number} */ (columns.distanceMiles[row]);
}

/** Messages in a call: enough to make the call itself free, few enough to stay in the L1 cache. */
const BATCH = 1024;
