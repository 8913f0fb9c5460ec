/**
 * Numbers that take more than one instruction of a DataView: 64 bits as a JavaScript number, 128
 * bits, characters; and the errors for values that a number's type cannot hold.
 */

import { archiveInvalid, unwritable } from './problems.js';

const HIGH = 2 ** 32;
/** High word of the largest safe integer. */
const HIGH_MAX = 0x1f_ffff;
const SAFE_UNSIGNED = 'a safe integer, not negative';
const TWO_52 = 2 ** 52;
/** High word of 2^52 as a double. */
const TWO_52_HIGH = 0x4330_0000;
const SIGN_AND_EXPONENT = 0xfff0_0000;
/** What is nearer to zero is rounded to a finite f32. */
export const F32_END: number = 2 ** 128 - 2 ** 103;
const U64_MAX = 2n ** 64n - 1n;
const I64_MAX = 2n ** 63n - 1n;

/** Throws the error for a value that cannot be written; where it is, `locate.ts` finds out. */
export function bad(value: unknown, allowed: string): never {
  throw unwritable('', value, allowed);
}

/** An unsigned 64-bit integer as a number. */
export function readU64(d: DataView, p: number): number {
  const high = d.getUint32(p + 4, true);
  if (high > HIGH_MAX) throw unsafe();
  return high * HIGH + d.getUint32(p, true);
}

/** A signed 64-bit integer as a number. */
export function readI64(d: DataView, p: number): number {
  const high = d.getInt32(p + 4, true);
  const value = high * HIGH + d.getUint32(p, true);
  if (!Number.isSafeInteger(value)) throw unsafe();
  return value;
}

/**
 * Writes a safe, non-negative integer. Added to 2^52, an integer below stands in the mantissa as it
 * is, which takes half the time of taking it apart.
 */
export function writeU64(d: DataView, p: number, value: number): void {
  if (typeof value !== 'number') bad(value, SAFE_UNSIGNED);
  const shifted = value + TWO_52;
  if (shifted - TWO_52 !== value) return writeWide(d, p, value);
  d.setFloat64(p, shifted, true);
  const high = d.getInt32(p + 4, true) - TWO_52_HIGH;
  if ((high & SIGN_AND_EXPONENT) !== 0) return writeWide(d, p, value);
  d.setInt32(p + 4, high, true);
}

/** Writes what may be negative, a fraction, or 2^52 and more. */
function writeWide(d: DataView, p: number, value: number): void {
  const low = value >>> 0;
  const rest = value - low;
  const high = (rest / HIGH) & HIGH_MAX;
  // What is left of a tiny fraction is nothing after the division.
  if (high * HIGH !== rest) bad(value, SAFE_UNSIGNED);
  d.setUint32(p, low, true);
  d.setUint32(p + 4, high, true);
}

/** Throws unless a number that is not small is one that an f32 can hold: at most rounded to it. */
export function checkF32(value: number): void {
  if (typeof value !== 'number') bad(value, 'a number of type f32');
  if (Number.isFinite(value) && !Number.isFinite(Math.fround(value))) {
    bad(value, 'a number of type f32, which end at 3.4028235e38 and -3.4028235e38');
  }
}

/** As {@link checkF32}, for several of which one may be wrong. */
export function checkF32s(...values: readonly number[]): void {
  for (const value of values) checkF32(value);
}

/** Writes a safe integer. */
export function writeI64(d: DataView, p: number, value: number): void {
  if (!Number.isSafeInteger(value)) bad(value, 'a safe integer');
  const low = value >>> 0;
  d.setUint32(p, low, true);
  d.setInt32(p + 4, (value - low) / HIGH, true);
}

/** Writes a bigint of 64 bits. */
export function writeBig(d: DataView, p: number, value: bigint, signed: boolean): void {
  if (typeof value !== 'bigint') bad(value, 'a bigint');
  if (signed) {
    if (value > I64_MAX || value < -I64_MAX - 1n) bad(value, 'a bigint of 64 bits, signed');
    d.setBigInt64(p, value, true);
  } else {
    if (value > U64_MAX || value < 0n) bad(value, 'a bigint from 0 to 2^64-1');
    d.setBigUint64(p, value, true);
  }
}

/** A 128-bit integer. */
export function readHuge(d: DataView, p: number, signed: boolean): bigint {
  const high = signed ? d.getBigInt64(p + 8, true) : d.getBigUint64(p + 8, true);
  return (high << 64n) | d.getBigUint64(p, true);
}

/** Writes a 128-bit integer. */
export function writeHuge(d: DataView, p: number, value: bigint, signed: boolean): void {
  if (typeof value !== 'bigint') bad(value, 'a bigint');
  const isOk = (signed ? BigInt.asIntN(128, value) : BigInt.asUintN(128, value)) === value;
  if (!isOk) bad(value, `a bigint of 128 bits, ${signed ? 'signed' : 'not negative'}`);
  d.setBigUint64(p, BigInt.asUintN(64, value), true);
  d.setBigUint64(p + 8, BigInt.asUintN(64, value >> 64n), true);
}

/** A character. */
export function readChar(d: DataView, p: number): string {
  const code = d.getUint32(p, true);
  if (!isScalarValue(code)) throw archiveInvalid('', `${code} is the code of no character`);
  return String.fromCodePoint(code);
}

/** Writes a character. */
export function writeChar(d: DataView, p: number, value: string): void {
  const code = typeof value === 'string' ? (value.codePointAt(0) ?? -1) : -1;
  const isOne = code >= 0 && isScalarValue(code) && value.length === (code > 0xffff ? 2 : 1);
  if (!isOne) bad(value, 'a string of one character');
  d.setUint32(p, code, true);
}

/** Whether a number is a Unicode scalar value, which a Rust `char` is. */
export function isScalarValue(code: number): boolean {
  return code < 0xd800 || (code > 0xdfff && code < 0x11_0000);
}

/** Whether an option's tag says that there is something. */
export function isSome(d: DataView, p: number): boolean {
  const tag = d.getUint8(p);
  if (tag > 1) throw archiveInvalid('', `${tag} is the tag of no option`);
  return tag === 1;
}

function unsafe(): Error {
  const message = 'an integer is too large for a number; read the field as bigint';
  return archiveInvalid('', message);
}

/** What the wrapper of a nested option holds. */
export function wrapped<T>(value: { readonly some: T }): T {
  if (typeof value === 'object' && 'some' in value) return value.some;
  return bad(value, 'null or { some: … }');
}
