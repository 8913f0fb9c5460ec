// @ts-check
/**
 * Reads `flights-3m.parquet` out of the npm package vega-datasets: the arrivals of 3 million US
 * flights from January to June 2001, as reported to the Bureau of Transportation Statistics.
 *
 * One row group (about 273,000 flights) is in memory at a time. Values come out as columns in their
 * own units, checked once here, so that nothing later wraps or meets a null.
 */

import { fileURLToPath } from 'node:url';

import { asyncBufferFromFile, parquetMetadataAsync, parquetRead } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';

/**
 * Flights as columns; row `i` of each belongs to the same flight.
 *
 * @typedef {{
 *   readonly length: number,
 *   readonly departureMicros: Float64Array, // actual departure, since 1970 on the local clock
 *   readonly delayMinutes: Int16Array, // late on arrival; negative when early
 *   readonly distanceMiles: Uint16Array,
 *   readonly origin: readonly string[], // IATA codes: three letters A–Z
 *   readonly destination: readonly string[],
 * }} FlightColumns
 */

export class FlightDataset {
  #file;
  #metadata;

  /** Opens the file that vega-datasets installed, or the one named. */
  static async open(path = defaultPath()) {
    const file = await asyncBufferFromFile(path);
    return new FlightDataset(file, await parquetMetadataAsync(file));
  }

  /**
   * @private
   * @param {import('hyparquet').AsyncBuffer} file
   * @param {import('hyparquet').FileMetaData} metadata
   */
  constructor(file, metadata) {
    this.#file = file;
    this.#metadata = metadata;
  }

  get rows() {
    return Number(this.#metadata.num_rows);
  }

  /**
   * The first `limit` flights, one row group at a time.
   *
   * @param {number} limit
   * @returns {AsyncGenerator<FlightColumns, void, void>}
   */
  async *rowGroups(limit = this.rows) {
    let start = 0;
    for (const group of this.#metadata.row_groups) {
      const end = Math.min(start + Number(group.num_rows), limit);
      if (start >= end) return;
      yield await this.#read(start, end);
      start = end;
    }
  }

  /**
   * @param {number} rowStart
   * @param {number} rowEnd
   * @returns {Promise<FlightColumns>}
   */
  async #read(rowStart, rowEnd) {
    const length = rowEnd - rowStart;
    const departure = new NumberColumn(new Float64Array(length), 0, MICROS_MAX);
    const delay = new NumberColumn(new Int16Array(length), -32_768, 32_767);
    const distance = new NumberColumn(new Uint16Array(length), 0, 65_535);
    const origin = new AirportColumn(length);
    const destination = new AirportColumn(length);
    const columns = { date: departure, delay, distance, origin, destination };
    await parquetRead({
      file: this.#file,
      metadata: this.#metadata,
      compressors,
      columns: Object.keys(columns),
      rowStart,
      rowEnd,
      // Timestamps stay integers: a Date for every row would cost more than all the rest.
      parsers: { timestampFromMicroseconds: (micros) => micros },
      onChunk: ({ columnName, columnData, rowStart: first }) => {
        const column = columns[/** @type {keyof typeof columns} */ (columnName)];
        // Chunks are whole pages: rows before and behind the wanted ones come along.
        const end = Math.min(columnData.length, rowEnd - first);
        for (let i = Math.max(0, rowStart - first); i < end; i += 1) column.push(columnData[i]);
      },
    });
    return {
      length,
      departureMicros: departure.finish(),
      delayMinutes: delay.finish(),
      distanceMiles: distance.finish(),
      origin: origin.finish(),
      destination: destination.finish(),
    };
  }
}

/**
 * A column of integers on its way from the file.
 *
 * @template {Float64Array | Int16Array | Uint16Array} T
 */
class NumberColumn {
  #values;
  #min;
  #max;
  #length = 0;

  /**
   * @param {T} values
   * @param {number} min
   * @param {number} max
   */
  constructor(values, min, max) {
    this.#values = values;
    this.#min = min;
    this.#max = max;
  }

  /** @param {unknown} value */
  push(value) {
    const number = typeof value === 'bigint' ? Number(value) : NaN;
    if (!(number >= this.#min && number <= this.#max)) {
      throw new RangeError(`the file holds ${value}, no integer in ${this.#min}…${this.#max}`);
    }
    this.#values[this.#length] = number;
    this.#length += 1;
  }

  finish() {
    expectLength(this.#length, this.#values.length);
    return this.#values;
  }
}

/** A column of airport codes on its way from the file. */
class AirportColumn {
  /** @type {string[]} */
  #values = [];
  #length;
  /** @type {Set<unknown>} */
  #known = new Set();

  /** @param {number} length */
  constructor(length) {
    this.#length = length;
  }

  /** @param {unknown} value */
  push(value) {
    if (!this.#known.has(value)) {
      if (typeof value !== 'string' || !/^[A-Z]{3}$/.test(value)) {
        throw new RangeError(`the file holds ${value}, no IATA airport code`);
      }
      this.#known.add(value);
    }
    this.#values.push(/** @type {string} */ (value));
  }

  finish() {
    expectLength(this.#values.length, this.#length);
    return this.#values;
  }
}

/**
 * @param {number} length
 * @param {number} expected
 */
function expectLength(length, expected) {
  if (length !== expected) throw new Error(`the file gave ${length} of ${expected} rows`);
}

function defaultPath() {
  return fileURLToPath(new URL('../data/flights-3m.parquet', import.meta.resolve('vega-datasets')));
}

/** A message holds whole seconds in a u32. */
const MICROS_MAX = 0xffff_ffff * 1e6;
