/** The ways to receive: owned messages, owned batches, borrowed batches, and what each promises. */

import test from 'ava';

import type { Batch, Pipe } from '../index.js';
import { pattern, sameBytes } from './helpers/data.js';
import { pairOf, SCHEMES } from './helpers/pairs.js';

const SMALL = pattern(100, 1);
const LARGE = pattern(50_000, 2);

for (const scheme of SCHEMES) {
  test(`[D11] ${scheme}: consume() keeps to max, whatever was fetched before`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const texts = Array.from({ length: 300 }, (_, i) => `${i}`.repeat(i % 50 === 49 ? 2000 : 1));
    await client.sendBatch(texts);
    const got: string[] = [];
    for (let i = 0; i < 20; i++) got.push(String(await server.receive()));
    const sizes = new Set<number>();
    const controller = new AbortController();
    const consuming = server.consume(
      (batch) => {
        sizes.add(batch.length);
        for (let i = 0; i < batch.length; i++) got.push(String(batch.at(i)));
        if (got.length === texts.length) controller.abort();
      },
      { max: 2, signal: controller.signal },
    );
    await t.throwsAsync(consuming, { code: 'ABORT_ERR' });
    t.deepEqual(got, texts);
    t.true(Math.max(...sizes) <= 2);
  });

  test(`[D06] ${scheme}: received messages are the caller's to keep and to change`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const kept: Buffer[] = [];
    for (let i = 0; i < 200; i++) {
      await client.sendBatch([pattern(100, i), pattern(5000, i)]);
      kept.push(await server.receive(), await server.receive());
      // What was received before is written over: later messages must not show it.
      for (const message of kept.slice(0, -2)) message.fill(0xee);
      sameBytes(t, kept.at(-2) as Buffer, pattern(100, i));
      sameBytes(t, kept.at(-1) as Buffer, pattern(5000, i));
    }
    t.true(kept.slice(0, -2).every((message) => message.every((byte) => byte === 0xee)));
  });

  test(`[D06] ${scheme}: tryReceive() gives what is there, or null`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    t.is(server.tryReceive(), null);
    await client.sendBatch(['a', 'b']);
    client.flush();
    t.is(String(await server.receive()), 'a');
    t.is(String(server.tryReceive()), 'b');
    t.is(server.tryReceive(), null);
    await client.close();
    await t.throwsAsync(server.receive(), { code: 'ERR_CLOSED' });
    t.throws(() => server.tryReceive(), { code: 'ERR_CLOSED' });
  });

  test(`[D06] ${scheme}: waiting receive() calls are served in order`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const waiting = Array.from({ length: 100 }, () => server.receive());
    await client.sendBatch(Array.from({ length: 100 }, (_, i) => `${i}`));
    const got = (await Promise.all(waiting)).map(String);
    t.deepEqual(
      got,
      Array.from({ length: 100 }, (_, i) => `${i}`),
    );
  });

  test(`[D06] ${scheme}: breaking off an iteration loses nothing`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.sendBatch(Array.from({ length: 300 }, (_, i) => `${i}`));
    await client.close();
    const got: string[] = [];
    for await (const message of server) {
      got.push(String(message));
      if (got.length === 7) break;
    }
    for await (const messages of server.batches({ max: 10 })) {
      t.true(messages.length <= 10);
      got.push(...messages.map(String));
      if (got.length > 100) break;
    }
    await server.consume((batch) => {
      for (const message of batch) got.push(String(message));
    });
    t.deepEqual(
      got,
      Array.from({ length: 300 }, (_, i) => `${i}`),
    );
  });

  test(`[D43 D46] ${scheme}: consume() lends batches in place`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.sendBatch([SMALL, LARGE, '']);
    await client.close();
    let seen = 0;
    await server.consume((batch) => {
      for (let i = 0; i < batch.length; i++, seen++) {
        const expected = [SMALL, LARGE, Buffer.alloc(0)][seen] as Buffer;
        t.is(batch.size(i), expected.length);
        sameBytes(t, batch.at(i), expected);
        if (expected === LARGE) {
          t.is(batch.offset(i), -1);
        } else {
          const at = batch.offset(i);
          t.is(at % 8, 0);
          sameBytes(t, batch.bytes.subarray(at, at + batch.size(i)), expected);
        }
      }
    });
    t.is(seen, 3);
  });

  test(`[D43] ${scheme}: a batch is refused after its callback`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.sendBatch([SMALL, LARGE]);
    await client.close();
    const leaked: Batch[] = [];
    const views: Buffer[] = [];
    await server.consume((batch) => {
      leaked.push(batch);
      for (const message of batch) if (message.length === LARGE.length) views.push(message);
    });
    for (const batch of leaked) {
      const uses = [
        () => batch.length,
        () => batch.bytes,
        () => batch.at(0),
        () => batch.offset(0),
        () => batch.size(0),
        () => batch.channel(0),
        () => batch.take(0),
        () => [...batch],
      ];
      for (const use of uses) t.throws(use, { code: 'ERR_BATCH_EXPIRED' });
    }
    t.deepEqual(
      views.map((view) => view.length),
      [0],
      'a large payload is detached',
    );
  });

  test(`[D43] ${scheme}: take() keeps messages beyond the callback`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const taken: ReturnType<Batch['take']>[] = [];
    for (let i = 0; i < 20; i++) await client.sendBatch([pattern(100, i), pattern(5000, i)]);
    await client.close();
    await server.consume((batch) => {
      for (let i = 0; i < batch.length; i++) taken.push(batch.take(i));
    });
    t.is(taken.length, 40);
    for (const [i, loan] of taken.entries()) {
      sameBytes(t, loan.bytes, pattern(i % 2 === 0 ? 100 : 5000, i >> 1));
      loan.release();
      t.throws(() => loan.bytes, { code: 'ERR_LOAN_EXPIRED' });
    }
  });

  test(`[D43] ${scheme}: writing into what is borrowed harms nobody`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: { slabBytes: 65_536 } });
    const messages = Array.from({ length: 400 }, (_, i) => pattern(i % 2 === 0 ? 60 : 9000, i));
    const sending = client.sendBatch(messages).then(() => client.close());
    let seen = 0;
    await server.consume((batch) => {
      for (const message of batch) {
        if (!message.equals(messages[seen] as Buffer)) t.fail(`message ${seen} was changed`);
        message.fill(0xff);
        seen++;
      }
    });
    await sending;
    t.is(seen, messages.length);
  });

  test(`[D43] ${scheme}: writing into a loan does not show in later messages`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: { slabBytes: 65_536 } });
    for (let i = 0; i < 50; i++) {
      const [payload, answer] = [pattern(20_000, i), pattern(20_000, i + 1)];
      await client.send(payload);
      await server.send(answer);
      const [loan, back] = await Promise.all([server.borrow(), client.borrow()]);
      sameBytes(t, loan.bytes, payload);
      sameBytes(t, back.bytes, answer);
      loan.bytes.fill(0xff);
      sameBytes(t, back.bytes, answer);
      loan.release();
      back.release();
    }
  });

  test(`[D46] ${scheme}: max bounds batches`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.sendBatch(Array.from({ length: 100 }, () => SMALL));
    await client.close();
    const lengths: number[] = [];
    await server.consume((batch) => void lengths.push(batch.length), { max: 7 });
    t.true(lengths.every((length) => length <= 7));
    t.is(
      lengths.reduce((sum, length) => sum + length, 0),
      100,
    );
  });

  test(`[D06] ${scheme}: one reader at a time while consume() is at work`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const consuming = server.consume(() => {});
    const refused = { code: 'ERR_INVALID_ARGUMENT' };
    await t.throwsAsync(server.receive(), refused);
    await t.throwsAsync(server.receiveBatch(), refused);
    await t.throwsAsync(server.borrow(), refused);
    await t.throwsAsync(
      server.consume(() => {}),
      refused,
    );
    await t.throwsAsync(server[Symbol.asyncIterator]().next(), refused);
    t.throws(() => server.tryReceive(), refused);
    await client.close();
    await consuming;
  });

  test(`[D06] ${scheme}: a callback that throws ends consuming, not the pipe`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.send('first');
    const thrown = new Error('thrown by the callback');
    const ended = server.consume(() => {
      throw thrown;
    });
    t.is(await t.throwsAsync(ended), thrown);
    await client.send('second');
    t.is(String(await server.receive()), 'second');
  });

  test(`[D06] ${scheme}: a callback that returns a promise is refused`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.send('message');
    const asynchronous = (async () => {}) as unknown as () => void;
    const ended = server.consume(asynchronous);
    await t.throwsAsync(ended, { code: 'ERR_INVALID_ARGUMENT', message: /synchronous/ });
  });

  test(`[D06] ${scheme}: other pipes can be received from inside a callback`, async (t) => {
    const [a, b] = [await pairOf(t, scheme), await pairOf(t, scheme)];
    await b.client.sendBatch([SMALL, LARGE]);
    b.client.flush();
    await untilReadable(b.server);
    await a.client.sendBatch([LARGE, SMALL]);
    await a.client.close();
    const seen: Buffer[] = [];
    await a.server.consume((batch) => {
      const inner = b.server.tryReceive();
      if (inner !== null) sameBytes(t, inner, LARGE);
      for (const message of batch) seen.push(Buffer.from(message));
    });
    t.deepEqual(seen, [LARGE, SMALL]);
  });
}

/** Takes the first message; the ones behind it are there then. */
async function untilReadable(pipe: Pipe): Promise<void> {
  await pipe.receive();
}

// In-process they are the sender's copy, which is not V8's memory.
for (const scheme of SCHEMES.filter((it) => it !== 'inproc')) {
  test(`[D06] ${scheme}: a large message is memory that can be transferred`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const payload = pattern(1_000_000, 3);
    const [message] = await Promise.all([server.receive(), client.send(payload)]);
    const { buffer } = message;
    t.is(buffer.byteLength, payload.length);
    const moved = structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    t.is(message.length, 0);
    sameBytes(t, Buffer.from(moved), payload);
  });
}
