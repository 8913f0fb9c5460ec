// @ts-check
/**
 * What travels in a benchmark, and the check that it arrived. A receiver touches the first and
 * last byte of every message, so that no transport is credited for memory nobody could read.
 */

/**
 * @param {number} size bytes
 * @returns {Buffer}
 */
export function makePayload(size) {
  // Not from Node's pool: peers clone or transfer the whole underlying ArrayBuffer.
  const payload = Buffer.alloc(size);
  for (let i = 0; i < size; i++) payload[i] = (i * 31 + 7) & 0xff;
  return payload;
}

/** Counts messages up to an expected number and verifies their sizes and edges. */
export class Tally {
  /** @type {number} */ #left;
  /** @type {number} */ #size;
  /** @type {number} */ #edges;

  /**
   * @param {number} n messages expected
   * @param {Uint8Array} payload what each of them must look like
   */
  constructor(n, payload) {
    this.#left = n;
    this.#size = payload.length;
    this.#edges = edge(payload, 0, payload.length);
  }

  /** Whether the expected number has arrived. */
  get done() {
    return this.#left === 0;
  }

  /**
   * Accounts for one message at `bytes[start..end)`.
   *
   * @param {Uint8Array} bytes
   * @param {number} start
   * @param {number} end
   */
  add(bytes, start, end) {
    if (end - start !== this.#size || edge(bytes, start, end) !== this.#edges) {
      throw new Error(`message of ${end - start} bytes is not the ${this.#size} that were sent`);
    }
    if (--this.#left < 0) throw new Error('more messages arrived than were sent');
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} end
 * @returns {number}
 */
function edge(bytes, start, end) {
  return ((bytes[start] ?? 0) << 8) | (bytes[end - 1] ?? 0);
}
