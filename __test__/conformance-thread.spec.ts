/** The conformance suite where an I/O thread reads and writes for the program. */

import test from 'ava';

import { configure, metrics } from '../index.js';
import { conformance } from './helpers/conformance.js';
import { closePair, openPair } from './helpers/pairs.js';

configure({ io: 'thread' });

test.before('[D23] configure() chooses the thread', async (t) => {
  await closePair(await openPair('tcp'));
  t.is(metrics().io, 'thread');
});

conformance(', I/O thread');
conformance(", I/O thread, wait 'low-latency'", { wait: 'low-latency', spinMicros: 20 });
