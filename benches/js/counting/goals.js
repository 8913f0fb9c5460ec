// @ts-check
/**
 * What busbar promises about what a message costs besides time. Counts hardly depend on the
 * machine, so that a test (`__test__/bench-lines.spec.ts`) demands all of them.
 */

/** @typedef {import('../goals.js').Goal} Goal */

const SHM = 'throughput/64B/processes';
const TCP = 'network/throughput/64B';

/** @type {readonly Goal[]} */
export const COUNT_GOALS = [
  atMost(
    'one way 64 B, shm, read in place: system calls',
    SHM,
    'shm cursor',
    'syscallsPerMsg',
    0.1,
  ),
  atMost('the same: allocations of the core', SHM, 'shm cursor', 'allocsPerMsg', 0.001),
  // Into staging memory, into the ring, out of it; each with the record's header.
  atMost('the same: copies', SHM, 'shm cursor', 'copiesPerMsg', 3.5),
  atMost('one way 64 B, tcp: system calls', TCP, 'tcp owned', 'syscallsPerMsg', 0.1),
  atMost('the same: allocations of the core', TCP, 'tcp owned', 'allocsPerMsg', 0.01),
  atMost('the same: copies', TCP, 'tcp owned', 'copiesPerMsg', 3.5),
  ...['shm park', 'shm park cursor'].map((name) =>
    atMost(
      `round trip 64 B, ${name}: allocations of the core`,
      'latency/64B/one-core',
      name,
      'allocsPerMsg',
      0.001,
    ),
  ),
  atMost(
    'loaned hand-over of 64 KiB: copies',
    'handover/64KiB/two-cores',
    'shm loan',
    'copiesPerMsg',
    0.01,
  ),
];

/**
 * @param {string} text
 * @param {string} id of the case
 * @param {string} contender
 * @param {'allocsPerMsg' | 'copiesPerMsg' | 'syscallsPerMsg'} metric
 * @param {number} limit
 * @returns {Goal}
 */
function atMost(text, id, contender, metric, limit) {
  return { text, cases: [id], contender: `busbar ${contender}`, metric, atMost: limit };
}
