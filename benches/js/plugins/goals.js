// @ts-check
/**
 * What busbar promises about calls of plugins: ratios to peers of the same run, and times.
 */

import { ALONE, BURNED } from './cases.js';

/** @typedef {import('../goals.js').Goal} Goal */

/** @type {readonly Goal[]} */
export const CALL_GOALS = [
  against('inline call without arguments', 'sync/none', 'busbar inline', 'koffi', 1 / 0.85),
  against('inline call, 64 B in and out', 'sync/64B', 'busbar inline bound', 'koffi', 1 / 0.7),
  against('inline call, 64 B in the arena', 'sync/64B', 'busbar inline arena', 'koffi', 1 / 0.45),
  against('dedicated zone, 64 B', 'async/64B', 'busbar dedicated', 'koffi async', 1),
  against('dedicated zone, 64 B', 'async/64B', 'busbar dedicated', 'postMessage', 1),
  within('dedicated zone, awaited call without arguments', 'async/none', 'busbar dedicated', 3e3),
  within('dedicated zone, 64 B, 100 calls under way', 'async100/64B', 'busbar dedicated', 3e3),
  within('process, waiting awake, without arguments', 'sync/none', 'busbar process', 800),
  against('process, awaited, 64 B', 'async/64B', 'busbar process', 'postMessage', 1),
  against('process, 64 B, 100 under way', 'async100/64B', 'busbar process', 'postMessage', 1),
  // 1.2 times its time at most.
  against('dedicated zone beside one that burns a core', 'beside/none', BURNED, ALONE, 1 / 1.2),
  within('crash of a process to the next answer', 'crash/none', 'busbar process', 3e6),
  against('the same', 'crash/none', 'busbar process', 'fork of Node', 1),
];

/**
 * @param {string} text
 * @param {string} name `manner/payload`
 * @param {string} contender
 * @param {string} peer
 * @param {number} timesBetter
 * @returns {Goal}
 */
function against(text, name, contender, peer, timesBetter) {
  return {
    text: `${text}: against ${peer}`,
    cases: [`plugins/${name}`],
    contender,
    metric: 'nsPerOp',
    peer,
    timesBetter,
  };
}

/**
 * @param {string} text
 * @param {string} name `manner/payload`
 * @param {string} contender
 * @param {number} atMost nanoseconds
 * @returns {Goal}
 */
function within(text, name, contender, atMost) {
  return { text, cases: [`plugins/${name}`], contender, metric: 'nsPerOp', atMost };
}
