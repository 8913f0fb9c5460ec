// @ts-check
/** The aggregation of flights, against known values and against the direct computation. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FlightAggregator } from '../aggregate.js';
import { fillFlight } from '../replay.js';
import { DirectComputation, MismatchError, countValues, findDifferences } from '../verify.js';
import { threeFlights } from './columns.js';

const EXPECTED = {
  flights: 3,
  origin: cells({
    ABE: { flights: 1, sum: -80, max: -80, late: 0 },
    LAS: { flights: 2, sum: 31, max: 16, late: 1 },
  }),
  destination: cells({
    LAS: { flights: 1, sum: -80, max: -80, late: 0 },
    PHL: { flights: 1, sum: 15, max: 15, late: 0 },
    ZZZ: { flights: 1, sum: 16, max: 16, late: 1 },
  }),
  hour: cells({
    '00:00': { flights: 1, sum: 15, max: 15, late: 0 },
    '23:00': { flights: 2, sum: -64, max: 16, late: 1 },
  }),
  distance: cells({
    'under 250 mi': { flights: 1, sum: 15, max: 15, late: 0 },
    '250–499 mi': { flights: 1, sum: -80, max: -80, late: 0 },
    '2000 mi and more': { flights: 1, sum: 16, max: 16, late: 1 },
  }),
};

test('flights are grouped by airport, hour and distance', () => {
  assert.deepEqual(aggregate().result(), EXPECTED);
});

test('the direct computation of the columns gives the same', () => {
  assert.deepEqual(compute(), EXPECTED);
  assert.deepEqual(findDifferences(compute(), aggregate().result()), []);
  assert.equal(countValues(compute()), 1 + 10 * 4);
});

test('one falsified flight shows in every grouping it belongs to', () => {
  const differences = findDifferences(compute(), aggregate({ tamperedRow: 1 }).result());
  assert.deepEqual(differences, [
    'origin ABE sum: expected -80, got -79',
    'origin ABE max: expected -80, got -79',
    'destination LAS sum: expected -80, got -79',
    'destination LAS max: expected -80, got -79',
    'hour 23:00 sum: expected -64, got -63',
    'distance 250–499 mi sum: expected -80, got -79',
    'distance 250–499 mi max: expected -80, got -79',
  ]);
});

test('an airport that is none is refused', () => {
  const flight = { origin: 26 ** 3, destination: 0, departure: 0, delay: 0, distance: 0 };
  assert.throws(() => new FlightAggregator().add(flight), RangeError);
});

test('a missing flight, a missing cell and a foreign cell are differences', () => {
  const actual = structuredClone(EXPECTED);
  actual.flights = 2;
  actual.hour.delete('00:00');
  actual.distance.set('no band', { flights: 1, sum: 0, max: 0, late: 0 });
  const differences = findDifferences(EXPECTED, actual);
  assert.equal(differences.length, 1 + 4 + 4);
  assert.equal(differences[0], 'flights: expected 3, got 2');
  assert.equal(differences[1], 'hour 00:00 flights: expected 1, got none');
  assert.equal(differences[5], 'distance no band flights: expected none, got 1');
});

test('a mismatch names the first ten differences and counts the rest', () => {
  const { message } = new MismatchError(Array.from({ length: 12 }, (_, i) => `value ${i}`));
  assert.match(message, /in 12 values:\n {2}value 0\n/);
  assert.match(message, /value 9\n {2}and 2 more$/);
});

/** @param {{ tamperedRow?: number }} [options] */
function aggregate({ tamperedRow } = {}) {
  const columns = threeFlights();
  const flight = { origin: 0, destination: 0, departure: 0, delay: 0, distance: 0 };
  const aggregator = new FlightAggregator();
  for (let row = 0; row < columns.length; row += 1) {
    fillFlight(flight, columns, row);
    if (row === tamperedRow) flight.delay += 1;
    aggregator.add(flight);
  }
  return aggregator;
}

function compute() {
  const direct = new DirectComputation();
  direct.add(threeFlights());
  return direct.result();
}

/** @param {Record<string, import('../aggregate.js').Cell>} object */
function cells(object) {
  return new Map(Object.entries(object));
}
