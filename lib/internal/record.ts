/**
 * The record: how a message lies in a staging buffer, in a ring and in a run handed to the core.
 *
 * Eight bytes of header (u32 payload length, u16 channel, u8 kind, u8 flags, little-endian), the
 * payload, and padding to a multiple of eight. JavaScript writes kind 0 (the message itself) only,
 * so the second header word is the channel.
 */

import { BusbarError } from '../errors.js';

/** Bytes of a record header. */
export const HEADER_BYTES = 8;

/** The largest payload that travels inside a record. */
export const INLINE_MAX = 1024;

/** Bytes of a record with this much payload. */
export function recordBytes(length: number): number {
  return (length + HEADER_BYTES + 7) & ~7;
}

/** Headers are written as words of the host: throws where those are not little-endian. */
export function checkByteOrder(): void {
  if (new Uint8Array(new Uint32Array([1]).buffer)[0] === 1) return;
  throw new BusbarError('ERR_NOT_SUPPORTED', 'big-endian machines are not supported');
}
