// @ts-check
/** The 16 bytes of a flight, and the messages that are not flights. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  createPing,
  decodeAck,
  decodePong,
  decodeResult,
  encodeAck,
  encodePong,
  encodeResult,
  stampPing,
} from '../control.js';
import { FlightAggregator } from '../aggregate.js';
import {
  FLIGHT_BYTES,
  airportName,
  readDelayMinutes,
  readDepartureSeconds,
  readDestination,
  readDistanceMiles,
  readOrigin,
  tamperWithFlight,
  writeFlight,
} from '../record.js';
import { threeFlights } from './columns.js';

test('[D56] a flight is these 16 bytes', () => {
  const bytes = new Uint8Array(FLIGHT_BYTES).fill(0xff);
  writeFlight(new DataView(bytes.buffer), 0, threeFlights(), 0);
  // LAS to PHL, 2001-01-01T00:01 = 978307260 s, 15 minutes late, 249 miles
  assert.equal(Buffer.from(bytes).toString('hex'), '014c415350484c00bcc84f3a0f00f900');
});

test('a flight is read back at an odd offset', () => {
  const view = new DataView(new ArrayBuffer(3 + FLIGHT_BYTES));
  writeFlight(view, 3, threeFlights(), 1);
  assert.equal(airportName(readOrigin(view, 3)), 'ABE');
  assert.equal(airportName(readDestination(view, 3)), 'LAS');
  assert.equal(readDepartureSeconds(view, 3), Date.UTC(2001, 5, 30, 23, 59) / 1000);
  assert.equal(readDelayMinutes(view, 3), -80);
  assert.equal(readDistanceMiles(view, 3), 250);
});

test('every airport code has its own number and back', () => {
  const view = new DataView(new ArrayBuffer(FLIGHT_BYTES));
  const numbers = ['AAA', 'AAZ', 'AZA', 'ZAA', 'ZZZ'].map((code) => {
    writeFlight(view, 0, { ...threeFlights(), origin: [code] }, 0);
    assert.equal(airportName(readOrigin(view, 0)), code);
    return readOrigin(view, 0);
  });
  assert.deepEqual(numbers, [0, 25, 25 * 26, 25 * 676, 26 ** 3 - 1]);
});

test('bytes that are no airport code are refused', () => {
  const view = new DataView(new ArrayBuffer(FLIGHT_BYTES));
  writeFlight(view, 0, threeFlights(), 0);
  for (const byte of [0, 0x40, 0x5b, 0xff]) {
    view.setUint8(2, byte);
    assert.throws(() => readOrigin(view, 0), RangeError);
  }
});

test('tampering changes the delay by one minute and nothing else', () => {
  const view = new DataView(new ArrayBuffer(FLIGHT_BYTES));
  writeFlight(view, 0, threeFlights(), 0);
  const before = new Uint8Array(view.buffer.slice(0));
  tamperWithFlight(view, 0);
  assert.equal(readDelayMinutes(view, 0), 16);
  const after = new Uint8Array(view.buffer);
  const changed = [...after.keys()].filter((i) => after[i] !== before[i]);
  assert.deepEqual(changed, [12]);
});

test('a pong tells how long the ping was under way', () => {
  const ping = createPing();
  stampPing(ping);
  const pong = encodePong(new DataView(ping.buffer), 0);
  const { oneWayNanos, roundTripNanos } = decodePong(pong);
  assert.ok(oneWayNanos >= 0 && oneWayNanos <= roundTripNanos);
});

test('acknowledgements and results come back as they were', () => {
  assert.equal(decodeAck(encodeAck(3_000_000)), 3_000_000);
  const aggregate = new FlightAggregator().result();
  assert.deepEqual(decodeResult(encodeResult(aggregate)), aggregate);
});

test('an answer of the wrong kind is refused', () => {
  assert.throws(() => decodePong(encodeAck(1)), /8 bytes of kind 5 where kind 3 was due/);
  assert.throws(() => decodeAck(new Uint8Array(0)), /0 bytes of kind undefined/);
});
