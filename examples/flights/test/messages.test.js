// @ts-check
/** The 16 bytes of a flight, the numbers of airports, and answers that are not due. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FlightAggregator } from '../aggregate.js';
import { airportCode, airportNumber } from '../airports.js';
import { expectReply, replyCodec, requestCodec } from '../messages.js';
import { fillFlight } from '../replay.js';
import { threeFlights } from './columns.js';

/** @param {number} row */
function flight(row) {
  const value = { origin: 0, destination: 0, departure: 0, delay: 0, distance: 0 };
  fillFlight(value, threeFlights(), row);
  return { kind: /** @type {const} */ ('Flight'), value };
}

test('[D56 T02] a flight is these 16 bytes', () => {
  // LAS = 7454 to PHL = 10333, 2001-01-01T00:01 = 978307260 s, 15 minutes late, 249 miles
  const bytes = Buffer.from(requestCodec.encode(flight(0)));
  assert.equal(bytes.toString('hex'), '00001e1d5d280000bcc84f3a0f00f900');
});

test('[T02] a flight is read where it lies, at any place in a batch', () => {
  const bytes = new Uint8Array(48);
  const size = requestCodec.encodeInto(flight(1), bytes, 16);
  assert.equal(size, 16);
  const request = requestCodec.view(bytes, 16, size);
  assert.ok(request.kind === 'Flight');
  const { origin, destination, departure, delay, distance } = request.value;
  assert.deepEqual([origin, destination].map(airportCode), ['ABE', 'LAS']);
  assert.equal(departure, Date.UTC(2001, 5, 30, 23, 59) / 1000);
  assert.deepEqual([delay, distance], [-80, 250]);
});

test('every airport code has its own number and back', () => {
  const codes = ['AAA', 'AAZ', 'AZA', 'ZAA', 'ZZZ'];
  const numbers = codes.map(airportNumber);
  assert.deepEqual(numbers, [0, 25, 25 * 26, 25 * 676, 26 ** 3 - 1]);
  assert.deepEqual(numbers.map(airportCode), codes);
});

test('[T18] a result comes back as it was, maps included', () => {
  const aggregator = new FlightAggregator();
  for (let row = 0; row < 3; row += 1) aggregator.add(flight(row).value);
  const aggregate = aggregator.result();
  const bytes = replyCodec.encode({ kind: 'Result', value: { aggregate } });
  replyCodec.validate(bytes);
  const result = expectReply(replyCodec.decode(bytes), 'Result');
  assert.deepEqual(result.aggregate.origin, new Map([...aggregate.origin].sort()));
  assert.equal(result.aggregate.flights, 3);
});

test('an answer of the wrong kind is refused', () => {
  const reply = /** @type {const} */ ({ kind: 'Ack', value: { flights: 1 } });
  assert.equal(expectReply(reply, 'Ack').flights, 1);
  assert.throws(() => expectReply(reply, 'Pong'), /answered Ack where Pong was due/);
});
