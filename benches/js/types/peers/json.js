// @ts-check
/**
 * JSON in UTF-8, as far as it goes: bytes are base64.
 */
import { NUMBERS } from '../payloads.js';

/** @type {import('../codec.js').Setup} */
export function setup(payload) {
  if (payload === 'blob') return blob();
  return {
    forms: NUMBERS,
    encode: (value) => Buffer.from(JSON.stringify(value)),
    encodeInto: (value, target) => target.write(JSON.stringify(value)),
    decode: (message) => JSON.parse(message.toString()),
  };
}

/** @returns {import('../codec.js').Codec} */
function blob() {
  const textOf = (/** @type {any} */ { header, bytes }) => {
    const { buffer, byteOffset, length } = bytes;
    return JSON.stringify({
      header,
      bytes: Buffer.from(buffer, byteOffset, length).toString('base64'),
    });
  };
  return {
    forms: NUMBERS,
    encode: (value) => Buffer.from(textOf(value)),
    encodeInto: (value, target) => target.write(textOf(value)),
    decode: (message) => {
      const { header, bytes } = JSON.parse(message.toString());
      return { header, bytes: Buffer.from(bytes, 'base64') };
    },
  };
}
