// @ts-check
/**
 * The command line of main.js.
 */

import { parseArgs } from 'node:util';

/** @typedef {'park' | 'balanced' | 'low-latency' | 'busy'} WaitMode */

/**
 * @typedef {{
 *   readonly rows: number, readonly wait: WaitMode, readonly pings: number,
 *   readonly timeoutSeconds: number, readonly json: boolean, readonly tamper: boolean,
 *   readonly help: boolean,
 * }} Options
 */

export const USAGE = `usage: node main.js [options]

  --rows N       replay the first N flights only (default: all 3,000,000)
  --wait MODE    how both ends wait: park, balanced, low-latency or busy (default: balanced)
  --pings N      round trips of the latency measurement (default: 20000)
  --timeout S    give up after S seconds (default: 120)
  --json         print the result as JSON instead of tables
  --tamper       falsify one flight on its way, to see that the check fails
  --help         print this text
`;

/** The command line is wrong. */
export class UsageError extends Error {}

/**
 * @param {string[]} args
 * @returns {Options}
 */
export function parseOptions(args) {
  const values = parse(args);
  if (!WAIT_MODES.includes(values.wait)) {
    throw new UsageError(`--wait ${values.wait}: use one of ${WAIT_MODES.join(', ')}`);
  }
  return {
    rows: positiveInteger('--rows', values.rows),
    wait: /** @type {WaitMode} */ (values.wait),
    pings: positiveInteger('--pings', values.pings),
    timeoutSeconds: positiveInteger('--timeout', values.timeout),
    json: values.json,
    tamper: values.tamper,
    help: values.help,
  };
}

/** @param {string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args,
      options: {
        rows: { type: 'string', default: '3000000' },
        wait: { type: 'string', default: 'balanced' },
        pings: { type: 'string', default: '20000' },
        timeout: { type: 'string', default: '120' },
        json: { type: 'boolean', default: false },
        tamper: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/**
 * @param {string} name
 * @param {string} text
 */
function positiveInteger(name, text) {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= INTEGER_MAX) return value;
  throw new UsageError(`${name} ${text}: use a whole number from 1 to ${INTEGER_MAX}`);
}

/** Above every row of the file. */
const INTEGER_MAX = 1_000_000_000;
const WAIT_MODES = ['park', 'balanced', 'low-latency', 'busy'];
