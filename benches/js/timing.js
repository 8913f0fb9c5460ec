// @ts-check
/** What result lines say of the times that rounds took. */
import { describeMachine } from './machine.js';
import { median } from './stats.js';

/**
 * @typedef {object} Round
 * @property {number} ns nanoseconds an operation
 * @property {number} n operations
 */

/**
 * The medians over the rounds of something that handles `size` bytes at a time.
 *
 * @param {readonly Round[]} rounds
 * @param {number} size
 */
export function timingOf(rounds, size) {
  const times = rounds.map(({ ns }) => ns);
  const ns = median(times);
  return {
    size,
    n: Math.round(median(rounds.map(({ n }) => n))),
    rounds: rounds.length,
    nsPerOp: precise(ns),
    msgPerSec: Math.round(1e9 / ns),
    bytesPerSec: Math.round((1e9 / ns) * size),
    spread: [precise(Math.min(...times)), precise(Math.max(...times))],
    byRound: times.map(precise),
    ...describeMachine(),
    date: new Date().toISOString(),
  };
}

/**
 * @param {number} ns
 * @returns {number} with as many digits as mean anything
 */
export function precise(ns) {
  return Number(ns.toPrecision(4));
}
