// @ts-check
/**
 * cbor-x with shared structures: keys that both sides know and no message repeats. Integers beyond
 * 32 bits go as float64, its default and fastest.
 */
import * as cbor from 'cbor-x';

import { NUMBERS } from '../payloads.js';

// Its typings leave out the reuse of buffers.
const { Encoder, REUSE_BUFFER_MODE } = /** @type {any} */ (cbor);

/** @type {import('../codec.js').Setup} */
export function setup() {
  const encoder = new Encoder({ structures: [] });
  /** The buffer with where in it the message is. @type {any} */
  let last;
  return {
    forms: NUMBERS,
    encode: (value) => encoder.encode(value),
    encodeInto: (value) => {
      last = encoder.encode(value, REUSE_BUFFER_MODE);
      return last.end - last.start;
    },
    written: () => last.subarray(last.start, last.end),
    decode: (message) => encoder.decode(message),
  };
}
