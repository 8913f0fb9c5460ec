// @ts-check
/** A WebAssembly module, written byte by byte below, which copies what it works on in and out. */

/* (module
 *   (memory (export "memory") 1)
 *   (func (export "nothing"))
 *   (func (export "distance") (param $x f64) (param $y f64) (result f64)
 *     (f64.sqrt (f64.add (f64.mul (local.get $x) (local.get $x))
 *                        (f64.mul (local.get $y) (local.get $y)))))
 *   (func (export "invert") (param $in i32) (param $out i32) (param $length i32) (local $end i32)
 *     (local.set $end (i32.add (local.get $in) (local.get $length)))
 *     (loop
 *       (i64.store (local.get $out) (i64.xor (i64.load (local.get $in)) (i64.const -1)))
 *       (local.set $out (i32.add (local.get $out) (i32.const 8)))
 *       (br_if 0 (i32.lt_u
 *         (local.tee $in (i32.add (local.get $in) (i32.const 8))) (local.get $end))))))
 */
const F64 = 0x7c;
const I32 = 0x7f;
const GET = 0x20;
const SET = 0x21;
const TEE = 0x22;
const END = 0x0b;
const ADD = 0x6a;

// prettier-ignore
const distance = [
  0, // no locals
  GET, 0, GET, 0, 0xa2, GET, 1, GET, 1, 0xa2, 0xa0, 0x9f, // x * x + y * y, its square root
  END,
];
// prettier-ignore
const invert = [
  1, 1, I32, // one local: end
  GET, 0, GET, 2, ADD, SET, 3,
  0x03, 0x40, // loop
  GET, 1, GET, 0, 0x29, 3, 0, 0x42, 0x7f, 0x85, 0x37, 3, 0, // *out = *in ^ -1, of 64 bits
  GET, 1, 0x41, 8, ADD, SET, 1,
  GET, 0, 0x41, 8, ADD, TEE, 0, GET, 3, 0x49, 0x0d, 0, // again, while in < end
  END,
  END,
];

const TYPES = [
  [0x60, 0, 0],
  [0x60, 2, F64, F64, 1, F64],
  [0x60, 3, I32, I32, I32, 0],
];
const EXPORTS = [
  [...text('memory'), 2, 0],
  [...text('nothing'), 0, 0],
  [...text('distance'), 0, 1],
  [...text('invert'), 0, 2],
];
const BODIES = [[0, END], distance, invert].map((body) => [body.length, ...body]);

const MODULE = Uint8Array.from(
  [
    [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    section(1, TYPES),
    section(3, [[0], [1], [2]]), // functions of these types
    section(5, [[0, 1]]), // a page of memory
    section(7, EXPORTS),
    section(10, BODIES),
  ].flat(),
);

/** Every length is below 128, so it takes a byte. */
function section(/** @type {number} */ id, /** @type {number[][]} */ items) {
  const bytes = [items.length, ...items.flat()];
  return [id, bytes.length, ...bytes];
}

function text(/** @type {string} */ name) {
  return [name.length, ...Buffer.from(name)];
}

export function open() {
  // The types of Node do not have it.
  const { Instance, Module } = /** @type {any} */ (globalThis).WebAssembly;
  const { exports } = new Instance(new Module(MODULE));
  const call = /** @type {Record<string, any>} */ (exports);
  const memory = new Uint8Array(call['memory'].buffer);
  const results = memory.subarray(64, 128);
  const run = call['invert'];
  return {
    none: call['nothing'],
    numbers: call['distance'],
    '64B': (/** @type {Buffer} */ bytes, /** @type {Buffer} */ out) => {
      memory.set(bytes, 0);
      run(0, 64, bytes.length);
      out.set(results);
      return out;
    },
  };
}
