// @ts-check
/** The plain C library through koffi, on this thread or on its thread pool. */
import { promisify } from 'node:util';

import koffi from 'koffi';

/** @param {import('../caller.js').Setup} setup */
export function open({ built, form }) {
  const library = koffi.load(built.library);
  const nothing = library.func('void nothing()');
  const distance = library.func('double distance(double x, double y)');
  const invert = library.func('void invert(const uint8_t *in, _Out_ uint8_t *out, size_t length)');
  if (form === 'sync') {
    const flat = library.func('void invert(const uint8_t *in, uint8_t *out, size_t length)');
    return {
      none: nothing,
      numbers: distance,
      '64B': (/** @type {Buffer} */ bytes, /** @type {Buffer} */ out) => {
        flat(bytes, out, bytes.length);
        return out;
      },
    };
  }
  const [none, numbers] = [promisify(nothing.async), promisify(distance.async)];
  const run = promisify(invert.async);
  return {
    none,
    numbers,
    '64B': async (/** @type {Buffer} */ bytes) => {
      const out = Buffer.allocUnsafe(bytes.length);
      await run(bytes, out, bytes.length);
      return out;
    },
  };
}
