/** The conformance suite over io_uring, where it is there. */

import test from 'ava';

import { backend, BusbarError, configure } from '../index.js';
import { conformance } from './helpers/conformance.js';

configure({ backend: 'uring' });

if (works()) {
  test('[D48 D50] backend() says what was chosen', (t) => {
    t.is(backend(), 'uring');
    t.notThrows(() => configure({ backend: 'uring' }));
    t.throws(() => configure({ backend: 'poll' }), { code: 'ERR_INVALID_STATE' });
  });

  conformance(', io_uring');
  conformance(", io_uring, wait 'low-latency'", { wait: 'low-latency', spinMicros: 20 });
} else {
  test('[D50] choosing what does not work here is an error', (t) => {
    const error = t.throws(() => backend(), { code: 'ERR_NOT_SUPPORTED' });
    t.regex(error?.message ?? '', /io_uring does not work here/);
  });
}

function works(): boolean {
  try {
    return backend() === 'uring';
  } catch (error) {
    if (error instanceof BusbarError && error.code === 'ERR_NOT_SUPPORTED') return false;
    throw error;
  }
}
