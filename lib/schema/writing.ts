/**
 * Starting and ending the writing of a value: which memory, what to do when it is too small, and
 * what errors mean. Generated and interpreted writers share it; writing itself is theirs.
 */

import { BusbarError, invalidArgument, show } from '../errors.js';
import { ARCHIVE_BYTES_MAX } from './layout.js';
import { BufferTooSmallError, SchemaError } from './problems.js';
import { freeSink, OVERFLOW, type Sink } from './sink.js';

/** Writes a value with everything out of line; the last thing written is its root. */
export type WriteRoot<T> = (s: Sink, value: T) => void;

/** A new buffer with the archive of a value. */
export function writeNew<T>(name: string, write: WriteRoot<T>, value: T): Buffer {
  const s = freeSink();
  try {
    writeScratch(s, write, value);
    const archive = Buffer.allocUnsafe(s.w);
    s.b.copy(archive, 0, 0, s.w);
    return archive;
  } catch (error) {
    throw unwritten(name, error);
  } finally {
    s.release();
  }
}

/** How many bytes the archive of a value takes. */
export function sizeOf<T>(name: string, write: WriteRoot<T>, value: T): number {
  const s = freeSink();
  try {
    writeScratch(s, write, value);
    return s.w;
  } catch (error) {
    throw unwritten(name, error);
  } finally {
    s.release();
  }
}

/** Writes into a target; how many bytes. */
export function writeInto<T>(
  name: string,
  write: WriteRoot<T>,
  value: T,
  target: Uint8Array,
  offset: number,
): number {
  checkTarget(target, offset);
  const s = freeSink();
  let start = 0;
  try {
    start = s.into(target, offset);
    write(s, value);
    return s.w - start;
  } catch (error) {
    if (error !== OVERFLOW) throw unwritten(name, error);
  } finally {
    s.release();
  }
  throw new BufferTooSmallError(sizeOf(name, write, value), target.length - offset);
}

/** Throws unless it is possible to write into `target` from `offset` on. */
export function checkTarget(target: Uint8Array, offset: number): void {
  if (!(target instanceof Uint8Array)) {
    throw invalidArgument(`target is ${show(target)}; it must be a Buffer or a Uint8Array`);
  }
  if (!Number.isInteger(offset) || offset < 0 || offset > target.length) {
    const range = `an integer from 0 to ${target.length}, the length of the target`;
    throw invalidArgument(`offset is ${show(offset)}; it must be ${range}`);
  }
}

function writeScratch<T>(s: Sink, write: WriteRoot<T>, value: T): void {
  for (;;) {
    s.intoScratch();
    try {
      return write(s, value);
    } catch (error) {
      if (error !== OVERFLOW || s.end > ARCHIVE_BYTES_MAX / 2) throw error;
      s.grow();
    }
  }
}

/** The error for whatever writing threw. */
export function unwritten(name: string, error: unknown): unknown {
  if (error instanceof BusbarError) return error;
  if (error === OVERFLOW) {
    return new SchemaError('ERR_SERIALIZE_FAILED', name, 'the archive would exceed 1 GiB');
  }
  const isDeep = error instanceof RangeError && /call stack/.test(error.message);
  const why = error instanceof Error ? error.message : String(error);
  const message = isDeep ? 'the value contains itself, or is nested too deep' : why;
  return new SchemaError('ERR_SERIALIZE_FAILED', name, message, { cause: error });
}
