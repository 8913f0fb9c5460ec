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
  /** The buffer with where in it the message is. @type {any} */
  let last;
  return {
    forms: NUMBERS,
    encode: (value) => packr.pack(value),
    encodeInto: (value) => {
      last = packr.pack(value, REUSE_BUFFER_MODE | RESET_BUFFER_MODE);
      return last.end - last.start;
    },
    written: () => last.subarray(last.start, last.end),
    decode: (message) => packr.unpack(message),
  };
}
