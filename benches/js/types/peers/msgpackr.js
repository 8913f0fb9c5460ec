// @ts-check
/**
 * msgpackr: plain MessagePack, or with `shared` structures, its records, whose keys both sides
 * know and no message repeats. Integers beyond 32 bits go as float64, its default and fastest.
 */
import { Packr, RESET_BUFFER_MODE, REUSE_BUFFER_MODE } from 'msgpackr';

import { NUMBERS } from '../payloads.js';

/** @type {import('../codec.js').Setup} */
export function setup(_payload, { shared = false }) {
  const packr = new Packr(shared ? { structures: [] } : { useRecords: false });
  return {
    forms: NUMBERS,
    encode: (value) => packr.pack(value),
    encodeInto: (value) => {
      const mode = REUSE_BUFFER_MODE | RESET_BUFFER_MODE;
      const { start, end } = /** @type {any} */ (packr.pack(value, mode));
      return end - start;
    },
    decode: (message) => packr.unpack(message),
  };
}
