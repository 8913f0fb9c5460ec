// @ts-check
/**
 * The messages that are not flights: a ping and its answer, a mark in the stream and its answer,
 * the end of the stream and the result. Little-endian; byte 0 is the kind (record.js).
 *
 * | kind     | from       | bytes | content                                                     |
 * |----------|------------|------:|-------------------------------------------------------------|
 * | `PING`   | parent     |    16 | u64 at 8: when it was sent                                  |
 * | `PONG`   | aggregator |    24 | u64 at 8: as in the ping; u64 at 16: when that was received |
 * | `MARK`   | parent     |     1 |                                                             |
 * | `ACK`    | aggregator |     8 | u32 at 4: flights aggregated when the mark was reached      |
 * | `END`    | parent     |     1 |                                                             |
 * | `RESULT` | aggregator |     … | the aggregate as JSON, from byte 1                          |
 *
 * Times are nanoseconds of `process.hrtime.bigint()`, on Linux one clock for all processes.
 */

import { Kind } from './record.js';

/** @typedef {import('./aggregate.js').Aggregate} Aggregate */

/** The message to reuse for every ping. */
export function createPing() {
  const bytes = new Uint8Array(16);
  bytes[0] = Kind.PING;
  return bytes;
}

/** @param {Uint8Array} ping */
export function stampPing(ping) {
  viewOf(ping).setBigUint64(8, process.hrtime.bigint(), true);
}

/**
 * The answer to the ping in `view` at byte `at`.
 *
 * @param {DataView} view
 * @param {number} at
 */
export function encodePong(view, at) {
  const bytes = new Uint8Array(24);
  const pong = viewOf(bytes);
  pong.setUint8(0, Kind.PONG);
  pong.setBigUint64(8, view.getBigUint64(at + 8, true), true);
  pong.setBigUint64(16, process.hrtime.bigint(), true);
  return bytes;
}

/**
 * Nanoseconds from ping to its arrival at the aggregator, and to the arrival of the answer here.
 *
 * @param {Uint8Array} bytes
 */
export function decodePong(bytes) {
  const now = process.hrtime.bigint();
  expectKind(bytes, Kind.PONG, 24);
  const view = viewOf(bytes);
  const sent = view.getBigUint64(8, true);
  return {
    oneWayNanos: Number(view.getBigUint64(16, true) - sent),
    roundTripNanos: Number(now - sent),
  };
}

export function encodeMark() {
  return Uint8Array.of(Kind.MARK);
}

/** @param {number} flights */
export function encodeAck(flights) {
  const bytes = new Uint8Array(8);
  bytes[0] = Kind.ACK;
  viewOf(bytes).setUint32(4, flights, true);
  return bytes;
}

/** @param {Uint8Array} bytes */
export function decodeAck(bytes) {
  expectKind(bytes, Kind.ACK, 8);
  return viewOf(bytes).getUint32(4, true);
}

export function encodeEnd() {
  return Uint8Array.of(Kind.END);
}

/** @param {Aggregate} aggregate */
export function encodeResult(aggregate) {
  const json = Buffer.from(JSON.stringify(aggregate));
  const bytes = new Uint8Array(1 + json.length);
  bytes[0] = Kind.RESULT;
  bytes.set(json, 1);
  return bytes;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Aggregate}
 */
export function decodeResult(bytes) {
  expectKind(bytes, Kind.RESULT, 1);
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + 1, bytes.length - 1).toString());
}

/**
 * @param {Uint8Array} bytes
 * @param {number} kind
 * @param {number} leastBytes
 */
function expectKind(bytes, kind, leastBytes) {
  if (bytes[0] === kind && bytes.length >= leastBytes) return;
  const got = `${bytes.length} bytes of kind ${bytes[0]}`;
  throw new Error(`the aggregator answered with ${got} where kind ${kind} was due`);
}

/** @param {Uint8Array} bytes */
function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
