/** The conformance suite where the event loop is woken by a helper thread instead of libuv. */

import { setTimeout as sleep } from 'node:timers/promises';

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

test('[D26] [D28] what is due at a time needs no other wake-up', async (t) => {
  const sendRate = { messagesPerSecond: 5, messagesBurst: 1 };
  const pair = await openPair('tcp', { client: { sendRate } });
  t.teardown(() => closePair(pair));
  // By now the helper waits, for nothing in particular.
  await sleep(100);
  // The first passes at once. Nobody receives, so nobody wakes this thread.
  for (const text of ['now', 'later']) t.true(pair.client.trySend(text));
  t.true(pair.client.trySend('short', { ttlMs: 20 }), 'expires behind the other');
  const deadline = Date.now() + 10_000;
  const waits = (): boolean => {
    const { messagesQueued, messagesSent } = pair.client.stats();
    return messagesQueued > 0 || messagesSent < 2;
  };
  while (waits() && Date.now() < deadline) await sleep(20);
  t.false(waits());
  t.is(pair.client.stats().sendsExpired, 1);
});

conformance(', threadsafe function');
