/** The sum that `npm test` prints is the sum of what its runners said. */

import test from 'ava';

import { COUNTERS } from '../scripts/counters.mjs';

test('cargo: the results of all test binaries are added up', (t) => {
  const output = [
    'test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0s',
    'test talks of a test result: ok. 9 passed; 9 failed;',
    'test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out',
  ].join('\n');
  t.deepEqual(COUNTERS.cargo(output, 1), { passed: 7, failed: 2 });
});

test('TAP: the closing lines count, not the points', (t) => {
  const output = 'ok 1 - a\nok 2 - # pass 9\n1..3\n# tests 3\n# pass 2\n# fail 1\n';
  t.deepEqual(COUNTERS.tap(output, 1), { passed: 2, failed: 1, skipped: 0 });
});

test('a runner that printed no result passed nothing', (t) => {
  t.deepEqual(COUNTERS.cargo('error: could not compile', 101), { passed: 0, failed: 0 });
  t.deepEqual(COUNTERS.tap('', 0), { passed: 0, failed: 0, skipped: 0 });
});

test('a check counts by its exit status', (t) => {
  t.deepEqual(COUNTERS.check('whatever', 0), { passed: 1, failed: 0 });
  t.deepEqual(COUNTERS.check('1 passed', 1), { passed: 0, failed: 1 });
});
