/** A slow reader: senders wait, are refused or are told, and nothing is lost or unbounded. */

import test from 'ava';

import type { Pipe } from '../index.js';
import { pattern } from './helpers/data.js';
import { isStream, pairOf, SCHEMES, stuff } from './helpers/pairs.js';

const SMALLEST = { ringBytes: 65_536, slabBytes: 65_536, queueMessages: 8 };

for (const scheme of SCHEMES) {
  test(`[D25 I26] ${scheme}: send() waits for a slow reader, and nothing is lost`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: SMALLEST });
    const [held, produced] = [isStream(scheme) ? 1500 : 400, 3000];
    let sent = 0;
    const sending = (async () => {
      for (; sent < produced; sent++) await client.send(pattern(sent % 2000, sent));
      await client.close();
    })();
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 2));
    t.true(sent < held, `${sent} messages were accepted and nobody reads`);
    let count = 0;
    for await (const message of server) {
      if (!message.equals(pattern(count % 2000, count))) t.fail(`message ${count} has changed`);
      count++;
      if (count % 200 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await sending;
    t.is(count, produced);
  });

  test(`[D46 D49] ${scheme}: loops that never wait leave the event loop its turns`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: { queueMessages: 0 } });
    const reading = (async () => {
      for await (const message of server) if (String(message) === 'last') break;
    })();
    let fired = false;
    setTimeout(() => (fired = true), 1);
    while (!fired) await client.send('first');
    fired = false;
    setTimeout(() => (fired = true), 1);
    while (!fired) await client.sendBatch(['several', 'more']);
    await client.send('last');
    await reading;
    fired = false;
    setTimeout(() => (fired = true), 1);
    while (!fired) {
      client.trySend('there already');
      client.flush();
      t.is(String(await server.receive()), 'there already');
    }
  });

  test(`[D25 I26] ${scheme}: trySend() says false while there is no room`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: SMALLEST });
    const accepted = fill(client, 1000);
    t.true(accepted > 0);
    t.false(client.trySend(pattern(1000, 1)));
    t.false(client.trySend(pattern(50_000, 1)));
    t.false(client.trySend('text'));
    for (let i = 0; i < accepted; i++) t.is((await server.receive()).length, 1000);
    while (!client.trySend('again')) await new Promise(setImmediate);
    t.is(String(await server.receive()), 'again');
  });

  test(`[D25 I26] ${scheme}: maxPendingSends bounds what waits, by ERR_AGAIN`, async (t) => {
    for (const maxPendingSends of [0, 1, 10]) {
      const both = { ...SMALLEST, maxPendingSends };
      const { client, server } = await pairOf(t, scheme, { both });
      const accepted = fill(client, 1000);
      const waiting = Array.from({ length: maxPendingSends }, (_, i) => {
        return client.send(`waits ${i}`);
      });
      const error = await t.throwsAsync(client.send('one more'), { code: 'ERR_AGAIN' });
      t.like(error, { retryable: true });
      t.is(client.stats().messagesQueued >= maxPendingSends, true);
      for (let i = 0; i < accepted; i++) await server.receive();
      for (let i = 0; i < waiting.length; i++) t.is(String(await server.receive()), `waits ${i}`);
      await Promise.all(waiting);
      await client.send('goes on').catch(() => client.send('goes on'));
      t.is(String(await server.receive()), 'goes on');
    }
  });

  test(`[D25 I26] ${scheme}: a batch may always wait alone`, async (t) => {
    const both = { ...SMALLEST, maxPendingSends: 10 };
    const { client, server } = await pairOf(t, scheme, { both });
    const batch = Array.from({ length: 1000 }, (_, i) => pattern(900, i));
    const sending = client.sendBatch(batch);
    await t.throwsAsync(client.sendBatch(['a', 'b']), { code: 'ERR_AGAIN' });
    for (let i = 0; i < batch.length; i++) {
      t.true((await server.receive()).equals(batch[i] as Buffer));
    }
    await sending;
  });

  test(`[D25] ${scheme}: waiting sends go out in the order of the calls`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: SMALLEST });
    const accepted = fill(client, 1000);
    const reservation = client.reserve(3000);
    reservation.bytes.fill('r');
    const sends = [
      client.send('1'),
      client.send(pattern(100_000, 2)),
      client.sendBatch(['3', pattern(2000, 4), '5']),
      reservation.commit(),
      client.send('7'),
    ];
    for (let i = 0; i < accepted; i++) await server.receive();
    const lengths = [];
    for (let i = 0; i < 7; i++) lengths.push((await server.receive()).length);
    t.deepEqual(lengths, [1, 100_000, 1, 2000, 1, 3000, 1]);
    await Promise.all(sends);
  });

  test(`[D25] ${scheme}: a full pipe does not hold up another`, async (t) => {
    const [full, free] = [await pairOf(t, scheme, { both: SMALLEST }), await pairOf(t, scheme)];
    await stuff(full.client);
    const waiting = full.client.send('waits');
    for (let i = 0; i < 500; i++) {
      await free.client.send(`${i}`);
      t.is(String(await free.server.receive()), `${i}`);
    }
    await full.client.close({ lingerMs: 0 });
    await t.throwsAsync(waiting, { code: 'ERR_CLOSED' });
  });

  test(`[D08] ${scheme}: at most 1,024 calls wait for messages`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const waiting = Array.from({ length: 1024 }, () => server.receive());
    await t.throwsAsync(server.receive(), { code: 'ERR_AGAIN' });
    await client.sendBatch(Array.from({ length: 1024 }, (_, i) => `${i}`));
    t.is(String((await Promise.all(waiting)).at(-1)), '1023');
  });
}

test('[I11 I26] inproc: queueMessages is the number of messages in flight', async (t) => {
  const both = { queueMessages: 5, maxPendingSends: 0 };
  const { client, server } = await pairOf(t, 'inproc', { both });
  let accepted = 0;
  for (; client.trySend('x'); accepted++) client.flush();
  t.is(client.stats().messagesSent, 5);
  for (let i = 0; i < 5; i++) await server.receive();
  t.true(accepted >= 5);
});

test('[I26] inproc: a queue can be unbounded', async (t) => {
  const { client, server } = await pairOf(t, 'inproc', { both: { queueMessages: 0 } });
  for (let i = 0; i < 50_000; i++) if (!client.trySend(SMALL)) t.fail(`message ${i} was refused`);
  await client.close();
  let count = 0;
  await server.consume((batch) => void (count += batch.length));
  t.is(count, 50_000);
});

const SMALL = Buffer.from('small');

/** Sends until the transport is full; returns how many messages it took. */
function fill(pipe: Pipe, size: number): number {
  let count = 0;
  for (; pipe.trySend(pattern(size, count)); count++) pipe.flush();
  return count;
}

test('[D25] shm: trySend() of what cannot go out at once says so; send() sends it', async (t) => {
  const both = { ringBytes: 65_536, slabBytes: 0 };
  const { client, server } = await pairOf(t, 'shm', { both });
  const large = pattern(200_000, 1);
  const expected = { code: 'ERR_MESSAGE_TOO_LARGE', message: /cannot go out at once/ };
  const received = [server.receive(), server.receive()];
  t.throws(() => client.trySend(large), expected);
  await client.send('small');
  t.is(String(await received[0]), 'small');
  const reservation = client.reserve(large.length);
  large.copy(reservation.bytes);
  t.throws(() => reservation.tryCommit(), expected);
  await client.send(large);
  t.true((await received[1])?.equals(large));
});
