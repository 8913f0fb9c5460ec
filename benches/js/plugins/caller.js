// @ts-check
/**
 * What a contender of the plugin cases is, and how its calls are checked and timed: in samples,
 * each of many blocks of calls, so that there are percentiles, too. A block takes some microseconds
 * where calls are short, as reading a clock takes as long as such a call; otherwise it is one call,
 * or the 100 that are under way together.
 */
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';

import { median } from '../stats.js';
import { fresh } from '../types/codec.js';

/** @typedef {import('./cases.js').Payload} Payload */
/** @typedef {import('./cases.js').Manner} Manner */

/**
 * @typedef {object} Setup
 * @property {import('./build.js').Built} built
 * @property {string} form of calling
 */

/**
 * What a module's `open` gives: calls, which return results or promises of them. With 64 B the
 * result lies in `out` or in memory of its own. `meanwhile` starts what is to go on while calls are
 * timed, and no longer, as others have their turns then; it gives what ends it.
 *
 * @typedef {Partial<Record<Payload, (...values: any[]) => any>> &
 *   { meanwhile?: () => Promise<() => Promise<void>> }} Caller
 */

/** Between two crashes, not counted: nothing crashes in a row, and what follows is ready. */
const REST_MS = 30;

/**
 * @typedef {object} Sample
 * @property {number} ns nanoseconds a call
 * @property {number} n calls
 * @property {number[]} blocks nanoseconds a call, of each block
 */

/** Kind of calls that was checked and has run for a while. */
export class Job {
  /** @type {(n: number) => unknown} */
  #loop;
  /** @type {boolean} */
  #isAwaited;
  #blockCalls = 1;
  #sampleBlocks = 1;
  /** @type {Caller['meanwhile']} */
  #meanwhile;

  /**
   * @param {Caller} caller
   * @param {Manner} manner
   * @param {Payload} payload
   * @returns {Promise<Job>}
   */
  static async open(caller, manner, payload) {
    const call = caller[payload];
    if (call === undefined) throw new Error(`it cannot be called with ${payload}`);
    await check(call, payload);
    return new Job(call, manner, payload, caller.meanwhile);
  }

  /**
   * @param {(...values: any[]) => any} call
   * @param {Manner} manner
   * @param {Payload} payload
   * @param {Caller['meanwhile']} [meanwhile]
   */
  constructor(call, manner, payload, meanwhile) {
    this.#meanwhile = meanwhile;
    this.#isAwaited = manner !== 'sync';
    const loops = { ...AWAITED_MANNERS, sync: LOOPS, async100: CROWDED }[manner];
    this.#loop = fresh(/** @type {any} */ (loops[payload]))(call, ...BYTES);
    if (manner === 'async100') this.#blockCalls = CROWD;
    this.isShort = manner === 'sync';
    this.rests = manner === 'crash';
  }

  /**
   * Runs ever longer until it took `warmSeconds`, so that the code is compiled and the memory
   * touched, and makes samples last `sampleSeconds`.
   *
   * @param {number} warmSeconds
   * @param {number} sampleSeconds
   */
  async warm(warmSeconds, sampleSeconds) {
    const [enough, wanted] = [warmSeconds * 1e9, sampleSeconds * 1e9];
    let block = Infinity;
    for (let spent = 0; spent < enough;) {
      const { ns, blocks } = await this.sample();
      block = ns * this.#blockCalls;
      spent += block * blocks.length;
      if (block * blocks.length >= wanted) continue;
      if (this.isShort && block < BLOCK_NS) this.#blockCalls *= 2;
      else this.#sampleBlocks *= 2;
    }
    this.#sampleBlocks = Math.max(1, Math.min(BLOCKS_MAX, Math.round(wanted / block)));
  }

  /** @returns {Promise<Sample>} */
  async sample() {
    if (this.rests) return this.#sampleWithRests();
    const end = await this.#meanwhile?.();
    const sample = await this.#sample();
    await end?.();
    return sample;
  }

  /** @returns {Promise<Sample>} */
  async #sample() {
    const [loop, calls, blocks] = [this.#loop, this.#blockCalls, this.#sampleBlocks];
    const stamps = new Float64Array(blocks + 1);
    stamps[0] = performance.now();
    if (this.#isAwaited) {
      for (let i = 1; i <= blocks; i++) {
        await loop(calls);
        stamps[i] = performance.now();
      }
    } else {
      for (let i = 1; i <= blocks; i++) {
        loop(calls);
        stamps[i] = performance.now();
      }
    }
    const all = Array.from({ length: blocks }, (_, i) => {
      return (((stamps[i + 1] ?? NaN) - (stamps[i] ?? NaN)) * 1e6) / calls;
    });
    const n = blocks * calls;
    return { ns: (((stamps[blocks] ?? NaN) - (stamps[0] ?? NaN)) * 1e6) / n, n, blocks: all };
  }

  /** @returns {Promise<Sample>} */
  async #sampleWithRests() {
    const all = [];
    for (let i = 0; i < this.#sampleBlocks; i++) {
      await setTimeout(REST_MS);
      const begin = performance.now();
      await this.#loop(1);
      all.push((performance.now() - begin) * 1e6);
    }
    return { ns: median(all), n: all.length, blocks: all };
  }
}

const BLOCK_NS = 10_000;
const BLOCKS_MAX = 20_000;
/** Calls under way. */
const CROWD = 100;

/** @type {[Buffer, Buffer]} */
const BYTES = [Buffer.from(Array.from({ length: 64 }, (_, i) => i)), Buffer.alloc(64)];

/**
 * @param {(...values: any[]) => any} call
 * @param {Payload} payload
 */
async function check(call, payload) {
  if (payload === 'none') return void (await call());
  if (payload === 'numbers') return assert.equal(await call(3, 4), 5);
  const [bytes, out] = BYTES;
  const wanted = [...bytes].map((byte) => 255 - byte);
  assert.deepEqual([...(await call(bytes, out))], wanted);
}

/** @typedef {(call: any, bytes: Buffer, out: Buffer) => (n: number) => unknown} Loop */

/** @type {Record<Payload, Loop>} */
const LOOPS = {
  none: (call) => (n) => {
    for (let i = 0; i < n; i++) call();
  },
  numbers: (call) => (n) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += call(i & 1023, 4);
    return sum;
  },
  '64B': (call, bytes, out) => (n) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += call(bytes, out).length;
    return sum;
  },
};

/** A block is one call: the loop is the sample's. @type {Record<Payload, Loop>} */
const AWAITED = {
  none: (call) => () => call(),
  numbers: (call) => () => call(3, 4),
  '64B': (call, bytes, out) => () => call(bytes, out),
};

const AWAITED_MANNERS = { async: AWAITED, beside: AWAITED, crash: AWAITED };

/**
 * Of 100 calls under way the eldest is awaited before the next; they stay under way from block to
 * block.
 *
 * @type {Record<Payload, Loop>}
 */
const CROWDED = {
  none: (call) => {
    const under = Array.from({ length: 100 }, () => null);
    return async (n) => {
      for (let i = 0; i < n; i++) {
        await under[i % 100];
        under[i % 100] = call();
      }
    };
  },
  numbers: (call) => {
    const under = Array.from({ length: 100 }, () => null);
    return async (n) => {
      for (let i = 0; i < n; i++) {
        await under[i % 100];
        under[i % 100] = call(i & 1023, 4);
      }
    };
  },
  '64B': (call, bytes, out) => {
    const under = Array.from({ length: 100 }, () => null);
    return async (n) => {
      for (let i = 0; i < n; i++) {
        await under[i % 100];
        under[i % 100] = call(bytes, out);
      }
    };
  },
};
