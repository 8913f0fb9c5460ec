/**
 * XXH64 with seed 0, which a schema hash is: written from its specification, independently of the
 * Rust side. Not a security boundary and not fast: texts are short and hashed once.
 */

const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;

/** The hash of some bytes; of a string, that of its UTF-8. */
export function xxh64(input: string | Uint8Array): bigint {
  const bytes = typeof input === 'string' ? new TextEncoder().encode(input) : input;
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { length } = bytes;
  let at = 0;
  let hash = P5;
  if (length >= 32) {
    const lanes = [wrap(P1 + P2), P2, 0n, wrap(-P1)];
    for (; at + 32 <= length; at += 32) {
      for (let lane = 0; lane < 4; lane++) {
        lanes[lane] = round(lanes[lane] ?? 0n, data.getBigUint64(at + lane * 8, true));
      }
    }
    const [a = 0n, b = 0n, c = 0n, d = 0n] = lanes;
    hash = wrap(rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n));
    for (const lane of lanes) hash = wrap((hash ^ round(0n, lane)) * P1 + P4);
  }
  hash = wrap(hash + BigInt(length));
  return avalanche(tail(hash, data, at));
}

/** A hash as descriptors and texts spell it: 16 hexadecimal digits. */
export function hashText(hash: bigint): string {
  return hash.toString(16).padStart(16, '0');
}

function tail(start: bigint, data: DataView, from: number): bigint {
  let hash = start;
  let at = from;
  for (; at + 8 <= data.byteLength; at += 8) {
    hash = wrap(rotate(hash ^ round(0n, data.getBigUint64(at, true)), 27n) * P1 + P4);
  }
  if (at + 4 <= data.byteLength) {
    hash = wrap(rotate(hash ^ wrap(BigInt(data.getUint32(at, true)) * P1), 23n) * P2 + P3);
    at += 4;
  }
  for (; at < data.byteLength; at++) {
    hash = wrap(rotate(hash ^ wrap(BigInt(data.getUint8(at)) * P5), 11n) * P1);
  }
  return hash;
}

function avalanche(start: bigint): bigint {
  let hash = wrap((start ^ (start >> 33n)) * P2);
  hash = wrap((hash ^ (hash >> 29n)) * P3);
  return hash ^ (hash >> 32n);
}

function round(lane: bigint, input: bigint): bigint {
  return wrap(rotate(wrap(lane + input * P2), 31n) * P1);
}

function rotate(value: bigint, bits: bigint): bigint {
  return wrap(value << bits) | (value >> (64n - bits));
}

function wrap(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}
