// @ts-check
/** The command line. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { UsageError, parseOptions } from '../options.js';

test('without options everything is replayed in balanced mode', () => {
  assert.deepEqual(parseOptions([]), {
    rows: 3_000_000,
    wait: 'balanced',
    pings: 20_000,
    timeoutSeconds: 120,
    json: false,
    tamper: false,
    help: false,
  });
});

test('bad values and unknown options are usage errors', () => {
  const lines = ['--rows 0', '--rows 1e3', '--rows -5', '--pings x', '--wait never', '--fast', 'x'];
  for (const line of lines) assert.throws(() => parseOptions(line.split(' ')), UsageError, line);
});
