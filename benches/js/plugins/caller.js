// @ts-check
/**
 * What a contender of the plugin cases is, and how its calls are checked and timed.
 */
import assert from 'node:assert/strict';

import { fresh, time } from '../types/codec.js';
import { median } from '../stats.js';

/** @typedef {import('./cases.js').Payload} Payload */
/** @typedef {import('./cases.js').Manner} Manner */

/**
 * @typedef {object} Setup
 * @property {import('./build.js').Built} built
 * @property {string} form of calling
 */

/**
 * What a module's `open` gives: calls, which return results or promises of them. With 64 B the
 * result lies in `out` or in memory of its own.
 *
 * @typedef {Partial<Record<Payload, (...values: any[]) => any>>} Caller
 */

/** @typedef {{ ns: number, n: number }} Timing */

/**
 * Checks that the calls do what they should, and times them.
 *
 * @param {Caller} caller
 * @param {Manner} manner
 * @param {Payload} payload
 * @param {number} seconds
 * @returns {Promise<Timing>}
 */
export async function timeCalls(caller, manner, payload, seconds) {
  const call = caller[payload];
  if (call === undefined) throw new Error(`it cannot be called with ${payload}`);
  await check(call, payload);
  if (manner === 'sync') return time(fresh(LOOPS[payload])(call, ...BYTES), seconds);
  const loop = fresh(manner === 'async' ? AWAITED[payload] : CROWDED[payload]);
  return timeAwaited(loop(call, ...BYTES), seconds);
}

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

/** @type {Record<Payload, (call: any, bytes: Buffer, out: Buffer) => (n: number) => unknown>} */
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

/** @typedef {(call: any, bytes: Buffer, out: Buffer) => (n: number) => Promise<unknown>} Awaited */

/** @type {Record<Payload, Awaited>} */
const AWAITED = {
  none: (call) => async (n) => {
    for (let i = 0; i < n; i++) await call();
  },
  numbers: (call) => async (n) => {
    for (let i = 0; i < n; i++) await call(i & 1023, 4);
  },
  '64B': (call, bytes, out) => async (n) => {
    for (let i = 0; i < n; i++) await call(bytes, out);
  },
};

/**
 * Of 100 calls under way the eldest is awaited before the next.
 *
 * @type {Record<Payload, Awaited>}
 */
const CROWDED = {
  none: (call) => async (n) => {
    const under = Array.from({ length: 100 }, () => null);
    for (let i = 0; i < n; i++) {
      await under[i % 100];
      under[i % 100] = call();
    }
    await Promise.all(under);
  },
  numbers: (call) => async (n) => {
    const under = Array.from({ length: 100 }, () => null);
    for (let i = 0; i < n; i++) {
      await under[i % 100];
      under[i % 100] = call(i & 1023, 4);
    }
    await Promise.all(under);
  },
  '64B': (call, bytes, out) => async (n) => {
    const under = Array.from({ length: 100 }, () => null);
    for (let i = 0; i < n; i++) {
      await under[i % 100];
      under[i % 100] = call(bytes, out);
    }
    await Promise.all(under);
  },
};

/**
 * As `time` does, for loops that wait.
 *
 * @param {(n: number) => Promise<unknown>} loop
 * @param {number} seconds
 * @returns {Promise<Timing>}
 */
async function timeAwaited(loop, seconds) {
  const half = (seconds * 1e9) / 2;
  let n = 1;
  let ns = await measure(loop, n);
  for (let spent = ns; spent < half; spent += ns) {
    if (ns < half / SAMPLES) n *= 2;
    ns = await measure(loop, n);
  }
  const length = Math.max(1, Math.round((n * half) / SAMPLES / ns));
  const samples = [];
  for (let i = 0; i < SAMPLES; i++) samples.push((await measure(loop, length)) / length);
  return { ns: median(samples), n: length * SAMPLES };
}

const SAMPLES = 11;

/**
 * @param {(n: number) => Promise<unknown>} loop
 * @param {number} n
 * @returns {Promise<number>} nanoseconds
 */
async function measure(loop, n) {
  const start = process.hrtime.bigint();
  await loop(n);
  return Number(process.hrtime.bigint() - start);
}
