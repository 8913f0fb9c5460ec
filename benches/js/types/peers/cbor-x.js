// @ts-check
/**
 * cbor-x with shared structures: keys that both sides know and no message repeats. Integers beyond
 * 32 bits go as float64, its default and fastest.
 */
import { Encoder, REUSE_BUFFER_MODE } from 'cbor-x';

import { NUMBERS } from '../payloads.js';

/** @type {import('../codec.js').Setup} */
export function setup() {
  const encoder = new Encoder({ structures: [] });
  return {
    forms: NUMBERS,
    encode: (value) => encoder.encode(value),
    encodeInto: (value) => {
      const { start, end } = encoder.encode(value, REUSE_BUFFER_MODE);
      return end - start;
    },
    decode: (message) => encoder.decode(message),
  };
}
