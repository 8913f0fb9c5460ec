/**
 * The conformance suite: what every pipe does, whatever the scheme, the wait mode and the way in
 * which the event loop is woken.
 */

import test from 'ava';

import type { Pipe, PipeOptions } from '../../index.js';
import { pattern, random, randomSize, sameBytes, seedOfRun } from './data.js';
import { pairOf, SCHEMES, type Scheme } from './pairs.js';

/** Declares the suite for every scheme, or these; `name` says what is special about this run. */
export function conformance(
  name: string,
  both: PipeOptions = {},
  schemes: readonly Scheme[] = SCHEMES,
): void {
  for (const scheme of schemes) {
    const title = (ids: string, what: string) => `[${ids}] ${scheme}${name}: ${what}`;

    test(title('D01 D06', 'echoes messages of every size up to 4 MiB'), async (t) => {
      const { client, server } = await pairOf(t, scheme, { both });
      const echoing = echo(server);
      for (const size of SIZES) {
        await client.send(pattern(size, size));
        const back = await client.receive();
        if (!back.equals(pattern(size, size))) t.fail(`${size} bytes came back changed`);
      }
      await client.close();
      t.is(await echoing, SIZES.length);
    });

    test(title('D01', 'keeps order and boundaries'), async (t) => {
      const seed = seedOfRun();
      t.log(`BUSBAR_SEED=${seed}`);
      await ordered(scheme, both, seed, (options) => pairOf(t, scheme, options));
      t.pass();
    });

    for (const [what, options] of VARIANTS) {
      test(title('D01', `keeps order and boundaries with ${what}`), async (t) => {
        const seed = seedOfRun();
        t.log(`BUSBAR_SEED=${seed}`);
        const merged = { ...both, ...options };
        await ordered(scheme, merged, seed, (given) => pairOf(t, scheme, given));
        t.pass();
      });
    }

    test(title('D06', 'takes texts, buffers and views of every kind'), async (t) => {
      const { client, server } = await pairOf(t, scheme, { both });
      for (const size of [0, 1, 3, 8, 1024, 1025, 70_000]) {
        const bytes = pattern(size + 16, size);
        const memory = new Uint8Array(bytes).buffer;
        const shared = new SharedArrayBuffer(size);
        new Uint8Array(shared).set(bytes.subarray(0, size));
        const kinds = {
          buffer: bytes.subarray(0, size),
          uint8: new Uint8Array(memory, 0, size),
          clamped: new Uint8ClampedArray(memory, 0, size),
          dataView: new DataView(memory, 0, size),
          words: new Uint16Array(memory, 0, size >> 1),
          doubles: new Float64Array(memory, 0, size >> 3),
          whole: memory.slice(0, size),
          shared,
        };
        for (const [kind, data] of Object.entries(kinds)) {
          await client.send(data);
          const expected = bytes.subarray(0, data.byteLength);
          sameBytes(t, await server.receive(), expected, `${kind} of ${data.byteLength} bytes`);
        }
      }
      const texts = ['', 'a', 'grüße 🚌', '✓'.repeat(341), '✓'.repeat(342), 'x'.repeat(50_000)];
      for (const text of texts) {
        await client.send(text);
        t.is(String(await server.receive()), text);
      }
      await client.send('\ud800');
      t.is(String(await server.receive()), '\ufffd', 'half a surrogate pair');
    });

    test(title('D06', 'sends on channels'), async (t) => {
      const { client, server } = await pairOf(t, scheme, { both });
      const channels = [0, 1, 255, 256, 65_534];
      for (const channel of channels) {
        await client.send('small', { channel });
        t.true(client.trySend(pattern(5000, 1), { channel }));
        await client.sendBatch(['in a batch'], { channel });
      }
      const closing = client.close();
      const seen: number[] = [];
      await server.consume((batch) => {
        for (let i = 0; i < batch.length; i++) seen.push(batch.channel(i));
      });
      await closing;
      t.deepEqual(
        seen,
        channels.flatMap((channel) => [channel, channel, channel]),
      );
    });

    test(title('D46', 'sends and receives batches'), async (t) => {
      const { client, server } = await pairOf(t, scheme, { both });
      const messages = Array.from({ length: 5000 }, (_, i) => pattern(i % 700, i));
      messages.splice(2500, 0, pattern(200_000, 1), pattern(2000, 2));
      const sending = client.sendBatch(messages).then(() => client.close());
      const got: Buffer[] = [];
      while (got.length < messages.length) {
        const some = await server.receiveBatch(100);
        t.true(some.length >= 1 && some.length <= 100);
        got.push(...some);
      }
      // Who waits for more is done with the last.
      const end = t.throwsAsync(server.receiveBatch(), { code: 'ERR_CLOSED' });
      await sending;
      await end;
      t.is(firstDifference(got, messages), -1);
    });

    test(title('D01', 'carries both directions at once'), async (t) => {
      const { client, server } = await pairOf(t, scheme, { both });
      const there = Array.from({ length: 3000 }, (_, i) => pattern(i % 3000, i));
      const back = Array.from({ length: 3000 }, (_, i) => pattern((i * 7) % 3000, i + 1));
      const [gotThere, gotBack] = await Promise.all([
        take(server, there.length),
        take(client, back.length),
        sendAll(client, there),
        sendAll(server, back),
      ]);
      t.is(firstDifference(gotThere, there), -1);
      t.is(firstDifference(gotBack, back), -1);
    });
  }
}

/** Limits where a message travels in another way: inline, slab block, power of two, fragments. */
const SIZES: readonly number[] = [
  ...Array.from({ length: 70 }, (_, i) => i),
  ...[128, 256, 512, 1016, 1024, 2048, 4096, 65_536, 1 << 17, 1 << 18, 1 << 19, 1 << 20].flatMap(
    (size) => [size - 1, size, size + 1],
  ),
  3_000_000,
  (4 << 20) - 1,
  4 << 20,
];

/** What `trySend()` can place at once even where there is only the smallest ring. */
const TRY_MAX = 16_384;

const VARIANTS: readonly (readonly [string, PipeOptions])[] = [
  ['the smallest ring and no slab', { ringBytes: 65_536, slabBytes: 0 }],
  ['the smallest ring and slab', { ringBytes: 65_536, slabBytes: 65_536 }],
  ['a peer that is not trusted', { trust: 'hostile', ringBytes: 65_536 }],
  ['a queue of one message', { queueMessages: 1 }],
];

/** Messages of random sizes, sent and received in random ways, arrive whole and in order. */
async function ordered(
  scheme: Scheme,
  both: PipeOptions,
  seed: number,
  connect: (options: { both: PipeOptions }) => Promise<{ client: Pipe; server: Pipe }>,
): Promise<void> {
  const next = random(seed);
  const messages = Array.from({ length: 2000 }, (_, i) => {
    return pattern(randomSize(next, i % 50 === 0 ? 1 << 20 : 4000), i);
  });
  const { client, server } = await connect({ both });
  const sending = sendAtRandom(client, messages, next).then(() => client.close());
  const receiving = receiveAtRandom(server, messages.length, random(seed + 1));
  // Who closes is done with the last.
  const closing = receiving.then(() => server.close());
  const [got] = await Promise.all([receiving, sending, closing]);
  const at = firstDifference(got, messages);
  if (at < 0) return;
  const sizes = `${got[at]?.length} bytes instead of ${messages[at]?.length}`;
  throw new Error(`${scheme}, BUSBAR_SEED=${seed}: message ${at} differs: ${sizes}`);
}

async function sendAtRandom(pipe: Pipe, messages: readonly Buffer[], next: () => number) {
  const unawaited: Promise<void>[] = [];
  for (let i = 0; i < messages.length;) {
    const message = messages[i] as Buffer;
    const way = Math.floor(next() * 5);
    if (way === 0) {
      await pipe.send(message);
    } else if (way === 1 && message.length <= TRY_MAX) {
      while (!pipe.trySend(message)) await new Promise(setImmediate);
    } else if (way === 2) {
      const reservation = pipe.reserve(message.length + Math.floor(next() * 10));
      message.copy(reservation.bytes);
      await reservation.commit(message.length);
    } else if (way === 3) {
      pipe.flush();
      unawaited.push(pipe.send(message));
    } else {
      const batch = messages.slice(i, i + 1 + Math.floor(next() * 20));
      await pipe.sendBatch(batch);
      i += batch.length - 1;
    }
    i++;
  }
  await Promise.all(unawaited);
}

async function receiveAtRandom(pipe: Pipe, count: number, next: () => number): Promise<Buffer[]> {
  const got: Buffer[] = [];
  while (got.length < count) {
    const way = Math.floor(next() * 4);
    if (way === 0) {
      got.push(await pipe.receive());
    } else if (way === 1) {
      got.push(...(await pipe.receiveBatch(1 + Math.floor(next() * 30))));
    } else if (way === 2) {
      const loan = await pipe.borrow();
      got.push(Buffer.from(loan.bytes));
      loan.release();
    } else {
      const message = pipe.tryReceive();
      if (message !== null) got.push(message);
      else await new Promise(setImmediate);
    }
  }
  return got;
}

/** Sends everything back; resolves with the number of messages. */
async function echo(pipe: Pipe): Promise<number> {
  let count = 0;
  for await (const message of pipe) {
    await pipe.send(message);
    count++;
  }
  return count;
}

async function sendAll(pipe: Pipe, messages: readonly Buffer[]): Promise<void> {
  for (const message of messages) await pipe.send(message);
}

async function take(pipe: Pipe, count: number): Promise<Buffer[]> {
  const got: Buffer[] = [];
  while (got.length < count) got.push(await pipe.receive());
  return got;
}

function firstDifference(got: readonly Buffer[], wanted: readonly Buffer[]): number {
  const at = wanted.findIndex((bytes, i) => got[i]?.equals(bytes) !== true);
  return at < 0 && got.length !== wanted.length ? wanted.length : at;
}
