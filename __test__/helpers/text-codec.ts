/** The least of a codec: values are texts, as UTF-8. */

import type { Codec } from '../../index.js';

/** A codec of texts that calls its type so. */
export function textCodec(name: string): Codec<string> {
  return {
    name,
    hash: 1n,
    descriptor: '{}',
    encode: (text) => Buffer.from(text),
    encodeInto: (text, target, offset) => Buffer.from(target.buffer).write(text, offset),
    decode: (bytes) => String(Buffer.from(bytes)),
  };
}
