// @ts-check
/**
 * What a codec under test is, and how it is tried and timed. Every loop and reader has code of its
 * own (`fresh`), as each place in an application has: one that all codecs went through would be
 * slow for all, and would hide what they cost.
 */
import { deepStrictEqual } from 'node:assert';

import { median } from '../stats.js';
import { plain, PAYLOADS, valuesOf } from './payloads.js';

/**
 * @typedef {object} Codec one library set up for one payload
 * @property {import('./payloads.js').Forms} forms the values that it is fastest with
 * @property {((value: any) => any) | undefined} [wrap] makes what the library
 *   encodes of such a value
 * @property {(value: any) => Uint8Array} encode into memory that stays the message's
 * @property {(value: any, target: Buffer) => number} [encodeInto] into `target`, which is used
 *   again; gives the size
 * @property {() => Uint8Array} [written] what `encodeInto` wrote last, for a library that can only
 *   write into memory of its own: it is copied into `target`, where the caller wants it
 * @property {((message: Buffer) => any) | undefined} [decode]
 * @property {(wanted: any) => Read} [read] makes what reads the fields that `pick` does, in place;
 *   without it they are picked from what `decode` gives
 * @property {'batch' | 'own'} [place] where `read` finds a message: at its offset in the memory of
 *   a batch, or (the default) in a Buffer of its own, as `decode` does
 */

/** @typedef {(bytes: Uint8Array, offset: number, size: number) => number} Read of one message */

/**
 * @typedef {object} Options what the contenders of one library differ in
 * @property {'batch' | 'own'} [place]
 * @property {boolean} [intern] Busbar: shares short strings
 * @property {boolean} [resolves] Busbar: messages are of an older version of the type
 * @property {boolean} [shared] msgpackr: with shared structures
 */

/** @typedef {(payload: string, options: Options) => Codec} Setup */
/** @typedef {'encode' | 'encode-into' | 'decode' | 'read'} Operation */

/**
 * @typedef {object} Subject a codec with what it works on
 * @property {number} size bytes of a message, on average
 * @property {Record<string, (n: number) => unknown>} loops does an operation `n` times, by name
 */

/** @typedef {{ ns: number, n: number }} Timing of one operation */

/**
 * Sets a codec up, holds everything that it does to what it should give, and makes its loops.
 *
 * @param {Setup} setup
 * @param {string} name of the payload
 * @param {Options} options
 * @returns {Subject}
 */
export function prepare(setup, name, options) {
  const payload = /** @type {import('./payloads.js').Payload} */ (PAYLOADS[name]);
  const codec = setup(name, options);
  const values = valuesOf(payload, codec.forms);
  const wrapped = codec.wrap === undefined ? values : values.map(codec.wrap);
  const target = Buffer.alloc(payload.bytesMax);
  const { batch, messages } = layOut(wrapped.map((value) => codec.encode(value)));
  const read = codec.read?.(values[0]) ?? pickDecoded(payload, codec, values[0]);
  const { bytes, offsets } = placed(codec.place, batch, messages);
  const sizes = messages.map(({ length }) => length);

  const pick = payload.pick(values[0]);
  for (const [index, value] of values.entries()) {
    const message = /** @type {Buffer} */ (messages[index]);
    const [from, at] = [/** @type {Buffer} */ (bytes[index]), offsets[index] ?? 0];
    const decoded = codec.decode === undefined ? value : codec.decode(message);
    deepStrictEqual(plain(decoded, value), plain(value, value), 'decode');
    deepStrictEqual(read(from, at, message.length), pick(value), 'read');
    if (codec.encodeInto === undefined) continue;
    const size = into(codec)(wrapped[index], target);
    deepStrictEqual(target.subarray(0, size), Buffer.from(message), 'encodeInto');
    deepStrictEqual(size, message.length, 'size of encodeInto');
  }

  const { encode, decode } = codec;
  const encodeInto = codec.encodeInto && into(codec);
  const mask = values.length - 1;
  const loops = {
    encode: fresh(LOOPS.encode)(encode, wrapped, mask),
    ...(encodeInto && { 'encode-into': fresh(LOOPS.into)(encodeInto, wrapped, mask, target) }),
    ...(decode && { decode: fresh(LOOPS.decode)(decode, messages, mask) }),
    read: fresh(LOOPS.read)(read, bytes, offsets, sizes, mask),
  };
  const total = sizes.reduce((sum, size) => sum + size, 0);
  return { size: Math.round(total / sizes.length), loops };
}

/**
 * What writes into the caller's memory.
 *
 * @param {Codec} codec with an `encodeInto`
 * @returns {(value: any, target: Buffer) => number}
 */
function into({ encodeInto, written }) {
  const write = /** @type {NonNullable<Codec['encodeInto']>} */ (encodeInto);
  if (written === undefined) return write;
  return (value, target) => {
    const size = write(value, target);
    target.set(written(), 0);
    return size;
  };
}

/**
 * Times a loop: runs it until it has had half of the time, so that it is compiled, and takes the
 * median of samples that fill the other half.
 *
 * @param {(n: number) => unknown} loop
 * @param {number} seconds
 * @returns {Timing}
 */
export function time(loop, seconds) {
  const half = (seconds * 1e9) / 2;
  let n = 1;
  let ns = measure(loop, n);
  for (let spent = ns; spent < half; spent += ns) {
    if (ns < half / SAMPLES) n *= 2;
    ns = measure(loop, n);
  }
  const length = Math.max(1, Math.round((n * half) / SAMPLES / ns));
  const samples = Array.from({ length: SAMPLES }, () => measure(loop, length) / length);
  return { ns: median(samples), n: length * SAMPLES };
}

/**
 * The same function with code, and so with the engine's feedback, of its own. It may use nothing
 * from around it.
 *
 * @template {Function} F
 * @param {F} make
 * @returns {F}
 */
export function fresh(make) {
  return new Function(`return ${make} // ${++codes}`)();
}

let codes = 0;
const SAMPLES = 11;

/** What is done `n` times. Results are kept or summed up, or the engine would drop the work. */
const LOOPS = {
  encode: (
    /** @type {Codec['encode']} */ encode,
    /** @type {any[]} */ values,
    /** @type {number} */ mask,
  ) => {
    /** @type {unknown} */
    let last;
    return (/** @type {number} */ n) => {
      for (let i = 0; i < n; i++) last = encode(values[i & mask]);
      return last;
    };
  },
  into: (
    /** @type {NonNullable<Codec['encodeInto']>} */ encodeInto,
    /** @type {any[]} */ values,
    /** @type {number} */ mask,
    /** @type {Buffer} */ target,
  ) => {
    return (/** @type {number} */ n) => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += encodeInto(values[i & mask], target);
      return sum;
    };
  },
  decode: (
    /** @type {NonNullable<Codec['decode']>} */ decode,
    /** @type {Buffer[]} */ messages,
    /** @type {number} */ mask,
  ) => {
    /** @type {unknown} */
    let last;
    return (/** @type {number} */ n) => {
      for (let i = 0; i < n; i++) last = decode(/** @type {Buffer} */ (messages[i & mask]));
      return last;
    };
  },
  read: (
    /** @type {Read} */ read,
    /** @type {any[]} */ bytes,
    /** @type {any[]} */ offsets,
    /** @type {any[]} */ sizes,
    /** @type {number} */ mask,
  ) => {
    return (/** @type {number} */ n) => {
      let sum = 0;
      for (let i = 0; i < n; i++) {
        const at = i & mask;
        sum += read(bytes[at], offsets[at], sizes[at]);
      }
      return sum;
    };
  },
};

/**
 * @param {import('./payloads.js').Payload} payload
 * @param {Codec} codec
 * @param {any} wanted
 * @returns {Read}
 */
function pickDecoded({ pick }, { decode }, wanted) {
  return fresh(
    (/** @type {Function} */ decodeMessage, /** @type {Function} */ pickFields) =>
      (/** @type {Uint8Array} */ message) =>
        pickFields(decodeMessage(message)),
  )(/** @type {Function} */ (decode), fresh(pick)(wanted));
}

/**
 * Copies messages into one piece of memory, each aligned, as a transport hands them over.
 *
 * @param {Uint8Array[]} encoded
 * @returns {{ batch: Buffer, messages: Buffer[] }}
 */
function layOut(encoded) {
  const room = (/** @type {Uint8Array} */ { length }) => Math.ceil(length / ALIGN) * ALIGN;
  const memory = new ArrayBuffer(encoded.reduce((sum, bytes) => sum + room(bytes), 0));
  let end = 0;
  const messages = encoded.map((bytes) => {
    const message = Buffer.from(memory, end, bytes.length);
    message.set(bytes);
    end += room(bytes);
    return message;
  });
  return { batch: Buffer.from(memory), messages };
}

const ALIGN = 16;

/**
 * @param {Codec['place']} place
 * @param {Buffer} batch
 * @param {Buffer[]} messages
 */
function placed(place, batch, messages) {
  if (place !== 'batch') return { bytes: messages, offsets: messages.map(() => 0) };
  const offsets = messages.map(({ byteOffset }) => byteOffset);
  return { bytes: messages.map(() => batch), offsets };
}

/**
 * @param {(n: number) => unknown} loop
 * @param {number} n
 * @returns {number} nanoseconds
 */
function measure(loop, n) {
  const start = process.hrtime.bigint();
  kept.last = loop(n);
  return Number(process.hrtime.bigint() - start);
}

/** Where results end, out of the engine's sight. */
const kept = { last: /** @type {unknown} */ (null) };
