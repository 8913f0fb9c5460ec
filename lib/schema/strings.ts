/**
 * Strings in archives: up to 8 bytes inline, longer ones out of line (docs/formats). Short ones are
 * decoded without a call into native code, which would cost more than the decoding.
 */

import { archiveInvalid } from './problems.js';
import { bad } from './numbers.js';
import { claim, limits, outside } from './region.js';
import { OVERFLOW, type Sink } from './sink.js';

/** Strings up to this length are written by a loop; `utf8Write` costs the same for any length. */
const LOOP_CHARS_MAX = 12;
const INLINE_BYTES_MAX = 8;
/** What the two top bits of the length word can hold. */
const STRING_BYTES_MAX = 2 ** 30 - 1;

/** Methods of Buffer that its types leave out. */
interface NativeBuffer {
  utf8Slice(start: number, end: number): string;
  utf8Write(text: string, offset: number, length: number): number;
}

/** Phase one: writes what is out of line and remembers the two words of the string. */
export function putString(s: Sink, text: string): void {
  if (typeof text !== 'string') bad(text, 'a string');
  const { length } = text;
  const { r, rp } = s;
  s.rp = rp + 2;
  if (length <= INLINE_BYTES_MAX) {
    // Unused bytes are 0xff; `low` and `high` are bytes 0–3 and 4–7.
    let low = -1;
    let high = -1;
    let seen = 0;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      seen |= code;
      if (i < 4) low ^= (code ^ 0xff) << (i << 3);
      else high ^= (code ^ 0xff) << ((i - 4) << 3);
    }
    if (seen < 0x80) {
      r[rp] = low;
      r[rp + 1] = high;
      return;
    }
    checkWellFormed(text);
    if (Buffer.byteLength(text) <= INLINE_BYTES_MAX) {
      INLINE.fill(0xff);
      INLINE.write(text);
      r[rp] = INLINE.readInt32LE(0);
      r[rp + 1] = INLINE.readInt32LE(4);
      return;
    }
  }
  const start = s.w;
  const bytes = writeText(s, text);
  if (bytes > STRING_BYTES_MAX) bad(text, 'a string of less than 1 GiB');
  r[rp] = (bytes & 0x3f) | 0x80 | ((bytes & ~0x3f) << 2);
  r[rp + 1] = start - s.base;
}

/** Phase two: writes the two words. */
export function fixString(s: Sink, d: DataView, p: number): void {
  const { r, ri } = s;
  s.ri = ri + 2;
  const low = r[ri] as number;
  const high = r[ri + 1] as number;
  d.setInt32(p, low, true);
  d.setInt32(p + 4, (low & 0xc0) === 0x80 ? high + s.base - p : high, true);
}

/** Phase one of a `Box<str>`, which is never inline. */
export function putBoxStr(s: Sink, text: string): void {
  if (typeof text !== 'string') bad(text, 'a string');
  const start = s.w;
  s.push2(start, writeText(s, text));
}

/** Writes UTF-8 at the sink's position; how many bytes. */
function writeText(s: Sink, text: string): number {
  const { length } = text;
  const { w, b } = s;
  if (length <= LOOP_CHARS_MAX) {
    if (w + length > s.end) throw OVERFLOW;
    let seen = 0;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      seen |= code;
      b[w + i] = code;
    }
    if (seen < 0x80) {
      s.w = w + length;
      return length;
    }
  }
  checkWellFormed(text);
  if (w + length * 3 > s.end && w + Buffer.byteLength(text) > s.end) throw OVERFLOW;
  const bytes = (b as unknown as NativeBuffer).utf8Write(text, w, s.end - w);
  s.w = w + bytes;
  return bytes;
}

/** Half of a surrogate pair has no UTF-8: it would become another character without a word. */
function checkWellFormed(text: string): void {
  if ((text as unknown as { isWellFormed(): boolean }).isWellFormed()) return;
  bad(text, 'a string whose surrogates come in pairs');
}

const INLINE = Buffer.alloc(INLINE_BYTES_MAX);

/** Reads a string of a decode, which counts what it touches. */
export function readString(d: DataView, b: Buffer, p: number): string {
  const low = d.getInt32(p, true);
  if ((low & 0xc0) !== 0x80) return inline(low, d.getInt32(p + 4, true), b, p);
  const bytes = (low & 0x3f) | ((low >>> 2) & ~0x3f);
  const at = p + d.getInt32(p + 4, true);
  limits.left -= bytes;
  if (at < limits.lo || at + bytes > p || limits.left < 0) throw outside();
  return slice(b, at, bytes);
}

/** Reads a string of a view, of an archive that begins at `lo`. */
export function viewString(d: DataView, b: Buffer, p: number, lo: number): string {
  const low = d.getInt32(p, true);
  if ((low & 0xc0) !== 0x80) return inline(low, d.getInt32(p + 4, true), b, p);
  const bytes = (low & 0x3f) | ((low >>> 2) & ~0x3f);
  const at = p + d.getInt32(p + 4, true);
  if (at < lo || at + bytes > p) throw outside();
  return slice(b, at, bytes);
}

/** Reads a `Box<str>` of a decode. */
export function readBoxStr(d: DataView, b: Buffer, p: number): string {
  const bytes = d.getUint32(p + 4, true);
  return slice(b, claim(d, p, bytes, 1), bytes);
}

/** Reads a `Box<str>` of a view. */
export function viewBoxStr(d: DataView, b: Buffer, p: number, lo: number): string {
  const bytes = d.getUint32(p + 4, true);
  const at = p + d.getInt32(p, true);
  if (at < lo || at + bytes > p) throw outside();
  return slice(b, at, bytes);
}

/** As {@link readString}, sharing equal inline strings. */
export function readShared(d: DataView, b: Buffer, p: number): string {
  const low = d.getInt32(p, true);
  if ((low & 0xc0) === 0x80) return readString(d, b, p);
  return shared(low, d.getInt32(p + 4, true), b, p);
}

/** As {@link viewString}, sharing equal inline strings. */
export function viewShared(d: DataView, b: Buffer, p: number, lo: number): string {
  const low = d.getInt32(p, true);
  if ((low & 0xc0) === 0x80) return viewString(d, b, p, lo);
  return shared(low, d.getInt32(p + 4, true), b, p);
}

const SHARED_MAX = 1024;
const sharedLows = new Int32Array(SHARED_MAX);
const sharedHighs = new Int32Array(SHARED_MAX);
const sharedTexts: string[] = Array.from({ length: SHARED_MAX }, () => '\0\0\0\0\0\0\0\0');

/** One of 1,024 remembered strings by their two words; of two in a slot, the older is dropped. */
function shared(low: number, high: number, b: Buffer, p: number): string {
  const slot = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b) >>> 22;
  if (sharedLows[slot] === low && sharedHighs[slot] === high) return sharedTexts[slot] as string;
  const text = inline(low, high, b, p);
  sharedLows[slot] = low;
  sharedHighs[slot] = high;
  sharedTexts[slot] = text;
  return text;
}

const { fromCharCode } = String;
const ASCII: readonly string[] = Array.from({ length: 128 }, (_, code) => fromCharCode(code));

/** An inline string, given its words: bytes 0–3 and 4–7. */
function inline(low: number, high: number, b: Buffer, p: number): string {
  const [c0, c1, c2, c3] = [low & 255, (low >>> 8) & 255, (low >>> 16) & 255, low >>> 24];
  if ((low & 0x80808080) !== 0) {
    if (c0 === 255) return '';
    if (c1 === 255 && c0 < 128) return ASCII[c0] as string;
    if (c2 === 255 && (c0 | c1) < 128) return fromCharCode(c0, c1);
    if (c3 === 255 && (c0 | c1 | c2) < 128) return fromCharCode(c0, c1, c2);
    return inlineUtf8(b, p);
  }
  const c4 = high & 255;
  if (c4 === 255) return fromCharCode(c0, c1, c2, c3);
  const [c5, c6, c7] = [(high >>> 8) & 255, (high >>> 16) & 255, high >>> 24];
  if ((high & 0x80808080) === 0) return fromCharCode(c0, c1, c2, c3, c4, c5, c6, c7);
  if (c5 === 255 && c4 < 128) return fromCharCode(c0, c1, c2, c3, c4);
  if (c6 === 255 && (c4 | c5) < 128) return fromCharCode(c0, c1, c2, c3, c4, c5);
  if (c7 === 255 && (c4 | c5 | c6) < 128) return fromCharCode(c0, c1, c2, c3, c4, c5, c6);
  return inlineUtf8(b, p);
}

function inlineUtf8(b: Buffer, p: number): string {
  return utf8(b, p, inlineLength(b, p));
}

/** Bytes of an inline string: up to the first 0xff. */
export function inlineLength(b: Buffer, p: number): number {
  let bytes = 0;
  while (bytes < INLINE_BYTES_MAX && b[p + bytes] !== 0xff) bytes++;
  return bytes;
}

/** UTF-8 as a string. */
function slice(b: Buffer, at: number, bytes: number): string {
  return bytes <= 16 && bytes > 8 ? medium(b, at, bytes) : utf8(b, at, bytes);
}

/** 9 to 16 bytes, without native code if they are ASCII. */
function medium(b: Buffer, p: number, bytes: number): string {
  let seen = 0;
  for (let i = 0; i < bytes; i++) seen |= b[p + i] as number;
  if (seen >= 128) return utf8(b, p, bytes);
  const at = (index: number): number => b[p + index] as number;
  const [a, c, e, f] = [at(0), at(1), at(2), at(3)];
  const [g, h, i, j] = [at(4), at(5), at(6), at(7)];
  const k = at(8);
  if (bytes === 9) return fromCharCode(a, c, e, f, g, h, i, j, k);
  const l = at(9);
  if (bytes === 10) return fromCharCode(a, c, e, f, g, h, i, j, k, l);
  const m = at(10);
  if (bytes === 11) return fromCharCode(a, c, e, f, g, h, i, j, k, l, m);
  const n = at(11);
  if (bytes === 12) return fromCharCode(a, c, e, f, g, h, i, j, k, l, m, n);
  const o = at(12);
  if (bytes === 13) return fromCharCode(a, c, e, f, g, h, i, j, k, l, m, n, o);
  const q = at(13);
  if (bytes === 14) return fromCharCode(a, c, e, f, g, h, i, j, k, l, m, n, o, q);
  const r = at(14);
  if (bytes === 15) return fromCharCode(a, c, e, f, g, h, i, j, k, l, m, n, o, q, r);
  return fromCharCode(a, c, e, f, g, h, i, j, k, l, m, n, o, q, r, at(15));
}

function utf8(b: Buffer, at: number, bytes: number): string {
  if (at + bytes > b.length) throw archiveInvalid('', 'a string lies outside of it');
  return (b as unknown as NativeBuffer).utf8Slice(at, at + bytes);
}
