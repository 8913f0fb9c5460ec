// @ts-check
/**
 * The table of plugin cases: what is called, how, and who calls it. Each contender has a process of
 * its own in each round, which serves all its cases.
 */

/** @typedef {'none' | 'numbers' | '64B'} Payload no arguments, two numbers, or bytes both ways */
/**
 * One at a time, awaited, 100 under way, awaited while other native code may burn a core, or once
 * after the process was killed.
 *
 * @typedef {'sync' | 'async' | 'async100' | 'beside' | 'crash'} Manner
 */

/**
 * @typedef {object} Contender
 * @property {string} name unique within a case
 * @property {string} module in peers/
 * @property {string | null} peer the library busbar is measured against; null = busbar itself
 * @property {string} form which of the module's ways to call
 * @property {readonly Payload[]} payloads
 */

/**
 * @typedef {object} CallCase
 * @property {string} id `plugins/manner/payload`
 * @property {'call'} kind
 * @property {Manner} manner
 * @property {Payload} payload
 * @property {readonly Contender[]} contenders
 */

/** A zone with a thread of its own, beside one that is idle, and one that burns a core. */
export const ALONE = 'busbar dedicated, alone';
export const BURNED = 'busbar dedicated, burned';

/** @type {readonly Payload[]} */
const PAYLOADS = ['none', 'numbers', '64B'];

/** @type {Record<Manner, readonly Contender[]>} */
const CALLERS = {
  sync: [
    caller('busbar inline', 'busbar', 'inline'),
    caller('busbar inline bound', 'busbar', 'bound', ['none', '64B']),
    caller('busbar inline arena', 'busbar', 'arena', ['64B']),
    caller('busbar process', 'busbar', 'process-sync', ['none', '64B']),
    caller('koffi', 'koffi', 'sync'),
    caller('node-api addon', 'node-api', 'sync'),
    caller('wasm', 'wasm', 'sync'),
  ],
  async: asynchronous(),
  async100: asynchronous(),
  beside: [
    caller(ALONE, 'busbar', 'alone', ['none']),
    caller(BURNED, 'busbar', 'burned', ['none']),
  ],
  crash: [
    caller('busbar process', 'busbar', 'crash', ['none']),
    caller('spawn of a C program', 'spawn', 'program', ['none']),
    caller('fork of Node', 'spawn', 'node', ['none']),
  ],
};

/** @type {readonly CallCase[]} */
export const CALL_CASES = /** @type {Manner[]} */ (Object.keys(CALLERS)).flatMap((manner) =>
  PAYLOADS.map((payload) => ({
    id: `plugins/${manner}/${payload}`,
    kind: /** @type {const} */ ('call'),
    manner,
    payload,
    contenders: CALLERS[manner].filter(({ payloads }) => payloads.includes(payload)),
  })).filter(({ contenders }) => contenders.length > 0),
);

/** @returns {Contender[]} */
function asynchronous() {
  return [
    caller('busbar shared', 'busbar', 'shared'),
    caller('busbar dedicated', 'busbar', 'dedicated'),
    caller('busbar process', 'busbar', 'process'),
    caller('koffi async', 'koffi', 'async'),
    caller('postMessage', 'worker', 'async'),
  ];
}

/**
 * @param {string} name
 * @param {string} module
 * @param {string} form
 * @param {readonly Payload[]} [payloads]
 * @returns {Contender}
 */
function caller(name, module, form, payloads = PAYLOADS) {
  return { name, module, peer: module === 'busbar' ? null : name, form, payloads };
}
