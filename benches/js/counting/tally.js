// @ts-check
/**
 * What a process that is measured allocates and copies during a job, where the runner asks for it
 * (see round.js): allocations by the native code of the library under test and copies of whole
 * messages by anybody, as tally.c counts them, and bytes that JavaScript takes from its heap.
 */
import { openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { GCProfiler, getHeapStatistics } from 'node:v8';

/**
 * @typedef {object} Counts null is what nobody counts here
 * @property {number | null} allocations
 * @property {number | null} copiedBytes
 * @property {number | null} heapBytes null also if garbage was collected meanwhile
 */

/** In the environment of a child that counts: the file of tally.c, empty where there is none. */
export const TALLY = 'BUSBAR_BENCH_TALLY';

/**
 * Begins to count.
 *
 * @param {number} size of a message; copies of less are none of a message
 * @returns {(() => Counts) | null} what was counted since; null where nothing is to be
 */
export function startCounting(size) {
  const path = process.env[TALLY];
  if (path === undefined) return null;
  const tally = path === '' ? null : Tally.open(path, size);
  const collections = new GCProfiler();
  collections.start();
  const before = tally?.read();
  const heapBefore = getHeapStatistics().used_heap_size;
  return () => {
    const heapBytes = getHeapStatistics().used_heap_size - heapBefore;
    const after = tally?.read();
    const isWhole = collections.stop().statistics.length === 0;
    return {
      allocations: before && after && tally?.hasAddon ? after[0] - before[0] : null,
      copiedBytes: before && after ? after[1] - before[1] : null,
      heapBytes: isWhole ? heapBytes : null,
    };
  };
}

/** The file that tally.c has mapped. */
class Tally {
  /** @type {number} */ #file;
  /** Whether the library under test has native code of its own. */ hasAddon;

  /** The one of this process. @type {Tally | null} */
  static #only = null;

  /**
   * @param {string} path
   * @param {number} size
   */
  static open(path, size) {
    return (this.#only ??= new Tally(path, size));
  }

  /**
   * @param {string} path
   * @param {number} size
   */
  constructor(path, size) {
    this.#file = openSync(path, 'r+');
    const ranges = codeOfAddons().slice(0, RANGES_MAX);
    this.hasAddon = ranges.length > 0;
    writeSync(this.#file, BigUint64Array.from([BigInt(size), ...ranges.flat()]), 0, null, 16);
  }

  /** @returns {[number, number]} allocations, and bytes of copies */
  read() {
    const counts = new BigUint64Array(2);
    readSync(this.#file, counts, 0, counts.byteLength, 0);
    return [Number(counts[0]), Number(counts[1])];
  }
}

/** @returns {[bigint, bigint][]} where the executable parts of addons lie */
function codeOfAddons() {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(' r-xp ') && line.endsWith('.node'))
    .map((line) => {
      const [from, to] = line.slice(0, line.indexOf(' ')).split('-');
      return [BigInt(`0x${from}`), BigInt(`0x${to}`)];
    });
}

/** As in tally.c. */
const RANGES_MAX = 8;
