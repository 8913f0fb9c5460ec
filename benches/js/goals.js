// @ts-check
/**
 * What busbar promises about its speed, as data, and the verdict of a run on each promise. Every
 * limit is a figure of the project's 2-core build machine or a ratio to a peer of the same run;
 * only the ratios carry over to other machines.
 */
import { HANDOVER_SIZES, sizeName } from './cases.js';
import { COUNT_GOALS } from './counting/goals.js';
import { CALL_GOALS } from './plugins/goals.js';
import { median } from './stats.js';
import { TYPED_GOALS } from './types/goals.js';

/**
 * @typedef {import('./runner.js').Result | import('./types/runner.js').TypedResult |
 *   import('./plugins/runner.js').CallResult} Result
 */
/**
 * @typedef {'p50Ns' | 'p99Ns' | 'nsPerOp' | 'msgPerSec' | 'bytesPerSec' | 'allocsPerMsg' |
 *   'copiesPerMsg' | 'syscallsPerMsg'} Metric
 */

/**
 * @typedef {object} Goal
 * @property {string} text
 * @property {readonly string[]} cases more than one: the figure is the worst of them
 * @property {string} contender
 * @property {Metric} metric
 * @property {number} [atMost] absolute limits, in the unit of the metric
 * @property {number} [atLeast]
 * @property {string} [peer] the contender that a ratio is taken against
 * @property {number} [timesBetter] the least ratio; 1 = no worse than the peer
 * @property {number} [flatWithin] the greatest ratio between the worst and the best of `cases`
 */

/**
 * @typedef {object} Verdict
 * @property {Goal} goal
 * @property {number} measured in the unit of the metric, or a ratio
 * @property {boolean} met
 * @property {{ peer: string, ratio: number }[]} ratios to every peer of the same case
 */

const ZEROMQ = 'zeromq.js ipc';
const UDS = 'node:net uds';
const BATCHED = 'node:net uds batched';

/** @type {readonly Goal[]} */
export const GOALS = [
  ...roundTrip('shm low-latency', 'awaited receive'),
  ...roundTrip('shm low-latency cursor', 'consume callback'),
  ...['shm park', 'shm park cursor'].map((name) => ({
    text: `round trip 64 B, parked, one core: ${name}`,
    cases: ['latency/64B/one-core'],
    contender: `busbar ${name}`,
    metric: /** @type {const} */ ('p50Ns'),
    atMost: 7_000,
  })),
  ...oneWay('owned', 12e6),
  ...oneWay('borrowed', 16e6),
  ...oneWay('cursor', 20e6),
  ...sending('send', 5e6),
  ...sending('trySend', 5e6),
  ...sending('sendBatch', 20e6),
  {
    text: '1 MiB one way, borrowed, copying producer',
    cases: ['throughput/1MiB/processes'],
    contender: 'busbar shm borrowed',
    metric: 'bytesPerSec',
    atLeast: 8e9,
  },
  {
    text: '1 MiB one way, borrowed, against node:net',
    cases: ['throughput/1MiB/processes'],
    contender: 'busbar shm borrowed',
    metric: 'bytesPerSec',
    peer: UDS,
    timesBetter: 1,
  },
  {
    text: 'loaned hand-over, 4 KiB to 16 MiB: slowest size',
    cases: HANDOVER_SIZES.map((size) => `handover/${sizeName(size)}/two-cores`),
    contender: 'busbar shm loan',
    metric: 'p50Ns',
    atMost: 5_000,
  },
  {
    text: 'loaned hand-over flat from 4 KiB to 16 MiB: slowest to fastest size',
    cases: HANDOVER_SIZES.map((size) => `handover/${sizeName(size)}/two-cores`),
    contender: 'busbar shm loan',
    metric: 'p50Ns',
    flatWithin: 2,
  },
  ...['inproc owned', 'inproc cursor'].map((name) => ({
    text: `one way 64 B on one thread: ${name}`,
    cases: ['throughput/64B/one-thread'],
    contender: `busbar ${name}`,
    metric: /** @type {const} */ ('msgPerSec'),
    atLeast: 5e6,
  })),
  ...COUNT_GOALS,
  ...TYPED_GOALS,
  ...CALL_GOALS,
];

/**
 * Judges the goals that a run has figures for.
 *
 * @param {readonly Result[]} results
 * @param {readonly Goal[]} [goals]
 * @returns {Verdict[]}
 */
export function judge(results, goals = GOALS) {
  /** @type {Verdict[]} */
  const verdicts = [];
  for (const goal of goals) {
    const own = goal.cases.map((id) => find(results, id, goal.contender));
    const values = own.map((result) => figureOf(result, goal.metric));
    const measured = measure(goal, /** @type {number[]} */ (values), results);
    if (values.some((value) => value === null || value === undefined)) continue;
    if (measured === null) continue;
    verdicts.push({ goal, measured, met: isMet(goal, measured), ratios: ratios(own[0], results) });
  }
  return verdicts;
}

/**
 * How many times better `own` did than `peer`, by the headline of their kind of case: the median of
 * the rounds, each of which compares what ran within seconds, as the machine's speed changes.
 *
 * @param {Result} own
 * @param {Result} peer
 * @returns {number}
 */
export function timesBetter(own, peer) {
  const isRate = own.kind === 'throughput';
  return median(
    own.byRound.map((figure, round) => {
      const other = peer.byRound[round] ?? NaN;
      return isRate ? figure / other : other / figure;
    }),
  );
}

/**
 * The ratios of a result to the peers of its case.
 *
 * @param {Result | undefined} own
 * @param {readonly Result[]} results
 * @returns {{ peer: string, ratio: number }[]}
 */
export function ratios(own, results) {
  if (own === undefined) return [];
  return results
    .filter((result) => result.case === own.case && result.peer !== null)
    .map((peer) => ({ peer: peer.contender, ratio: timesBetter(own, peer) }));
}

/**
 * @param {Goal} goal
 * @param {number[]} values one for each case, of the goal's contender
 * @param {readonly Result[]} results
 * @returns {number | null} null when the peer did not run
 */
function measure(goal, values, results) {
  if (goal.flatWithin !== undefined) return Math.max(...values) / Math.min(...values);
  const worst = isCost(goal.metric) ? Math.max(...values) : Math.min(...values);
  if (goal.peer === undefined) return worst;
  const own = find(results, goal.cases[0] ?? '', goal.contender);
  const peer = find(results, goal.cases[0] ?? '', goal.peer);
  return own === undefined || peer === undefined ? null : timesBetter(own, peer);
}

/**
 * @param {Goal} goal
 * @param {number} measured
 * @returns {boolean}
 */
function isMet(goal, measured) {
  const most = goal.atMost ?? goal.flatWithin ?? Infinity;
  const least = goal.atLeast ?? goal.timesBetter ?? 0;
  return measured <= most && measured >= least;
}

/**
 * @param {readonly Result[]} results
 * @param {string} id
 * @param {string} contender
 * @returns {Result | undefined}
 */
function find(results, id, contender) {
  return results.find((result) => result.case === id && result.contender === contender);
}

/**
 * @param {Result | undefined} result
 * @param {Metric} metric
 * @returns {number | null | undefined}
 */
function figureOf(result, metric) {
  return /** @type {Partial<Record<Metric, number | null>> | undefined} */ (result)?.[metric];
}

/**
 * @param {Metric} metric
 * @returns {boolean} whether less is better
 */
function isCost(metric) {
  return !metric.endsWith('PerSec');
}

/**
 * @param {string} name
 * @param {string} form
 * @returns {Goal[]}
 */
function roundTrip(name, form) {
  const what = `round trip 64 B, low-latency, two cores, ${form}`;
  const quiet = ['latency/64B/two-cores'];
  const own = { contender: `busbar ${name}`, metric: /** @type {const} */ ('p50Ns') };
  return [
    { ...own, text: `${what}: p50`, cases: quiet, atMost: 2_000 },
    {
      ...own,
      text: `${what}: p99 with the loop serving other work`,
      cases: ['latency/64B/two-cores-loaded'],
      metric: 'p99Ns',
      atMost: 5_000,
    },
    { ...own, text: `${what}: against node:net`, cases: quiet, peer: UDS, timesBetter: 25 },
    { ...own, text: `${what}: against zeromq.js`, cases: quiet, peer: ZEROMQ, timesBetter: 25 },
  ];
}

/**
 * @param {string} grade
 * @param {number} atLeast
 * @returns {Goal[]}
 */
function oneWay(grade, atLeast) {
  const what = `one way 64 B, ${grade}`;
  const own = {
    cases: ['throughput/64B/processes'],
    contender: `busbar shm ${grade}`,
    metric: /** @type {const} */ ('msgPerSec'),
  };
  return [
    { ...own, text: what, atLeast },
    { ...own, text: `${what}: against zeromq.js`, peer: ZEROMQ, timesBetter: 20 },
    { ...own, text: `${what}: against node:net batched by hand`, peer: BATCHED, timesBetter: 1 },
  ];
}

/**
 * @param {string} form
 * @param {number} atLeast
 * @returns {Goal[]}
 */
function sending(form, atLeast) {
  return [
    {
      text: `sending 64 B with ${form}`,
      cases: ['send/64B/processes'],
      contender: `busbar shm ${form}`,
      metric: 'msgPerSec',
      atLeast,
    },
  ];
}
