/** The conformance suite where the event loop is woken by a helper thread instead of libuv. */

import test from 'ava';

// Read when the first pipe of the thread is opened.
process.env['BUSBAR_WAKE'] = 'tsfn';

const { conformance } = await import('./helpers/conformance.js');
const { openPair, closePair } = await import('./helpers/pairs.js');
const { metrics } = await import('../index.js');

test('[D44] BUSBAR_WAKE=tsfn chooses the threadsafe function', async (t) => {
  await closePair(await openPair('shm'));
  t.is(metrics().wakeKind, 'threadsafe-function');
});

conformance(', threadsafe function');
