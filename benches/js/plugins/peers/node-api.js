// @ts-check
/** An addon written by hand in C. */
import { createRequire } from 'node:module';

/** @param {import('../caller.js').Setup} setup */
export function open({ built }) {
  const { nothing, distance, invert } = createRequire(import.meta.url)(built.addon);
  return {
    none: nothing,
    numbers: distance,
    '64B': (/** @type {Buffer} */ bytes, /** @type {Buffer} */ out) => {
      invert(bytes, out);
      return out;
    },
  };
}
