// @ts-check
/** What all the plugins can do, in JavaScript: their results must be equal. */

/** @typedef {{ x: number, y: number }} Point */

/**
 * @typedef {object} Geometry as `zone.interface()` has it; in threads, with promises
 * @property {(point: Point) => number} length
 * @property {(a: Point, b: Point, share: number) => Point} mix
 * @property {(bytes: Uint8Array) => Uint8Array} checksum of which there are 4 bytes
 */

/** @type {Geometry} */
export const inJavaScript = {
  length: ({ x, y }) => Math.hypot(x, y),
  mix: (a, b, share) => ({ x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share }),
  checksum: (bytes) => {
    const sum = bytes.reduce((sofar, byte) => Math.imul(sofar ^ byte, 0x01000193), 0x811c9dc5);
    const result = Buffer.alloc(4);
    result.writeInt32LE(sum);
    return result;
  },
};
