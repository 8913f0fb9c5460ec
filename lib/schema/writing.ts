/**
 * Starting and ending the writing of a value: which memory, what to do when it is too small, and
 * what errors mean. Generated and interpreted writers share it; writing itself is theirs.
 */

import { BusbarError, invalidArgument, show } from '../errors.js';
import { located, type WrittenRoot } from './locate.js';
import { BufferTooSmallError, SchemaError } from './problems.js';
import { freeSink, OVERFLOW, writeScratch, type WriteRoot } from './sink.js';

/** A new buffer with the archive of a value. */
export function writeNew<T>(root: WrittenRoot, write: WriteRoot<T>, value: T): Buffer {
  const s = freeSink();
  try {
    writeScratch(s, write, value);
    const archive = Buffer.allocUnsafe(s.w);
    s.b.copy(archive, 0, 0, s.w);
    return archive;
  } catch (error) {
    throw unwritten(root, value, error);
  } finally {
    s.release();
  }
}

/** How many bytes the archive of a value takes. */
export function sizeOf<T>(root: WrittenRoot, write: WriteRoot<T>, value: T): number {
  const s = freeSink();
  try {
    writeScratch(s, write, value);
    return s.w;
  } catch (error) {
    throw unwritten(root, value, error);
  } finally {
    s.release();
  }
}

/** Writes into a target; how many bytes. */
export function writeInto<T>(
  root: WrittenRoot,
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
    if (error !== OVERFLOW) throw unwritten(root, value, error);
  } finally {
    s.release();
  }
  throw new BufferTooSmallError(sizeOf(root, write, value), target.length - offset);
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

/** The error for whatever writing a value threw. */
export function unwritten(root: WrittenRoot, value: unknown, error: unknown): unknown {
  const { name } = root;
  // Errors without a place are those of writers; others are of getters of the value.
  if (error instanceof BusbarError && !(error instanceof SchemaError && error.path === '')) {
    return error;
  }
  if (error === OVERFLOW) {
    return new SchemaError('ERR_SERIALIZE_FAILED', name, 'the archive would exceed 1 GiB');
  }
  if (error instanceof RangeError && /call stack/.test(error.message)) {
    const message = 'the value contains itself, or is nested too deep';
    return new SchemaError('ERR_SERIALIZE_FAILED', name, message, { cause: error });
  }
  return located(root, value, error);
}
