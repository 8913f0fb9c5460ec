// @ts-check
/**
 * What busbar promises about calls of plugins, as ratios to peers of the same run.
 */

/** @typedef {import('../goals.js').Goal} Goal */

/** @type {readonly Goal[]} */
export const CALL_GOALS = [
  against('inline call without arguments', 'sync/none', 'busbar inline', 'koffi', 1 / 0.85),
  against('inline call, 64 B in and out', 'sync/64B', 'busbar inline bound', 'koffi', 1 / 0.7),
  against('inline call, 64 B in the arena', 'sync/64B', 'busbar inline arena', 'koffi', 1 / 0.45),
  against('dedicated zone, 64 B', 'async/64B', 'busbar dedicated', 'koffi async', 1),
  against('dedicated zone, 64 B', 'async/64B', 'busbar dedicated', 'postMessage', 1),
  {
    text: 'dedicated zone, 64 B, 100 calls under way',
    cases: ['plugins/async100/64B'],
    contender: 'busbar dedicated',
    metric: 'nsPerOp',
    atMost: 3_000,
  },
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
