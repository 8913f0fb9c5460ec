/**
 * The memory that archives are read from and written to: one DataView and one Buffer over a whole
 * ArrayBuffer, made once and kept while messages of the same ArrayBuffer follow each other, because
 * making a DataView costs more than reading a small message.
 */

import { constants } from 'node:buffer';

import { BusbarError, invalidArgument, show } from '../errors.js';
import { archiveInvalid } from './problems.js';

/** One whole ArrayBuffer, open for reading and writing. */
export interface Region {
  buffer: ArrayBufferLike;
  d: DataView;
  b: Buffer;
  /** The bytes that were last entered: asking them for `buffer` costs more than reading a field. */
  bytes: Uint8Array;
  /** Where they begin. */
  start: number;
}

/** The memory last read from. */
export const region: Region = closed();

/** The memory last written to: what comes and what goes take turns, in memory of their own. */
export const written: Region = closed();

function closed(): Region {
  const buffer = new ArrayBuffer(0);
  const bytes = new Uint8Array(buffer);
  return { buffer, d: new DataView(buffer), b: Buffer.from(buffer), bytes, start: 0 };
}

/** Memory that is also open for writing numbers at multiples of their size. */
export interface Words extends Region {
  i32: Int32Array;
  f32: Float32Array;
  f64: Float64Array;
}

/**
 * The memory that values of a fixed size were last written to. Writing through arrays is faster
 * than through a DataView, of which the engine must look at everything again after each write.
 */
export const words: Words = { ...closed(), ...noWords() };

function noWords(): Pick<Words, 'i32' | 'f32' | 'f64'> {
  return { i32: new Int32Array(0), f32: new Float32Array(0), f64: new Float64Array(0) };
}

/**
 * Makes the memory of `bytes` {@link words}; whether it may be written to through arrays: numbers
 * have the order of archives there, and 32 bits count its bytes, as positions are divided.
 */
export function enterWords(bytes: Uint8Array): boolean {
  open(words, bytes);
  const { buffer } = words;
  const { byteLength } = buffer;
  if (!IS_LITTLE_ENDIAN || byteLength > 0xffff_ffff) {
    words.bytes = NOTHING;
    return false;
  }
  if (words.i32.buffer !== buffer || words.i32.length !== byteLength >>> 2) {
    words.i32 = new Int32Array(buffer, 0, byteLength >>> 2);
    words.f32 = new Float32Array(buffer, 0, byteLength >>> 2);
    words.f64 = new Float64Array(buffer, 0, byteLength >>> 3);
  }
  return true;
}

const IS_LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/**
 * What a decode may still touch, so that no archive makes it read more than it is long, and the
 * values of no bytes that it has read.
 */
export const limits: { lo: number; left: number; empties: number } = { lo: 0, left: 0, empties: 0 };

/** Makes the memory of `bytes` the one to read from. */
export function enter(bytes: Uint8Array): void {
  if (bytes !== region.bytes) open(region, bytes);
}

/** Makes the memory of `bytes` the one to write to. */
export function enterWritten(bytes: Uint8Array): void {
  if (bytes !== written.bytes) open(written, bytes);
}

/** Lets go of the memory of `bytes`, as far as this module keeps it. */
export function forget({ buffer }: Uint8Array): void {
  if (region.buffer === buffer) Object.assign(region, closed());
  if (written.buffer === buffer) Object.assign(written, closed());
  if (words.buffer === buffer) Object.assign(words, closed(), noWords());
}

/** What there is to enter about some bytes, for those that are entered again and again. */
export function prepareRegion(bytes: Uint8Array): Region {
  const made = closed();
  open(made, bytes);
  return made;
}

/** Enters what was prepared. */
export function enterPrepared(into: Region, prepared: Region): void {
  into.buffer = prepared.buffer;
  into.d = prepared.d;
  into.b = prepared.b;
  into.bytes = prepared.bytes;
  into.start = prepared.start;
}

function open(into: Region, bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array)) {
    throw invalidArgument(`bytes is ${show(bytes)}; it must be a Uint8Array`);
  }
  const { buffer } = bytes;
  if (buffer !== into.buffer || buffer.byteLength !== into.b.length) openBuffer(into, buffer);
  // What may grow has to be looked at each time.
  into.bytes = mayGrow(buffer) ? NOTHING : bytes;
  into.start = bytes.byteOffset;
}

const NOTHING = new Uint8Array(0);

function mayGrow(buffer: ArrayBufferLike & { resizable?: boolean; growable?: boolean }): boolean {
  return buffer.resizable === true || buffer.growable === true;
}

function openBuffer(into: Region, buffer: ArrayBufferLike): void {
  try {
    // Both are made before either is kept: what is there stays whole if one is refused.
    const [d, b] = [new DataView(buffer), Buffer.from(buffer)];
    into.d = d;
    into.b = b;
    into.buffer = buffer;
  } catch (cause) {
    const { byteLength } = buffer;
    if (byteLength > constants.MAX_LENGTH) {
      const range = `${constants.MAX_LENGTH} at most, the longest Buffer of this Node.js`;
      throw invalidArgument(`bytes is in memory of ${byteLength} bytes; it must have ${range}`);
    }
    throw detached(cause);
  }
}

function detached(cause?: unknown): Error {
  const message = 'the buffer was transferred or detached';
  return new BusbarError('ERR_BUFFER_DETACHED', message, { cause });
}

/** Throws the error for a target whose memory is elsewhere since its writing began. */
export function gaveAway(): never {
  throw detached();
}

/** Throws if the memory of `bytes`, which seems to have none, is elsewhere now. */
function checkAttached({ buffer }: Uint8Array): void {
  if (buffer.byteLength > 0) return;
  try {
    Reflect.construct(DataView, [buffer]);
  } catch (cause) {
    throw detached(cause);
  }
}

/** Enters the memory of an archive and answers with the position of its root. */
export function enterArchive(name: string, bytes: Uint8Array, size: number): number {
  if (bytes !== region.bytes) open(region, bytes);
  const { length } = bytes;
  const byteOffset = region.start;
  if (length < size) throw tooShort(name, bytes, length, size);
  limits.lo = byteOffset;
  limits.left = length;
  limits.empties = 0;
  return byteOffset + length - size;
}

/** The error for `length` of some bytes, which are fewer than the root of an archive takes. */
export function tooShort(name: string, bytes: Uint8Array, length: number, size: number): Error {
  checkAttached(bytes);
  return archiveInvalid(name, `there are ${length} bytes, its root alone takes ${size}`);
}

/** The error for whatever reading threw: an error of the engine means that it is no archive. */
export function unreadable(name: string, error: unknown): unknown {
  if (error instanceof BusbarError) return error;
  if (error instanceof RangeError && /call stack/.test(error.message)) {
    return archiveInvalid(name, 'it is nested too deep', error);
  }
  return archiveInvalid(name, 'something in it lies outside of it', error);
}

/** Where the `count` elements of `size` bytes lie that the list at `p` points to. */
export function claim(d: DataView, p: number, count: number, size: number): number {
  const at = p + d.getInt32(p, true);
  const bytes = count * size;
  if (at < limits.lo || at + bytes > p) throw outside();
  if (size === 0) claimEmpties(count);
  limits.left -= bytes;
  if (limits.left < 0) throw outside();
  return at;
}

/** As {@link claim}, for a view: nothing is counted, since a view reads only what is asked for. */
export function target(d: DataView, p: number, bytes: number, lo: number): number {
  const at = p + d.getInt32(p, true);
  if (at < lo || at + bytes > p) throw outside();
  return at;
}

/** A list of values that take no bytes may be as long as it likes, but not be read to its end. */
export const EMPTIES_MAX = 4096;

/** What all such lists of an archive have together, at most. */
export const ALL_EMPTIES_MAX = 65_536;

/** Throws for more elements without bytes than a list should have. */
export function checkEmpties(count: number): void {
  if (count <= EMPTIES_MAX) return;
  throw archiveInvalid('', `a list has ${count} values of no bytes, too many to be read`);
}

/** As {@link checkEmpties}, with those of the lists before. */
export function claimEmpties(count: number): void {
  checkEmpties(count);
  limits.empties += count;
  if (limits.empties <= ALL_EMPTIES_MAX) return;
  const message = `its lists have more than ${ALL_EMPTIES_MAX} values of no bytes`;
  throw archiveInvalid('', `${message}, too many to be read`);
}

/** The error for a pointer that leads out of its archive, or parts that overlap. */
export function outside(): Error {
  return archiveInvalid('', 'something in it lies outside of it, or is claimed twice');
}
