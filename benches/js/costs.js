// @ts-check
/**
 * What one message costs beside time: objects, blocks, copies and system calls, of both ends
 * together. They are counted in processes of their own, since counting takes time; each is the
 * difference between a long job and a short one, so that what a job costs once is not in it.
 */
import { join } from 'node:path';

import { countCalls, Meter } from './meter.js';
import { Pair } from './pair.js';

/**
 * @typedef {object} Costs each per message; null where it cannot be counted
 * @property {number | null} allocs objects on V8's heap
 * @property {number | null} mallocs blocks of native memory
 * @property {number | null} copies bytes that were copied in memory, in terms of the payload
 * @property {number | null} syscalls
 */

/** @type {Costs} */
export const UNKNOWN = { allocs: null, mallocs: null, copies: null, syscalls: null };

/**
 * @param {import('./cases.js').Case} spec
 * @param {import('./cases.js').Contender} contender
 * @param {number[] | null} cpus
 * @param {{ timeoutMs: number, out: string }} settings
 * @returns {Promise<Costs>}
 */
export async function countCosts(spec, contender, cpus, { timeoutMs, out }) {
  const folder = join(out, 'native');
  const meter = Meter.open(folder, spec.size);
  const pair = await Pair.open(spec, contender, {
    cpus,
    timeoutMs,
    profileDir: null,
    env: meter?.env ?? {},
  });
  try {
    const few = clamp(BYTES / spec.size, 4, MESSAGES[spec.kind]);
    const perMessage = async (/** @type {(n: number) => Promise<number | null>} */ count) => {
      const [short, long] = [await count(few), await count(4 * few)];
      if (short === null || long === null) return null;
      return Number((Math.max(0, long - short) / (3 * few)).toPrecision(3));
    };
    const metered = (/** @type {'blocks' | 'copied'} */ what) =>
      perMessage(async (n) => {
        const before = meter?.read()[what] ?? 0;
        await pair.run(n);
        return meter === null ? null : meter.read()[what] - before;
      });
    // What is compiled and grown by then is not counted.
    await pair.run(4 * few);
    const mallocs = await metered('blocks');
    const copied = await metered('copied');
    const calls = (/** @type {number} */ n) => countCalls(pair.pids(), folder, () => pair.run(n));
    const syscalls = await perMessage(calls);
    const allocs = await perMessage((n) => pair.countObjects(n));
    const copies = copied === null ? null : Number((copied / spec.size).toPrecision(3));
    return { allocs, mallocs, copies, syscalls };
  } finally {
    await pair.abandon();
  }
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 * @returns {number}
 */
function clamp(value, low, high) {
  return Math.round(Math.min(high, Math.max(low, value)));
}

/** Of the short jobs: as many bytes, and at most as many messages. */
const BYTES = 4 << 20;
const MESSAGES = { latency: 250, throughput: 20_000, handover: 50 };
