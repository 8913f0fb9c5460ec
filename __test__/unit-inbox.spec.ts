/** Receiving, over a fake core: grades, waits, batches and what follows the end of a pipe. */

import test from 'ava';

import { WAITERS_MAX } from '../lib/internal/inbox.js';
import { READABLE } from '../lib/internal/binding.js';
import type { Batch } from '../lib/batch.js';
import type { Loan } from '../lib/loan.js';
import type { Pipe } from '../lib/pipe.js';
import { bench, canDetachMarked, detach } from './helpers/fake-port.js';

const LARGE = 5000;

test('[D08] receive() waits, tryReceive() does not', async (t) => {
  const { fake, client, server } = bench();
  t.is(server.tryReceive(), null);
  const waiting = [server.receive(), server.receive()];
  client.trySend('a');
  client.trySend('b');
  client.trySend('c');
  await fake.settle();
  t.deepEqual((await Promise.all(waiting)).map(String), ['a', 'b']);
  t.is(String(server.tryReceive()), 'c');
  t.is(server.tryReceive(), null);
});

test('[D46] one native call fetches many messages for calls that want one', async (t) => {
  const { fake, client, server } = bench({ ringBytes: 1 << 20 });
  await client.sendBatch(Array.from({ length: 500 }, (_, i) => `${i}`));
  await fake.settle();
  for (let i = 0; i < 500; i++) t.is(String(await server.receive()), `${i}`);
  t.true((fake.calls['receive'] ?? 0) <= 4);
});

test('[D46] receiveBatch() gives what is there, up to a limit', async (t) => {
  const { fake, client, server } = bench({ ringBytes: 1 << 20 });
  const texts = Array.from({ length: 3000 }, (_, i) => `message ${i}`);
  await client.sendBatch(texts);
  await fake.settle();
  const first = await server.receiveBatch(10);
  t.is(first.length, 10);
  const rest: Buffer[] = [];
  while (rest.length < 2990) rest.push(...(await server.receiveBatch(5000)));
  t.deepEqual([...first, ...rest].map(String), texts);
  await t.throwsAsync(server.receiveBatch(0), { message: /max is 0/ });
});

test('[D43] owned messages stay as they are, small and large, mixed', async (t) => {
  const { fake, client, server } = bench({ ringBytes: 1 << 20, slabMessages: 1000 });
  const sent: Buffer[] = [];
  for (let i = 0; i < 400; i++) {
    sent.push(Buffer.alloc(i % 5 === 0 ? LARGE * (i % 10) + 2000 : i, i));
  }
  await client.sendBatch(sent);
  await fake.settle();
  // A reader that never waits is made to, now and then.
  const turning = setInterval(() => fake.turn(), 1);
  t.teardown(() => clearInterval(turning));
  const got: Buffer[] = [];
  for (let i = 0; i < 100; i++) got.push(await server.receive());
  while (got.length < 200) got.push(...(await server.receiveBatch(200 - got.length)));
  for await (const message of server) {
    got.push(message);
    if (got.length === 300) break;
  }
  for await (const batch of server.batches({ max: 7 })) {
    t.true(batch.length <= 7);
    got.push(...batch);
    if (got.length === 400) break;
  }
  t.true(sent.every((message, i) => message.equals(got[i] as Buffer)));
  t.true(got.every((message) => Buffer.isBuffer(message)));
});

test('[D08] a wait ends by its signal or its time limit', async (t) => {
  const { fake, client, server } = bench();
  const stop = new AbortController();
  const { signal } = stop;
  const waits = [
    server.receive({ signal }),
    server.receiveBatch(5, { signal }),
    server.borrow({ signal }),
    server[Symbol.asyncIterator]().next().then(String),
    server.batches({ signal }).next(),
  ];
  const timed = server.receive({ timeoutMs: 1 });
  stop.abort(new Error('enough'));
  for (const wait of waits.filter((_, i) => i !== 3)) {
    const error = await t.throwsAsync(wait as Promise<unknown>, { code: 'ABORT_ERR' });
    t.like(error?.cause, { message: 'enough' });
  }
  await t.throwsAsync(timed, { code: 'ERR_TIMED_OUT', message: /receive\(\).* 1 ms/ });
  await t.throwsAsync(server.receive({ signal }), { code: 'ABORT_ERR' });
  await t.throwsAsync(server.consume(() => {}, { signal }), { code: 'ABORT_ERR' });
  client.trySend('for the iterator, the only one left');
  await fake.settle();
  t.truthy(await waits[3]);
});

test('[D08] more waiting calls than the limit fail at once', async (t) => {
  const { fake, server, client } = bench();
  const waits = Array.from({ length: WAITERS_MAX }, () => server.receive());
  await t.throwsAsync(server.receive(), { code: 'ERR_AGAIN' });
  await client.close();
  const ends = Promise.allSettled(waits);
  await fake.settle();
  t.true((await ends).every(({ status }) => status === 'rejected'));
});

test('[D46] a consumer gets batches in place, with sizes, offsets and channels', async (t) => {
  const { fake, client, server } = bench();
  client.trySend('abc', { channel: 7 });
  client.trySend(Buffer.alloc(LARGE, 1), { channel: 65_534 });
  client.trySend('de');
  const seen: unknown[] = [];
  void server.consume((batch) => {
    for (let i = 0; i < batch.length; i++) {
      seen.push([batch.size(i), batch.channel(i), batch.at(i).length, batch.offset(i) >= 0]);
    }
    const text = batch.bytes.toString('utf8', batch.offset(2), batch.offset(2) + batch.size(2));
    seen.push(text, [...batch].map((message) => message.length));
    t.is(batch.at(1), batch.at(1), 'fetched once');
  });
  await fake.settle();
  t.deepEqual(seen, [
    [3, 7, 3, true],
    [LARGE, 65_534, LARGE, false],
    [2, 0, 2, true],
    'de',
    [3, LARGE, 2],
  ]);
  await server.close();
});

test('[D43] a batch is over when the callback returns', async (t) => {
  const { fake, client, server } = bench();
  client.trySend('abc');
  let kept: Batch | undefined;
  void server.consume((batch) => {
    kept = batch;
    const missing = { code: 'ERR_INVALID_ARGUMENT', message: /message 1 of a batch of 1/ };
    t.throws(() => batch.at(1), missing);
    t.throws(() => batch.at(-1), { code: 'ERR_INVALID_ARGUMENT' });
    t.throws(() => batch.size(0.5), { code: 'ERR_INVALID_ARGUMENT' });
  });
  await fake.settle();
  const batch = kept as Batch;
  const uses = [
    () => batch.length,
    () => batch.bytes,
    () => batch.at(0),
    () => batch.size(0),
    () => batch.offset(0),
    () => batch.channel(0),
    () => batch.take(0),
    () => [...batch],
  ];
  for (const use of uses) t.throws(use, { code: 'ERR_BATCH_EXPIRED' });
  await server.close();
});

test('[D43] large messages in a batch are given back when it ends, unless taken', async (t) => {
  const { fake, client, server } = bench({ slabMessages: 3 });
  for (let i = 1; i <= 3; i++) client.trySend(Buffer.alloc(40_000, i));
  client.trySend('small');
  const views: Buffer[] = [];
  const loans: Loan[] = [];
  void server.consume((batch) => {
    views.push(batch.at(0), batch.at(1));
    loans.push(batch.take(1), batch.take(2), batch.take(3));
  });
  await fake.settle();
  t.is(views[0]?.length, 0, 'detached');
  t.is(views[1]?.[0], 2);
  t.deepEqual(loans.map(({ bytes }) => bytes[0]), [2, 3, 's'.charCodeAt(0)]);
  t.is(fake.released.length, 1);
  for (const loan of loans) loan.release();
  t.is(fake.released.length, 3);
  t.is(views[1]?.length, 0);
  t.throws(() => loans[0]?.bytes, { code: 'ERR_LOAN_EXPIRED' });
  await server.close();
});

test('[D46] receiving from another pipe inside a callback leaves the batch intact', async (t) => {
  const { fake, port, client, server } = bench({ slabMessages: 2 });
  client.trySend('small');
  client.trySend(Buffer.alloc(40_000, 9));
  server.trySend('other');
  const seen: string[] = [];
  void server.consume((batch) => {
    seen.push(String(client.tryReceive()));
    seen.push(batch.at(0).toString(), String(batch.at(1)[39_999]), String(batch.length));
  });
  await fake.settle();
  t.deepEqual(seen, ['other', 'small', '9', '2']);
  t.is(port.active, null);
  await server.close();
});

test('[D08] what a callback throws ends consuming and leaves the pipe usable', async (t) => {
  const { fake, client, server } = bench();
  const done = server.consume(() => {
    throw new Error('mine');
  });
  client.trySend('lost');
  const failed = t.throwsAsync(done, { message: 'mine' });
  await fake.settle();
  await failed;
  client.trySend('next');
  await fake.settle();
  t.is(String(await server.receive()), 'next');
});

test('[D08] an asynchronous callback is refused, whatever becomes of its promise', async (t) => {
  const { fake, client, server } = bench();
  const failed = t.throwsAsync(
    server.consume(async (batch) => {
      await Promise.resolve();
      batch.at(0);
    }),
    { code: 'ERR_INVALID_ARGUMENT', message: /batches\(\)/ },
  );
  client.trySend('x');
  await fake.settle();
  await failed;
});

test('[D08] there is one consumer, and no other reader beside it', async (t) => {
  const { server } = bench();
  const busy = { code: 'ERR_INVALID_ARGUMENT', message: /consume\(\)/ };
  const waiting = t.throwsAsync(server.receive(), { code: 'ERR_CLOSED' });
  await t.throwsAsync(server.consume(() => {}), busy);
  await server.close();
  await waiting;
  const other = bench().server;
  const done = other.consume(() => {});
  await t.throwsAsync(other.consume(() => {}), busy);
  await t.throwsAsync(other.receive(), busy);
  await t.throwsAsync(other.borrow(), busy);
  await t.throwsAsync(other.batches().next(), busy);
  t.throws(() => other.tryReceive(), busy);
  await other.close();
  await done;
});

test('[D46] consuming begins with what was fetched for receive()', async (t) => {
  const { fake, client, server } = bench({ slabMessages: 4 });
  client.trySend('a');
  client.trySend('b', { channel: 3 });
  client.trySend(Buffer.alloc(LARGE, 'c'), { channel: 4 });
  client.flush();
  t.is(String(await server.receive()), 'a');
  client.trySend('d');
  const seen: string[] = [];
  void server.consume((batch) => {
    for (let i = 0; i < batch.length; i++) {
      seen.push(`${String(batch.at(i)).slice(0, 1)}${batch.channel(i)}`);
    }
  });
  t.deepEqual(seen, [], 'never called from within consume()');
  await fake.settle();
  t.deepEqual(seen, ['b3', 'c4', 'd0']);
  await server.close();
});

test('[D43] borrow() lends large messages in place and copies small ones', async (t) => {
  const { fake, client, server } = bench();
  client.trySend(Buffer.alloc(LARGE, 5), { channel: 2 });
  client.trySend('small');
  await fake.settle();
  const large = await server.borrow();
  const view = large.bytes;
  t.deepEqual([view.length, view[0], large.channel], [LARGE, 5, 2]);
  large.release();
  large[Symbol.dispose]();
  t.is(view.length, 0);
  t.is(fake.released.length, 1);
  const small = await server.borrow();
  t.is(String(small.bytes), 'small');
  small.release();
  t.is(fake.released.length, 1);
});

test('[D08] memory of messages that a user took away is an error, then replaced', async (t) => {
  const { fake, client, server } = bench();
  await client.sendBatch(['a', 'b', 'c']);
  await fake.settle();
  const first = await server.receive();
  const transfer = [first.buffer as ArrayBuffer];
  // Node 20 copies what must not be transferred, later versions throw.
  t.notThrows(() => {
    try {
      structuredClone(first, { transfer });
    } catch (error) {
      t.is((error as Error).name, 'DataCloneError');
    }
  });
  t.is(String(first), 'a', 'its memory is shared with other messages');
  if (!canDetachMarked) return;
  detach(first.buffer);
  await t.throwsAsync(server.receive(), { code: 'ERR_BUFFER_DETACHED' });
  await t.throwsAsync(server.receive(), { code: 'ERR_BUFFER_DETACHED' });
  client.trySend('d');
  await fake.settle();
  t.is(String(await server.receive()), 'd');
  let detached = false;
  const seen: string[] = [];
  void server.consume((batch) => {
    if (!detached) {
      detached = true;
      detach(batch.bytes.buffer);
      t.throws(() => batch.at(0), { code: 'ERR_BUFFER_DETACHED' });
    } else seen.push(String(batch.at(0)));
  });
  client.trySend('e');
  await fake.settle();
  client.trySend('f');
  await fake.settle();
  t.deepEqual(seen, ['f']);
  await server.close();
});

test('[D44] readiness is asked for while somebody waits, and given up lazily', async (t) => {
  const { fake, client, server } = bench();
  t.deepEqual(fake.interests, []);
  const first = server.receive();
  t.deepEqual(fake.interests, [READABLE]);
  client.trySend('a');
  await fake.settle();
  await first;
  const second = server.receive();
  client.trySend('b');
  await fake.settle();
  await second;
  t.deepEqual(fake.interests, [READABLE], 'still wanted: nothing has come in vain');
  client.trySend('c');
  await fake.settle();
  t.deepEqual(fake.interests, [READABLE, 0]);
});

test('[D08] return() ends a pending next() and leaves the pipe open', async (t) => {
  const { fake, client, server } = bench();
  const iterator = server[Symbol.asyncIterator]();
  const pending = iterator.next();
  t.deepEqual(await iterator.return?.(), { done: true, value: undefined });
  t.deepEqual(await pending, { done: true, value: undefined });
  t.deepEqual(await iterator.next(), { done: true, value: undefined });
  client.trySend('still there');
  await fake.settle();
  t.is(String(await server.receive()), 'still there');
});

test('[D21 D22] after an orderly close what had arrived comes first, then the end', async (t) => {
  for (const read of readers) {
    const { fake, client, server } = bench({ ringBytes: 1 << 16 });
    const texts = Array.from({ length: 1000 }, (_, i) => `${i}`);
    await client.sendBatch(texts);
    await client.close({ reason: 'done' });
    const [got] = await Promise.all([read(server), fake.settle()]);
    t.deepEqual(got, texts);
    await t.throwsAsync(server.receive(), { code: 'ERR_CLOSED', message: /done/ });
    t.throws(() => server.tryReceive(), { code: 'ERR_CLOSED' });
  }
});

test('[D08] after a failure what had arrived comes first, then the failure', async (t) => {
  for (const read of readers) {
    const { fake, client, server, serverHandle } = bench();
    server.on('error', () => {});
    await client.sendBatch(['a', 'b']);
    await fake.settle();
    fake.lose(serverHandle);
    const got: string[] = [];
    const failed = t.throwsAsync(read(server, got), { code: 'ERR_CONNECTION_LOST' });
    await fake.settle();
    await failed;
    t.deepEqual(got, ['a', 'b']);
  }
});

test('[D39] a pipe that was closed gives its handle back, whoever has yet to read', async (t) => {
  const { fake, client, server, serverHandle } = bench();
  await client.sendBatch(['a', 'b']);
  await client.close();
  await fake.settle();
  t.is(server.state, 'CLOSED');
  t.true(fake.closed.some(({ handle }) => handle === serverHandle));
  t.deepEqual((await server.receiveBatch()).map(String), ['a', 'b']);
  await t.throwsAsync(server.receive(), { code: 'ERR_CLOSED' });
  t.is(server.stats().messagesReceived, 2);
});

/** Every way to read a pipe to its end, as texts. */
const readers: ((pipe: Pipe, got?: string[]) => Promise<string[]>)[] = [
  async (pipe, got = []) => {
    for await (const message of pipe) got.push(String(message));
    return got;
  },
  async (pipe, got = []) => {
    for await (const batch of pipe.batches()) got.push(...batch.map(String));
    return got;
  },
  async (pipe, got = []) => {
    await pipe.consume((batch) => {
      for (const message of batch) got.push(String(message));
    });
    return got;
  },
];
