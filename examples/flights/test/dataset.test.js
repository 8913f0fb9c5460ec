// @ts-check
/** The data set that vega-datasets installs is the one this example was written for. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FlightDataset } from '../dataset.js';

test('the file holds three million flights', async () => {
  const dataset = await FlightDataset.open();
  assert.equal(dataset.rows, 3_000_000);
});

test('a limit inside a row group cuts it, and the first flight is as published', async () => {
  const dataset = await FlightDataset.open();
  const groups = [];
  for await (const columns of dataset.rowGroups(1000)) groups.push(columns);
  assert.equal(groups.length, 1);
  const [first] = groups;
  assert.equal(first?.length, 1000);
  assert.equal(first?.origin.length, 1000);
  assert.equal(first?.departureMicros[0], Date.UTC(2001, 0, 1, 0, 1) * 1000);
  assert.equal(first?.delayMinutes[0], 33);
  assert.equal(first?.distanceMiles[0], 2176);
  assert.equal(`${first?.origin[0]} ${first?.destination[0]}`, 'LAS PHL');
});

test('a limit beyond one row group continues in the next', async () => {
  const dataset = await FlightDataset.open();
  const lengths = [];
  for await (const columns of dataset.rowGroups(272_730)) lengths.push(columns.length);
  assert.deepEqual(lengths, [272_727, 3]);
});

test('a file that is not there is an error', async () => {
  await assert.rejects(FlightDataset.open('no-such-file.parquet'), { code: 'ENOENT' });
});
