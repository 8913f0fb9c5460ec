/**
 * Everything that is a pointer: bytes, lists and boxes. Elements are the business of whoever calls;
 * here are the words that point to them.
 */

import { bad } from './numbers.js';
import { claim, EMPTIES_MAX, target } from './region.js';
import type { Sink } from './sink.js';

/** The elements of a list or array to be written. */
export type Elements<T> = ArrayLike<T>;

/** Phase two of a list, a map or bytes: a pointer and a length. */
export function fixList(s: Sink, d: DataView, p: number): void {
  const { r, ri } = s;
  s.ri = ri + 2;
  d.setInt32(p, (r[ri] as number) + s.base - p, true);
  d.setUint32(p + 4, r[ri + 1] as number, true);
}

/** Phase two of a box: a pointer. */
export function fixBox(s: Sink, d: DataView, p: number): void {
  d.setInt32(p, (s.r[s.ri++] as number) + s.base - p, true);
}

/** Phase one of bytes. */
export function putBytes(s: Sink, value: Elements<number>): void {
  const bytes = checkBytes(value);
  const at = s.take(bytes.length, 1);
  s.b.set(bytes, at);
  s.push2(at, bytes.length);
}

/** Writes an array of bytes in place. */
export function writeBlob(b: Buffer, p: number, value: Elements<number>, length: number): void {
  const bytes = checkBytes(value);
  if (bytes.length !== length) bad(value, `${length} bytes`);
  b.set(bytes, p);
}

function checkBytes(value: unknown): Uint8Array | readonly number[] {
  if (value instanceof Uint8Array) return value;
  const isByte = (one: unknown): boolean => ((one as number) & 255) === one;
  if (Array.isArray(value)) {
    // A copy, in which holes are undefined, and no bytes; what has getters may change its mind.
    const copy: readonly number[] = Array.from(value);
    if (copy.every(isByte)) return copy;
  }
  return bad(value, 'a Uint8Array, or an array of bytes');
}

/** Not whatever has a length: in parsed JSON that may be anything. */
export function isList(value: unknown): value is Elements<unknown> {
  return Array.isArray(value) || ArrayBuffer.isView(value);
}

/** The number of elements, if it is something with elements. */
export function lengthOf(value: Elements<unknown>, elemSize = 1): number {
  const length: unknown = isList(value) ? value.length : undefined;
  if (Number.isInteger(length) && (length as number) >= 0 && (length as number) < 2 ** 32) {
    if (elemSize > 0 || (length as number) <= EMPTIES_MAX) return length as number;
    return bad(value, `an array of at most ${EMPTIES_MAX} values, since they take no bytes`);
  }
  return bad(value, 'an array');
}

/** Throws unless it has exactly that many elements. */
export function checkLength(value: Elements<unknown>, length: number): void {
  if (lengthOf(value) !== length) bad(value, `an array of ${length}`);
}

/** A copy of the bytes that the list at `p` points to. */
export function readBytes(d: DataView, b: Buffer, p: number): Uint8Array {
  const length = d.getUint32(p + 4, true);
  return copyBytes(b, claim(d, p, length, 1), length);
}

/** A copy of some bytes. */
export function copyBytes(b: Buffer, p: number, length: number): Uint8Array {
  const copy = new Uint8Array(length);
  copy.set(new Uint8Array(b.buffer, p, length));
  return copy;
}

/** The bytes that the list at `p` points to, in place. */
export function viewBytes(d: DataView, b: Buffer, p: number, lo: number): Uint8Array {
  const length = d.getUint32(p + 4, true);
  return new Uint8Array(b.buffer, target(d, p, length, lo), length);
}

/** Zeros from `start` to `end`: padding, and what is absent. */
export function zero(d: DataView, start: number, end: number): void {
  let p = start;
  for (; p + 4 <= end; p += 4) d.setInt32(p, 0, true);
  for (; p < end; p++) d.setUint8(p, 0);
}
