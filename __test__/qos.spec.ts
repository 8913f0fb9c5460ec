/** Queues with marks, policies, times to live, priorities and rates, on every scheme. */

import test, { type ExecutionContext } from 'ava';

import type { Backpressure, Codec, PipeOptions } from '../index.js';
import { dial } from './helpers/ends.js';
import { pairOf, SCHEMES, stuff, type Pair, type Scheme } from './helpers/pairs.js';

const SMALLEST = { ringBytes: 65_536, slabBytes: 65_536, queueMessages: 8 };

/** A pair whose client's transport is full, so that what it sends waits. */
async function fullPair(
  t: ExecutionContext<unknown>,
  scheme: Scheme,
  options: PipeOptions,
): Promise<Pair & { stuffed: number }> {
  const client = { ...SMALLEST, sendHighWaterMarkMessages: 10, ...options };
  const pair = await pairOf(t, scheme, { client, server: SMALLEST });
  await stuff(pair.client);
  return { ...pair, stuffed: pair.client.stats().messagesSent };
}

/** As large as what has filled the transport, so that it does not slip past. */
const padded = (text: string): string => text.padEnd(1000);

/** Receives everything, to the end. */
async function receiveAll({ client, server }: Pair): Promise<string[]> {
  const closing = client.close();
  const all: string[] = [];
  await server.consume((batch) => {
    for (const message of batch) all.push(message[0] === 0 ? 'stuff' : String(message).trim());
  });
  await closing;
  return all.filter((message) => message !== 'stuff');
}

const WORDS: Codec<string> = {
  name: 'spec.Word',
  hash: 7n,
  descriptor: '{}',
  encode: (word) => Buffer.from(word),
  encodeInto: (word, target, offset) =>
    new TextEncoder().encodeInto(word, target.subarray(offset)).written,
  decode: (bytes) => String(Buffer.from(bytes)),
};

const numbers = (from: number, to: number): string[] => {
  return Array.from({ length: to - from }, (_, i) => `${from + i}`);
};

for (const scheme of SCHEMES) {
  test(`[D24 I26] ${scheme}: exactly as many messages wait as the mark says`, async (t) => {
    for (const sendHighWaterMarkMessages of [1, 10]) {
      const pair = await fullPair(t, scheme, { sendHighWaterMarkMessages });
      t.is(pair.client.stats().messagesQueued, sendHighWaterMarkMessages);
      t.false(pair.client.trySend('one more'));
      const waiting = pair.client.send('waits');
      t.is(pair.client.stats().messagesQueued, sendHighWaterMarkMessages + 1);
      t.deepEqual(await receiveAll(pair), ['waits']);
      await waiting;
    }
  });

  test(`[D24 I26] ${scheme}: exactly as many bytes wait as the mark says`, async (t) => {
    const marks = { sendHighWaterMarkMessages: 0, sendHighWaterMarkBytes: 5000 };
    const { client } = await fullPair(t, scheme, marks);
    t.is(client.stats().bytesQueued, 5000);
    t.false(client.trySend('x'));
    t.true(client.trySend(''), 'nothing more than the mark');
  });

  test(`[D24] ${scheme}: a mark of 0 is no limit`, async (t) => {
    const marks = { sendHighWaterMarkMessages: 0, sendHighWaterMarkBytes: 0 };
    const pair = await pairOf(t, scheme, { client: { ...SMALLEST, ...marks }, server: SMALLEST });
    for (let i = 0; i < 20_000; i++) if (!pair.client.trySend(`${i}`)) t.fail(`${i} was refused`);
    t.deepEqual(await receiveAll(pair), numbers(0, 20_000));
  });

  test(`[D25 I26] ${scheme}: each policy delivers what it says, and counts the rest`, async (t) => {
    const table: [Backpressure, string[], object][] = [
      ['drop-new', numbers(0, 10), { sendsDroppedNew: 20, sendsDroppedOld: 0 }],
      ['drop-old', numbers(20, 30), { sendsDroppedNew: 0, sendsDroppedOld: 20 }],
      ['fail-fast', numbers(0, 10), { sendsDroppedNew: 0, sendsDroppedOld: 0 }],
      ['block', numbers(0, 30), { sendsDroppedNew: 0, sendsDroppedOld: 0 }],
    ];
    for (const [backpressure, delivered, counters] of table) {
      for (const own of [false, true]) {
        // What fills the transport is on a channel of its own.
        const options = { channels: { 1: own ? {} : { backpressure } } };
        const pair = await fullPair(t, scheme, options);
        const terms = own ? { channel: 1, backpressure } : { channel: 1 };
        const sends = numbers(0, 30).map((text) => pair.client.send(padded(text), terms));
        if (backpressure === 'fail-fast') {
          const failed = await Promise.allSettled(sends);
          const codes = failed.flatMap((it) => (it.status === 'rejected' ? [it.reason] : []));
          t.is(codes.length, 20);
          t.true(codes.every(({ code, retryable }) => code === 'ERR_AGAIN' && retryable));
        }
        t.like(pair.client.stats(), counters);
        t.deepEqual(await receiveAll(pair), delivered, `${backpressure}, own: ${own}`);
        await Promise.allSettled(sends);
      }
    }
  });

  test(`[D25] ${scheme}: trySend() says whether a message was dropped`, async (t) => {
    const { client } = await fullPair(t, scheme, { backpressure: 'drop-new' });
    t.false(client.trySend('dropped'));
    t.true(client.trySend('in its place', { backpressure: 'drop-old' }));
    t.false(client.trySend('refused', { backpressure: 'block' }));
    await t.throwsAsync(client.send('refused', { backpressure: 'fail-fast' }), {
      code: 'ERR_AGAIN',
    });
  });

  test(`[D25] ${scheme}: waiting sends of a channel keep their order`, async (t) => {
    const pair = await fullPair(t, scheme, {});
    const sends = [
      pair.client.send('1'),
      pair.client.sendBatch(['2', '3', '4']),
      pair.client.send('5'),
    ];
    const reservation = pair.client.reserve(1);
    reservation.bytes.write('6');
    sends.push(reservation.commit(), pair.client.send('7'));
    t.deepEqual(await receiveAll(pair), numbers(1, 8));
    await Promise.all(sends);
  });

  test(`[D25 D43] ${scheme}: a reservation fails as fast as a send does`, async (t) => {
    const pair = await fullPair(t, scheme, { backpressure: 'fail-fast' });
    for (const size of [10, 5000]) {
      const reservation = pair.client.reserve(size);
      t.false(reservation.tryCommit());
      await t.throwsAsync(reservation.commit(), { code: 'ERR_AGAIN' });
    }
    t.deepEqual(await receiveAll(pair), []);
  });

  test(`[D24] ${scheme}: calls that wait are bounded, and end in time`, async (t) => {
    const { client } = await fullPair(t, scheme, { maxPendingSends: 2 });
    const ended = t.throwsAsync(client.send('a'), { code: 'ERR_CLOSED' });
    const late = t.throwsAsync(client.send('b', { timeoutMs: 5 }), { code: 'ERR_TIMED_OUT' });
    await t.throwsAsync(client.send('c'), { code: 'ERR_AGAIN' });
    await late;
    t.is(client.stats().messagesQueued, 11);
    await client.close({ lingerMs: 0 });
    await ended;
    t.is(client.stats().sendsLost, 10);
  });

  test(`[D24 D25] ${scheme}: marks of receiving hold back, or drop`, async (t) => {
    for (const receiveBackpressure of ['block', 'drop-new', 'drop-old'] as const) {
      const server = { receiveHighWaterMarkMessages: 5, receiveBackpressure };
      const { client, server: end } = await pairOf(t, scheme, { server });
      const drops = receiveBackpressure === 'block' ? 0 : 95;
      await client.sendBatch(numbers(0, 100));
      while (
        end.stats().messagesReady < 5 ||
        end.stats().receivesDroppedNew + end.stats().receivesDroppedOld < drops
      ) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      t.is(end.stats().messagesReady, 5);
      const first = receiveBackpressure === 'drop-old' ? 95 : 0;
      for (let i = first; i < first + 5; i++) t.is(String(await end.receive()), `${i}`);
      if (drops === 0) for (let i = 5; i < 100; i++) t.is(String(await end.receive()), `${i}`);
      await client.send('last');
      t.is(String(await end.receive()), 'last');
    }
  });

  test(`[D26] ${scheme}: what waits for longer than its time to live is not sent`, async (t) => {
    const pair = await fullPair(t, scheme, { channels: { 1: { ttlMs: 5 }, 2: {} } });
    const { client } = pair;
    await client.send('of the channel', { channel: 1 });
    await client.send('its own', { channel: 2, ttlMs: 5 });
    await client.send('stays', { channel: 2 });
    await client.send('at once', { channel: 2, ttlMs: 0 });
    await t.throwsAsync(client.send('waits in vain', { ttlMs: 5 }), { code: 'ERR_EXPIRED' });
    while (client.stats().sendsExpired < 4) await new Promise((resolve) => setTimeout(resolve, 1));
    t.is(client.stats().sendsExpired, 4);
    t.deepEqual(await receiveAll(pair), ['stays']);
  });

  test(`[D26] ${scheme}: what lies behind stale messages when the pipe ends arrives`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    for (let i = 0; i < 1000; i++) await client.send('stale', { ttlMs: 1 });
    await client.send('good');
    const closing = client.close();
    // Nobody receives until they are stale.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    const all: string[] = [];
    for await (const message of server) all.push(String(message));
    t.is(all.at(-1), 'good');
    await closing;
  });

  test(`[D26] ${scheme}: terms of a message need no option of the pipe`, async (t) => {
    const pair = await pairOf(t, scheme, { both: SMALLEST });
    await stuff(pair.client);
    const waits = pair.client.send('waits for the others');
    await t.throwsAsync(pair.client.send('in vain', { ttlMs: 5 }), { code: 'ERR_EXPIRED' });
    const behind = pair.client.send('behind', { backpressure: 'drop-old' });
    t.deepEqual(await receiveAll(pair), ['waits for the others', 'behind']);
    await Promise.all([waits, behind]);
  });

  test(`[D43 D25] ${scheme}: sends go on beside reservations older than the queue`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const [before, after] = [client.reserve(6), client.reserve(5)];
    before.bytes.write('before');
    after.bytes.write('after');
    await client.send('first', { ttlMs: 60_000 });
    const texts = ['first'];
    for (const reservation of [before, after]) {
      texts.push(String(reservation.bytes), `behind ${reservation.bytes}`);
      await Promise.all([reservation.commit(), client.send(texts.at(-1) as string)]);
    }
    for (const text of texts) t.is(String(await server.receive()), text);
  });

  test(`[D27 D04] ${scheme}: a higher priority overtakes, and none holds up others`, async (t) => {
    const channels = { 1: { priority: 1 }, 2: { backpressure: 'drop-old' } } as const;
    const pair = await fullPair(t, scheme, { channels });
    for (const text of numbers(0, 1000)) await pair.client.send(padded(text), { channel: 2 });
    await pair.client.send(padded('first'), { channel: 1 });
    const blocked = pair.client.send(padded('blocked'));
    const all = await receiveAll(pair);
    t.deepEqual(all.slice(0, 1), ['first']);
    t.deepEqual(all.slice(1).toSorted(), [...numbers(990, 1000), 'blocked'].toSorted());
    await blocked;
  });

  test(`[D27 T18] ${scheme}: types are announced before their values`, async (t) => {
    const channels = { 7: { priority: 9, sendHighWaterMarkMessages: 1 } };
    const { client, server } = await pairOf(t, scheme, { client: { channels } });
    const [near, far] = [client.typed(WORDS, { channel: 7 }), server.typed(WORDS, { channel: 7 })];
    await near.sendBatch(['one', 'two', 'three']);
    for (const word of ['one', 'two', 'three']) t.is(await far.receive(), word);
  });

  test(`[D27 T18] ${scheme}: no value overtakes the announcement of its type`, async (t) => {
    const channels = { 7: { priority: 1, sendHighWaterMarkMessages: 100 } };
    const { client, server } = await fullPair(t, scheme, { channels });
    const waiting = client.send(padded('waits'));
    const word = client.typed(WORDS, { channel: 7 }).send('word');
    const far = server.typed(WORDS, { channel: 7 });
    let seen: string;
    do seen = await far.receive().catch(String);
    while (seen.includes('on channel 0'));
    t.is(seen, 'word');
    await Promise.all([waiting, word]);
  });

  test(`[D28] ${scheme}: rates hold for a pipe, and for all pipes of a listener`, async (t) => {
    const rate = { messagesPerSecond: 1000, messagesBurst: 10 };
    for (const options of [{ client: { sendRate: rate } }, { server: { receiveRate: rate } }]) {
      const { client, server } = await pairOf(t, scheme, options);
      const begin = performance.now();
      const sending = client.sendBatch(numbers(0, 60));
      for (let i = 0; i < 60; i++) t.is(String(await server.receive()), `${i}`);
      await sending;
      t.true(performance.now() - begin >= 49, 'not faster than the rate');
    }
  });
}

for (const scheme of SCHEMES) {
  test(`[D28] ${scheme}: pipes of a listener share its rates`, async (t) => {
    const rate = { messagesPerSecond: 1000, messagesBurst: 10 };
    for (const server of [{ totalSendRate: rate }, { totalReceiveRate: rate }]) {
      const isSending = 'totalSendRate' in server;
      const first = await pairOf(t, scheme, { server });
      const client = await dial(first.listener.address);
      t.teardown(() => client.close({ lingerMs: 0 }));
      const accepted = await first.listener.accept();
      const ends = [
        [first.server, first.client],
        [accepted, client],
      ] as const;
      const begin = performance.now();
      const passing = ends.map(async ([there, here]) => {
        const [from, to] = isSending ? [there, here] : [here, there];
        const sending = from.sendBatch(numbers(0, 40));
        for (let i = 0; i < 40; i++) t.is(String(await to.receive()), `${i}`);
        await sending;
      });
      await Promise.all(passing);
      // 80 messages in all, of which a burst of 10 passes at once.
      t.true(performance.now() - begin >= 69, 'not faster than the rate of the listener');
    }
  });
}

test('[D24 D25 D26 D27 D28] options are checked, with names and bounds', async (t) => {
  const bad: [PipeOptions, RegExp][] = [
    [{ sendHighWaterMarkMessages: -1 }, /sendHighWaterMarkMessages is -1; it must be an integer/],
    [{ backpressure: 'drop' as 'block' }, /backpressure is "drop"; it must be one of 'block'/],
    [{ ttlMs: -5 }, /ttlMs is -5; it must be milliseconds/],
    [{ channels: { 65_535: {} } }, /channels has a member "65535"; channels are 0 to 65534/],
    [{ channels: { 1: { weight: 0 } } }, /weight is 0; it must be an integer, 1 to 65535/],
    [{ channels: { 1: { wait: 1 } as object } }, /unknown option "wait"/],
    [{ sendRate: { messagesBurst: 3 } }, /messagesBurst is given without messagesPerSecond/],
    [{ receiveBackpressure: 'fail-fast' as 'block' }, /one of 'block', 'drop-new', 'drop-old'/],
  ];
  for (const [options, message] of bad) {
    await t.throwsAsync(dial('inproc://nobody', options), {
      code: 'ERR_INVALID_ARGUMENT',
      message,
    });
  }
});
