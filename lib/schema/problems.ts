/**
 * What goes wrong with types and their archives, as errors with a place: where in a type or value
 * it happened. The codes are those of the one table; nothing here decides what is wrong.
 */

import type { ErrorCode } from '../codes.js';
import { BusbarError, show, type BusbarErrorOptions } from '../errors.js';

/** An error about a type, a descriptor, a value or an archive. */
export class SchemaError extends BusbarError {
  /** Where it happened, such as `market.Order.tags[]`; empty where no single place is to blame. */
  readonly path: string;

  constructor(code: ErrorCode, path: string, message: string, options?: BusbarErrorOptions) {
    super(code, path === '' ? message : `${path}: ${message}`, options);
    this.path = path;
  }
}

Object.defineProperty(SchemaError.prototype, 'name', {
  value: 'SchemaError',
  configurable: true,
  writable: true,
});

/** A target has too little room for a value (`ERR_BUFFER_TOO_SMALL`). Nothing was kept of it. */
export class BufferTooSmallError extends BusbarError {
  /** Bytes that the archive takes. */
  readonly required: number;

  /** Bytes that there were. */
  readonly available: number;

  constructor(required: number, available: number) {
    const message = `the archive takes ${required} bytes, the target has room for ${available}`;
    super('ERR_BUFFER_TOO_SMALL', message);
    this.required = required;
    this.available = available;
  }
}

Object.defineProperty(BufferTooSmallError.prototype, 'name', {
  value: 'BufferTooSmallError',
  configurable: true,
  writable: true,
});

/** The error for a descriptor that is wrong. */
export function schemaInvalid(path: string, message: string): SchemaError {
  return new SchemaError('ERR_SCHEMA_INVALID', path, message);
}

/** The error for bytes that are no archive of the type. */
export function archiveInvalid(path: string, message: string, cause?: unknown): SchemaError {
  return new SchemaError('ERR_ARCHIVE_INVALID', path, message, { cause });
}

/** The error for a tag that this version of an enum does not know. */
export function unknownVariant(path: string, tag: number): SchemaError {
  const message = `the tag ${tag} is none of its variants; the writer knows a newer version`;
  return new SchemaError('ERR_SCHEMA_VARIANT', path, message);
}

/** The error for a value that cannot be written. */
export function unwritable(path: string, value: unknown, allowed: string): SchemaError {
  const message = `the value is ${show(value)}; it must be ${allowed}`;
  return new SchemaError('ERR_SERIALIZE_FAILED', path, message);
}

/** `a` and `b` as one path: `a.b`, but `a[]` and not `a.[]`. */
export function join(outer: string, inner: string): string {
  if (inner === '' || outer === '') return outer + inner;
  return inner.startsWith('[') ? outer + inner : `${outer}.${inner}`;
}
