/** What `npm test` prints at its end is what its runners said: the sum, and what failed. */

import test from 'ava';

import { COUNTERS, FAILURES } from '../scripts/counters.mjs';

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

test('cargo: failed tests are named, with what they printed', (t) => {
  const output = [
    'test a::works ... ok',
    'test a::breaks ... FAILED',
    'test b ... FAILED',
    '',
    'failures:',
    '',
    '---- a::breaks stdout ----',
    "thread 'a::breaks' panicked at src/lib.rs:7:9:",
    'left: 1',
    '',
    '---- b stdout ----',
    'no',
    '',
    'failures:',
    '    a::breaks',
    '    b',
  ].join('\n');
  t.deepEqual(FAILURES.cargo(output), [
    { title: 'a::breaks', said: "thread 'a::breaks' panicked at src/lib.rs:7:9:\nleft: 1\n" },
    { title: 'b', said: 'no\n' },
  ]);
});

test('TAP: failed tests are named, with what they said if they said anything', (t) => {
  const output = [
    'ok 1 - works',
    'not ok 2 - breaks',
    '  ---',
    '    message: no',
    '  ...',
    '# a comment',
    'not ok 3 - says nothing',
    'ok 4 - not ok 5 - is only a title',
  ].join('\n');
  t.deepEqual(FAILURES.tap(output), [
    { title: 'breaks', said: '    message: no' },
    { title: 'says nothing', said: '' },
  ]);
});
