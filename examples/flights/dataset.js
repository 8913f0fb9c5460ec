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
    /** @type {Map<string, unknown[]>} */
    const columns = new Map(COLUMNS.map((name) => [name, []]));
    await parquetRead({
      file: this.#file,
      metadata: this.#metadata,
      compressors,
      columns: [...COLUMNS],
      rowStart,
      rowEnd,
      // Timestamps stay integers: a Date for every row would cost more than all the rest.
      parsers: { timestampFromMicroseconds: (micros) => micros },
      onChunk: ({ columnName, columnData, rowStart: first }) => {
        place(columns.get(columnName), columnData, first - rowStart, length);
      },
    });
    /** @param {string} name */
    const column = (name) => columns.get(name) ?? [];
    return {
      length,
      departureMicros: toNumbers(column('date'), new Float64Array(length), 0, MICROS_MAX),
      delayMinutes: toNumbers(column('delay'), new Int16Array(length), -32_768, 32_767),
      distanceMiles: toNumbers(column('distance'), new Uint16Array(length), 0, 65_535),
      origin: toAirports(column('origin'), length),
      destination: toAirports(column('destination'), length),
    };
  }
}

/**
 * Copies the part of a chunk that lies in the wanted rows: chunks are whole pages.
 *
 * @param {unknown[] | undefined} target
 * @param {ArrayLike<unknown>} chunk
 * @param {number} first where the chunk begins, counted from the first wanted row
 * @param {number} length
 */
function place(target, chunk, first, length) {
  if (target === undefined) return;
  const end = Math.min(chunk.length, length - first);
  for (let i = Math.max(0, -first); i < end; i += 1) target[first + i] = chunk[i];
}

/**
 * @template {Float64Array | Int16Array | Uint16Array} T
 * @param {unknown[]} values
 * @param {T} target
 * @param {number} min
 * @param {number} max
 * @returns {T}
 */
function toNumbers(values, target, min, max) {
  for (let row = 0; row < target.length; row += 1) {
    const value = values[row];
    const number = typeof value === 'bigint' ? Number(value) : NaN;
    if (!(number >= min && number <= max)) {
      throw new RangeError(`row ${row} of a row group: ${value} is not an integer in ${min}…${max}`);
    }
    target[row] = number;
  }
  return target;
}

/**
 * @param {unknown[]} values
 * @param {number} length
 * @returns {readonly string[]}
 */
function toAirports(values, length) {
  const known = new Set();
  for (let row = 0; row < length; row += 1) {
    const code = values[row];
    if (known.has(code)) continue;
    if (typeof code !== 'string' || !/^[A-Z]{3}$/.test(code)) {
      throw new RangeError(`row ${row} of a row group: ${code} is not an IATA airport code`);
    }
    known.add(code);
  }
  return /** @type {string[]} */ (values);
}

function defaultPath() {
  return fileURLToPath(new URL('../data/flights-3m.parquet', import.meta.resolve('vega-datasets')));
}

const COLUMNS = /** @type {const} */ (['date', 'delay', 'distance', 'origin', 'destination']);
/** The record (record.js) holds whole seconds in a u32. */
const MICROS_MAX = 0xffff_ffff * 1e6;
