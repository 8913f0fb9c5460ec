/** Pipes of values: both ends agree on a type, or are told that they do not. */

import test, { type ExecutionContext } from 'ava';

import { BusbarError, type Codec, type Pipe } from '../index.js';
import { pairOf, SCHEMES } from './helpers/pairs.js';

interface Point {
  readonly x: number;
  readonly label: string;
}

/** Eight bytes of x, then the label; `version` is the hash. */
function points(version: bigint, name = 'spec.Point'): Codec<Point> {
  return {
    name,
    hash: version,
    descriptor: JSON.stringify({ root: name, version: String(version) }),
    encode(value) {
      const bytes = Buffer.alloc(8 + Buffer.byteLength(value.label));
      this.encodeInto(value, bytes, 0);
      return bytes;
    },
    encodeInto({ x, label }, target, offset) {
      const bytes = Buffer.from(target.buffer, target.byteOffset + offset, target.length - offset);
      const length = 8 + Buffer.byteLength(label);
      if (length > bytes.length) throw new BusbarError('ERR_BUFFER_TOO_SMALL', `needs ${length}`);
      bytes.writeDoubleLE(x, 0);
      bytes.write(label, 8);
      return length;
    },
    decode(bytes) {
      const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      return { x: all.readDoubleLE(0), label: all.toString('utf8', 8) };
    },
  };
}

const POINT = points(0x1234n);

/** Labels that fit a record, a staging buffer, and neither. */
const LABELS = ['', 'small', 'x'.repeat(1016), 'y'.repeat(1017), 'z'.repeat(200_000)];

for (const scheme of SCHEMES) {
  test(`[T18] ${scheme}: a value is received if it is there`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const [near, far] = [client.typed(POINT), server.typed(POINT)];
    t.is(far.tryReceive(), undefined);
    await near.sendBatch([
      { x: 1, label: 'a' },
      { x: 2, label: 'b' },
    ]);
    t.deepEqual(await far.receive(), { x: 1, label: 'a' });
    let value = far.tryReceive();
    while (value === undefined) {
      await new Promise((resolve) => setImmediate(resolve));
      value = far.tryReceive();
    }
    t.deepEqual(value, { x: 2, label: 'b' });
    t.is(far.tryReceive(), undefined);
  });

  test(`[T18 D25] ${scheme}: a batch that was sent in part is not to be retried`, async (t) => {
    const both = { ringBytes: 65_536, slabBytes: 65_536, queueMessages: 8, maxPendingSends: 0 };
    const { client, server } = await pairOf(t, scheme, { both });
    const [near, far] = [client.typed(POINT), server.typed(POINT)];
    const values = Array.from({ length: 6000 }, (_, x) => ({ x, label: 'x'.repeat(900) }));
    const sending = near.sendBatch(values).then(() => 'sent', String);
    for (const value of values) t.deepEqual(await far.receive(), value);
    t.is(await sending, 'sent');
  });

  test(`[T18] ${scheme}: values of every size arrive by every way to send`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const [near, far] = [client.typed(POINT), server.typed(POINT)];
    const sent: Point[] = [];
    const next = (): Point => {
      const value = { x: sent.length, label: LABELS[sent.length % LABELS.length] as string };
      sent.push(value);
      return value;
    };
    const received: Point[] = [];
    const receiving = (async () => {
      for await (const value of far) received.push(value);
    })();
    for (let i = 0; i < 20; i++) await near.send(next());
    for (let i = 0; i < 20; i++) await near.sendBatch([next(), next(), next()]);
    for (let i = 0; i < 20; i++) {
      const value = next();
      while (!near.trySend(value)) await new Promise(setImmediate);
    }
    t.is(near.pipe, client);
    await client.close();
    await receiving;
    t.deepEqual(received, sent);
  });

  test(`[T18] ${scheme}: a batch of values, and one that is null`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const nothing: Codec<null> = { ...(jsonCodec as Codec<null>), hash: 9n };
    const [near, far] = [client.typed(POINT, { channel: 5 }), server.typed(POINT, { channel: 5 })];
    const labels: string[] = [];
    const consuming = far.consume((batch) => {
      for (const { label } of batch) labels.push(label);
      t.is(batch.at(batch.length - 1).label, labels.at(-1) as string);
    });
    await near.sendBatch(['a', 'b', 'c'].map((label) => ({ x: 0, label })));
    await server.typed(nothing).send(null);
    t.is(await client.typed(nothing).receive(), null);
    await client.close();
    await consuming;
    t.deepEqual(labels, ['a', 'b', 'c']);
  });

  test(`[T18 D04 D27] ${scheme}: a send may name its channel, and have terms`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const [near, far] = [client.typed(POINT), server.typed(POINT)];
    const label = 'by channel';
    await near.send({ x: 0, label });
    await near.send({ x: 1, label }, { channel: 5 });
    await near.sendBatch([{ x: 2, label }], { channel: 6 });
    while (!near.trySend({ x: 3, label }, { channel: 7 })) await new Promise(setImmediate);
    // With terms of its own a message waits in the pipe's queue, if it has to.
    await near.send({ x: 4, label }, { channel: 5, ttlMs: 60_000 });
    await near.sendBatch([{ x: 5, label }], { backpressure: 'drop-old' });
    while (!near.trySend({ x: 6, label }, { ttlMs: 60_000 })) await new Promise(setImmediate);
    const got: (readonly [number, number])[] = [];
    for await (const { data, channel } of far.messages()) {
      if (got.push([data.x, channel]) === 7) break;
    }
    const wanted = [0, 5, 6, 7, 5, 0, 0].map((channel, x) => [x, channel] as const);
    t.deepEqual(
      got.toSorted(([a], [b]) => a - b),
      wanted,
    );

    refused(t, () => near.trySend({ x: 0, label }, { channel: 65_535 }));
    refused(t, () => near.trySend({ x: 0, label }, { signal: null } as never));
    const wrong = { code: 'ERR_INVALID_ARGUMENT' };
    await t.throwsAsync(near.send({ x: 0, label }, { channel: -1 }), wrong);
    await t.throwsAsync(near.sendBatch([], { chanel: 3 } as never), wrong);
    await t.throwsAsync(client.send('bytes', { channel: 6 }), { message: /carries values/ });
    await t.throwsAsync(client.typed(points(5n)).send({ x: 0, label }, { channel: 7 }), wrong);
  });

  test(`[T18] ${scheme}: another type on another channel is refused`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const far = server.typed(POINT);
    await client.typed(points(0xabcn, 'spec.Spot'), { channel: 9 }).send({ x: 1, label: '' });
    await client.typed(POINT).send({ x: 2, label: '' }, { channel: 8 });
    await t.throwsAsync(far.receive(), mismatch(/spec\.Spot/));
    t.deepEqual(await far.receive(), { x: 2, label: '' });
  });

  test(`[T18] ${scheme}: versions on two channels have a cursor each`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    interface Cursor {
      readonly version: number;
      $move(): Cursor;
    }
    const view = (version: number) => (): Cursor => ({ version, $move: view(version) });
    const plain = (version: bigint): Codec<Point, Cursor> => ({
      ...(points(version) as Codec<Point, never>),
      view: view(Number(version)),
    });
    const older = plain(1n);
    const newer: Codec<Point, Cursor> = { ...plain(2n), resolve: () => older };
    const far = server.typed(newer, { resolve: true });
    const [one, two] = [client.typed(older, { channel: 1 }), client.typed(newer)];
    const value = { x: 0, label: '' };
    for (const pipe of [one, two, two, one]) await pipe.send(value);
    await client.close();
    const seen: number[] = [];
    await far.consume((batch) => {
      for (let i = 0; i < batch.length; i++) seen.push(batch.view(i).version);
    });
    t.deepEqual(seen, [1, 2, 2, 1]);
  });

  test(`[T18] ${scheme}: values come in batches, those before a bad one first`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const near = client.typed(POINT);
    await using far = server.typed(POINT);
    const sent = Array.from({ length: 5 }, (_, x) => ({ x, label: 'each' }));
    await near.sendBatch(sent);
    near.flush();
    const received: Point[] = [];
    while (received.length < 3) received.push(...(await far.receiveBatch(3 - received.length)));
    for await (const values of far.batches({ max: 2 })) {
      t.true(values.length <= 2);
      received.push(...values);
      if (received.length === 5) break;
    }
    t.deepEqual(received, sent);
    await near.send({ x: 5, label: 'good' });
    await client.send('untyped', { channel: 7 });
    near.flush();
    t.deepEqual(await far.receiveBatch(), [{ x: 5, label: 'good' }]);
    await t.throwsAsync(far.receiveBatch(), mismatch(/channel 7/));
    t.throws(() => far.batches({ max: 0 }), { code: 'ERR_INVALID_ARGUMENT' });
    await t.throwsAsync(far.receiveBatch(70_000), { code: 'ERR_INVALID_ARGUMENT' });
    await near.close({ reason: 'enough' });
    t.is(client.state, 'CLOSED');
  });

  test(`[T18] ${scheme}: another type is refused, with both names and hashes`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.typed(points(0xabcn, 'spec.Spot')).send({ x: 1, label: 'first' });
    await client.send('untyped', { channel: 7 });
    const far = server.typed(POINT);
    const first = mismatch(/spec\.Spot \(0+abc\), not spec\.Point \(0+1234\)/);
    await t.throwsAsync(far.receive(), first);
    await t.throwsAsync(far.receive(), mismatch(/without a type on channel 7; spec\.Point/));
    await client.send('untyped', { channel: 7 });
    const other = server.typed(POINT, { channel: 7 });
    await t.throwsAsync(other.receive(), mismatch(/without a type on channel 7/));
    t.is(server.state, 'CONNECTED');
  });

  test(`[T18] ${scheme}: a codec may read another version of its type`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const asked: string[] = [];
    const newer: Codec<Point> = {
      ...points(2n),
      resolve(descriptor) {
        asked.push(descriptor);
        const writer = points(1n);
        const decode = (bytes: Uint8Array): Point => ({ ...writer.decode(bytes), x: -1 });
        return { ...writer, decode };
      },
    };
    const older = points(1n);
    await client.typed(older).sendBatch([
      { x: 1, label: 'a' },
      { x: 2, label: 'b' },
    ]);
    await t.throwsAsync(server.typed(newer).receive(), mismatch(/resolve: true/));
    const far = server.typed(newer, { resolve: true });
    t.deepEqual(await far.receive(), { x: -1, label: 'b' });
    await client.typed(older).send({ x: 3, label: 'c' });
    t.deepEqual(await far.receive(), { x: -1, label: 'c' });
    t.deepEqual(asked, [older.descriptor], 'once a connection');
  });

  test(`[T18] ${scheme}: types are told beside the messages, and outlive the pipe`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.send('before');
    await client.typed(POINT, { channel: 3 }).send({ x: 1, label: 'typed' });
    await client.send('after');
    await client.close();
    const seen: string[] = [];
    await server.consume((batch) => {
      for (let i = 0; i < batch.length; i++) seen.push(`${batch.channel(i)} ${batch.size(i)}`);
    });
    t.deepEqual(seen, ['0 6', '3 13', '0 5']);
  });

  test(`[T18] ${scheme}: what a codec throws spoils nothing else`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const [near, far] = [client.typed(POINT), server.typed(POINT)];
    const bad = {
      x: 0,
      get label(): string {
        throw new RangeError('no label');
      },
    };
    await near.send({ x: 1, label: 'before' });
    await t.throwsAsync(near.send(bad), { message: 'no label' });
    t.throws(() => near.trySend(bad), { message: 'no label' });
    const fine = { x: 2, label: 'in the batch' };
    await t.throwsAsync(near.sendBatch([fine, bad, fine]), { message: 'no label' });
    // A getter that sends in the middle of being encoded: both arrive whole.
    const sender = {
      x: 4,
      get label(): string {
        return nested(client);
      },
    };
    await near.send(sender);
    await near.send({ x: 5, label: 'after' });
    const got = [];
    for (let i = 0; i < 5; i++) got.push(await far.receive());
    const expected = ['before', 'in the batch', 'nested', 'nested', 'after'];
    t.deepEqual(
      got.map(({ label }) => label),
      expected,
    );
  });

  test(`[T18] ${scheme}: a channel has one type; what is no codec is refused`, async (t) => {
    const { client } = await pairOf(t, scheme);
    const first = client.typed(POINT);
    await first.send({ x: 1, label: '' });
    const second = client.typed(points(5n));
    t.throws(() => second.trySend({ x: 1, label: '' }), { message: /another type/ });
    await t.throwsAsync(second.send({ x: 1, label: '' }), { code: 'ERR_INVALID_ARGUMENT' });
    for (const wrong of [null, {}, { ...POINT, hash: 5 }, { ...POINT, decode: undefined }]) {
      refused(t, () => client.typed(wrong as never));
    }
    refused(t, () => client.typed(POINT, { channel: 65_535 }));
    await client.close();
    await t.throwsAsync(first.send({ x: 1, label: '' }), { code: 'ERR_CLOSED' });
    t.throws(() => first.trySend({ x: 1, label: '' }), { code: 'ERR_CLOSED' });
    await t.throwsAsync(first.receive(), { code: 'ERR_CLOSED' });
  });

  test(`[T18] ${scheme}: no bytes are sent where values are`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.send('before, as nothing says what channel 0 is', { channel: 3 });
    const near = client.typed(POINT);
    await near.send({ x: 1, label: 'first' });
    const wrong = { code: 'ERR_INVALID_ARGUMENT', message: /channel 0 carries values/ };
    await t.throwsAsync(client.send('bytes'), wrong);
    await t.throwsAsync(client.send('bytes', { channel: 0 }), wrong);
    await t.throwsAsync(client.sendBatch(['bytes']), wrong);
    t.throws(() => client.trySend('bytes'), wrong);
    t.throws(() => client.reserve(8), wrong);
    await client.send('bytes', { channel: 3 });
    await near.send({ x: 2, label: 'second' });
    await client.close();
    const seen: string[] = [];
    await server.consume((batch) => {
      for (let i = 0; i < batch.length; i++) seen.push(`${batch.channel(i)} ${batch.size(i)}`);
    });
    t.deepEqual(seen, ['3 41', '0 13', '3 5', '0 14']);
  });

  test(`[T18 D25] ${scheme}: a full pipe makes typed senders wait`, async (t) => {
    const both = { ringBytes: 65_536, slabBytes: 65_536, queueMessages: 8 };
    const { client, server } = await pairOf(t, scheme, { both });
    const near = client.typed(POINT);
    let sent = 0;
    while (near.trySend({ x: sent, label: 'fill' })) sent++;
    const more = (): Point => ({ x: sent++, label: 'waits' });
    const waiting = [near.send(more()), near.sendBatch([more()])];
    const far = server.typed(POINT);
    for (let i = 0; i < sent; i++) t.is((await far.receive()).x, i);
    await Promise.all(waiting);
  });
}

const jsonCodec: Codec<unknown> = {
  name: 'spec.Json',
  hash: 8n,
  descriptor: 'anything',
  encode: (value) => Buffer.from(JSON.stringify(value)),
  encodeInto(value, target, offset) {
    const bytes = this.encode(value);
    target.set(bytes, offset);
    return bytes.length;
  },
  decode: (bytes) => JSON.parse(Buffer.from(bytes).toString()),
};

/** Sends a value of its own while another is being encoded. */
function nested(pipe: Pipe): string {
  if (!sending) {
    sending = true;
    pipe.typed(POINT).trySend({ x: 3, label: 'nested' });
    sending = false;
  }
  return 'nested';
}
let sending = false;

function mismatch(message: RegExp): { code: string; message: RegExp } {
  return { code: 'ERR_SCHEMA_MISMATCH', message };
}

function refused(t: ExecutionContext<unknown>, run: () => unknown): void {
  t.throws(run, { code: 'ERR_INVALID_ARGUMENT' });
}
