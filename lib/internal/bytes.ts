/** What users send, as bytes. */

import { BusbarError, invalidArgument, show } from '../errors.js';
import type { Sendable } from './pending.js';

/** The bytes of anything but a string. */
export function bytesOf(data: Exclude<Sendable, string>): Uint8Array {
  try {
    if (data instanceof Uint8Array) {
      // A detached one looks empty; only making a view of its memory tells.
      return data.length === 0 ? new Uint8Array(data.buffer, 0, 0) : data;
    }
    if (ArrayBuffer.isView(data)) {
      return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    }
    if (data instanceof ArrayBuffer || data instanceof SharedArrayBuffer) {
      return new Uint8Array(data);
    }
  } catch (cause) {
    throw detached(cause);
  }
  const kinds = 'a string, a Buffer or other view, or an ArrayBuffer';
  throw invalidArgument(`data is ${show(data)}; it must be ${kinds}`);
}

/** The memory of a message was taken away. */
export function detached(cause?: unknown): BusbarError {
  const message = 'the buffer was transferred or detached; keep it until it is sent, or copy it';
  return new BusbarError('ERR_BUFFER_DETACHED', message, { cause });
}
