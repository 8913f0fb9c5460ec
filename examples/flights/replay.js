// @ts-check
/**
 * Sends columns of flights through a pipe, one message each, and measures that and nothing else.
 *
 * The clock of a row group starts before its first record is written and stops when the aggregator
 * has acknowledged a mark sent behind its last one. The time therefore holds: writing the records,
 * the way through shared memory, the aggregation of every record and one round trip. It does not
 * hold decoding of the file, which happens between row groups.
 */

import { decodeAck, encodeMark } from './control.js';
import { FLIGHT_BYTES, tamperWithFlight, writeFlight } from './record.js';

/** @typedef {import('busbar').Pipe} Pipe */
/** @typedef {import('./dataset.js').FlightColumns} FlightColumns */

export class Replayer {
  #pipe;
  #tamperedFlight;
  #records = new Uint8Array(BATCH * FLIGHT_BYTES);
  #view = new DataView(this.#records.buffer);
  /** One view for each record of `#records`: made once, sent again and again. */
  #messages = Array.from({ length: BATCH }, (_, i) => {
    return this.#records.subarray(i * FLIGHT_BYTES, (i + 1) * FLIGHT_BYTES);
  });
  #sent = 0;
  #seconds = 0;

  /**
   * @param {Pipe} pipe
   * @param {{ tamperedFlight?: number | undefined }} [options] the one flight to falsify, if any
   */
  constructor(pipe, { tamperedFlight } = {}) {
    this.#pipe = pipe;
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
      await this.#pipe.sendBatch(
        count === BATCH ? this.#messages : this.#messages.slice(0, count),
      );
      this.#sent += count;
      onProgress();
    }
    await this.#pipe.send(encodeMark());
    const aggregated = decodeAck(await this.#pipe.receive());
    this.#seconds += (performance.now() - start) / 1000;
    if (aggregated !== this.#sent) {
      throw new Error(`${this.#sent} flights were sent, the aggregator received ${aggregated}`);
    }
  }

  /**
   * @param {FlightColumns} columns
   * @param {number} first
   * @param {number} count
   */
  #write(columns, first, count) {
    for (let i = 0; i < count; i += 1) {
      writeFlight(this.#view, i * FLIGHT_BYTES, columns, first + i);
    }
    const tampered = (this.#tamperedFlight ?? -1) - this.#sent;
    if (tampered >= 0 && tampered < count) tamperWithFlight(this.#view, tampered * FLIGHT_BYTES);
  }
}

/** Messages in a call: enough to make the call itself free, few enough to stay in the L1 cache. */
const BATCH = 1024;
