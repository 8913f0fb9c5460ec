/** The end of a pipe, over a fake core: lingering, reasons, events, and close during every call. */

import test from 'ava';

import { setLogger, type LogEntry } from '../lib/logger.js';
import type { Pipe } from '../lib/pipe.js';
import type { CloseReason } from '../lib/state.js';
import { bench } from './helpers/fake-port.js';

test('[D21] close() hands over what was accepted, then says goodbye', async (t) => {
  const { fake, client, server } = bench();
  client.trySend('last words');
  await client.close({ reason: { status: 42, text: 'bye' } });
  t.like(client.reason, { code: 'ERR_CLOSED', status: 42, text: 'bye', clean: true, local: true });
  await fake.settle();
  t.is(String(await server.receive()), 'last words');
  t.like(server.reason, { code: 'ERR_CLOSED', status: 42, text: 'bye', clean: true, local: false });
});

test('[D21] close() lingers while the peer is slow', async (t) => {
  const { fake, client, server } = bench({ ringBytes: 64, slabMessages: 1 });
  const texts = Array.from({ length: 50 }, (_, i) => `${i}`.padEnd(i % 10 === 0 ? 2000 : 10));
  const sends = texts.map((text) => client.send(text));
  const closing = client.close();
  t.throws(() => client.trySend('too late'), { code: 'ERR_CLOSED' });
  const got: string[] = [];
  const done = server.consume((batch) => {
    for (const message of batch) got.push(String(message));
  });
  await fake.settle();
  await Promise.all([...sends, closing, done]);
  t.deepEqual(got, texts);
});

test('[D21] lingering is bounded, and a second close() can cut it short', async (t) => {
  for (const cut of [false, true]) {
    const { client } = bench({ slabMessages: 0 });
    const waiting = client.send(Buffer.alloc(5000));
    const refused = t.throwsAsync(waiting, { code: 'ERR_CLOSED' });
    const closing = client.close({ lingerMs: cut ? 60_000 : 10 });
    if (cut) void client.close({ lingerMs: 0 });
    t.is(client.close(), closing, 'one promise for all');
    await Promise.all([closing, refused]);
    t.is(client.state, 'CLOSED');
  }
});

test.serial('[D21] lingering goes by a clock that nobody sets', async (t) => {
  const { fake, client, server } = bench({ ringBytes: 64, slabMessages: 1 });
  const texts = Array.from({ length: 50 }, (_, i) => `${i}`.padEnd(i % 10 === 0 ? 2000 : 10));
  const sends = texts.map((text) => client.send(text));
  const closing = client.close({ lingerMs: 600_000 });
  const { now } = Date;
  t.teardown(() => (Date.now = now));
  Date.now = () => now() + 86_400_000;
  const done = server.consume(() => {});
  await fake.settle();
  await Promise.all([...sends, closing, done]);
  t.true((fake.closed[0]?.lingerMs ?? 0) > 0, 'the time for what is still on its way');
});

test('[D21] a peer that goes away ends the lingering', async (t) => {
  const { fake, client, server } = bench({ slabMessages: 0 });
  const refused = t.throwsAsync(client.send(Buffer.alloc(5000)), { code: 'ERR_CLOSED' });
  const closing = client.close();
  await server.close({ reason: 'me first' });
  await fake.settle();
  await Promise.all([closing, refused]);
  t.is(fake.closed.length, 2);
});

test('[D08] close() during each call ends it with ERR_CLOSED; iterators just end', async (t) => {
  const closed = { code: 'ERR_CLOSED', message: /closed by this side/ };
  const failing: ((pipe: Pipe) => Promise<unknown>)[] = [
    (pipe) => pipe.receive(),
    (pipe) => pipe.receiveBatch(),
    (pipe) => pipe.borrow({ timeoutMs: 60_000 }),
  ];
  for (const call of failing) {
    const { client } = bench();
    const failed = t.throwsAsync(call(client), closed);
    await client.close();
    await failed;
  }
  const { client } = bench();
  const next = client[Symbol.asyncIterator]().next();
  const batch = client.batches().next();
  await client.close();
  t.true((await next).done);
  t.true((await batch).done);
  const other = bench().client;
  const consumed = other.consume(() => {});
  await other.close();
  await t.notThrowsAsync(consumed);
  await t.throwsAsync(other.send('x'), closed);
  await t.throwsAsync(other.receive(), closed);
  t.true((await other[Symbol.asyncIterator]().next()).done);
});

test('[D08] close() inside a consumer’s callback ends consuming after that batch', async (t) => {
  const { fake, client, server } = bench();
  let calls = 0;
  const done = server.consume((batch) => {
    calls++;
    void server.close();
    t.is(String(batch.at(0)), 'a');
  });
  client.trySend('a');
  client.flush();
  fake.turn();
  client.trySend('b');
  await done;
  await fake.settle();
  t.is(calls, 1);
  t.is(client.state, 'CLOSED');
});

test('[D12 D17] events tell the state, the failure and the reason, once each', async (t) => {
  const { fake, client, server, clientHandle } = bench();
  const told = [client, server].map((pipe) => {
    const events: unknown[] = [];
    pipe.on('state', (state, previous, reason) => events.push([state, previous, reason?.code]));
    pipe.on('error', ({ code }) => events.push(code));
    pipe.on('close', ({ code }) => events.push(['close', code]));
    return events;
  });
  fake.lose(clientHandle);
  await server.close();
  await fake.settle();
  await client.close();
  t.deepEqual(told[0], [
    ['CLOSED', 'CONNECTED', 'ERR_CONNECTION_LOST'],
    'ERR_CONNECTION_LOST',
    ['close', 'ERR_CONNECTION_LOST'],
  ]);
  t.deepEqual(told[1], [
    ['CLOSED', 'CONNECTED', 'ERR_CLOSED'],
    ['close', 'ERR_CLOSED'],
  ]);
});

test.serial('[D11 D17] a failure that nobody listens for is logged', async (t) => {
  const entries: LogEntry[] = [];
  setLogger((entry) => entries.push(entry));
  const { fake, clientHandle } = bench();
  fake.lose(clientHandle);
  await fake.settle();
  setLogger(null);
  t.like(entries, [{ level: 'warn', code: 'ERR_CONNECTION_LOST', pipe: clientHandle }]);
});

test.serial('[D08] what a listener throws is uncaught, and the pipe goes on', async (t) => {
  const { fake, client, server } = bench();
  const uncaught = new Promise((resolve) => process.setUncaughtExceptionCaptureCallback(resolve));
  server.on('close', () => {
    throw new Error('from a listener');
  });
  await client.close();
  await fake.settle();
  t.is(((await uncaught) as Error).message, 'from a listener');
  process.setUncaughtExceptionCaptureCallback(null);
  t.is(server.state, 'CLOSED');
  await t.throwsAsync(server.receive(), { code: 'ERR_CLOSED' });
});

test('[D08] the event loop is kept alive while pipes are open, if wanted', async (t) => {
  const { fake, client, server } = bench();
  t.is(fake.refs.at(-1), 2);
  client.unref().unref();
  t.is(fake.refs.at(-1), 1);
  client.ref().ref();
  t.is(fake.refs.at(-1), 2);
  await client.close();
  t.is(fake.refs.at(-1), 1);
  await fake.settle();
  t.is(fake.refs.at(-1), 0);
  server.ref();
  t.is(fake.refs.at(-1), 0, 'a closed pipe keeps nothing alive');
});

test('[D22] the arguments of close() are checked', async (t) => {
  const { client } = bench();
  const wrong = (value: unknown): never => value as never;
  await t.throwsAsync(client.close({ lingerMs: -1 }), { message: /lingerMs is -1/ });
  await t.throwsAsync(client.close({ reason: wrong(7) }), { code: 'ERR_INVALID_ARGUMENT' });
  const status = 2 ** 32;
  await t.throwsAsync(client.close({ reason: { status } }), { message: /status is 4294967296/ });
  await t.throwsAsync(client.close({ reason: 'x'.repeat(1025) }), { message: /up to 1024 bytes/ });
  await t.throwsAsync(client.close(wrong(null)), { code: 'ERR_INVALID_ARGUMENT' });
  t.is(client.state, 'CONNECTED');
});

test('[D11] stats() and peer outlive the pipe', async (t) => {
  const { fake, client, server } = bench();
  await client.sendBatch(['ab', 'c']);
  await client.close();
  await fake.settle();
  t.like(client.stats(), { messagesSent: 2, bytesSent: 3, messagesQueued: 0 });
  t.is(client.peer?.pid, 4711);
  const reason: CloseReason | null = server.reason;
  t.true(reason?.clean);
});

test('[D08] await using closes', async (t) => {
  const { client } = bench();
  {
    await using pipe = client;
    t.is(pipe.state, 'CONNECTED');
  }
  t.is(client.state, 'CLOSED');
});
