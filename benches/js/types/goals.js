// @ts-check
/**
 * What busbar promises about typed messages, all of it as ratios to peers of the same run.
 */

/** @typedef {import('../goals.js').Goal} Goal */

/** @type {Record<string, string>} */
const OPERATIONS = {
  'encode-into': 'encode into a buffer',
  decode: 'decode',
  read: 'read 2 fields',
};

/**
 * As its documentation has it: a ByteBuffer for each message. The report also says how it does with
 * one that is moved by hand over all messages, which its cursors do not offer.
 */
const FLATBUFFERS = 'flatbuffers own buffers';

/** @type {readonly Goal[]} */
export const TYPED_GOALS = [
  goal('position/encode-into/mixed', 'bebop', 7),
  goal('position/decode/mixed', 'msgpackr shared', 4),
  goal('position/decode/standalone', 'msgpackr shared', 1.2),
  goal('position/read/mixed', FLATBUFFERS, 10),
  goal('position/read/standalone', FLATBUFFERS, 4),
  goal('order/encode-into/mixed', 'avsc', 1),
  goal('order/encode-into/mixed', 'msgpackr shared', 2),
  goal('order/decode/mixed', 'msgpackr shared', 1.7),
  goal('order/read/mixed', FLATBUFFERS, 8),
  goal('order/read/standalone', FLATBUFFERS, 6),
  goal('snapshot/read/mixed', 'flatbuffers', 6),
  goal('snapshot/read/mixed', 'msgpackr shared', 30),
  ...['position', 'order'].flatMap((payload) =>
    ['mixed', 'standalone'].map((mode) => ({
      ...goal(`${payload}/read/${mode}`, 'busbar', 1 / 1.1),
      text: `typed ${payload}, reading through a schema resolution, against exact: ${mode}`,
      contender: 'busbar resolved',
    })),
  ),
];

/**
 * @param {string} name `payload/operation/mode`
 * @param {string} peer
 * @param {number} timesBetter
 * @returns {Goal}
 */
function goal(name, peer, timesBetter) {
  const [payload = '', operation = '', mode] = name.split('/');
  const what = payload === 'snapshot' ? 'scan of 1,000 entities' : OPERATIONS[operation];
  return {
    text: `typed ${payload}, ${what}, against ${peer}: ${mode}`,
    cases: [`types/${name}`],
    contender: 'busbar',
    metric: 'nsPerOp',
    peer,
    timesBetter,
  };
}
