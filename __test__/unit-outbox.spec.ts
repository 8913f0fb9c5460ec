/** Sending, over a fake core: order, back-pressure, copies, limits and ends of waits. */

import test from 'ava';

import { BusbarError } from '../lib/errors.js';
import { bench, detach } from './helpers/fake-port.js';

const LARGE = 5000;

test('[D46] sixteen small messages are handed over, the rest at the end of the turn', async (t) => {
  const { fake, client } = bench();
  for (let i = 0; i < 20; i++) t.true(client.trySend(`${i}`));
  t.is(fake.calls['submit'], 1);
  await Promise.resolve();
  t.is(client.stats().messagesSent, 16);
  await fake.settle();
  t.is(fake.calls['submit'], 2);
  t.is(client.stats().messagesSent, 20);
});

test('[D46] flush() hands over at once', (t) => {
  const { fake, client, serverHandle } = bench();
  client.trySend('now');
  client.flush();
  t.deepEqual(fake.inFlight(serverHandle), ['now']);
});

test('[D46] what is sent while events are handled needs no further tick', async (t) => {
  const { fake, client, server, clientHandle } = bench();
  void server.consume((batch) => {
    for (const message of batch) server.trySend(message);
  });
  client.trySend('echo');
  client.flush();
  fake.turn();
  t.deepEqual(fake.inFlight(clientHandle), ['echo']);
  await server.close();
});

test('[D01] every kind of data arrives as its bytes', async (t) => {
  const { fake, client, server } = bench();
  const bytes = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
  client.trySend('grüße');
  client.trySend('');
  client.trySend('ä'.repeat(500));
  client.trySend(bytes);
  client.trySend(new DataView(bytes.buffer, 2, 3));
  client.trySend(new Uint16Array(bytes.buffer, 4, 1));
  client.trySend(bytes.buffer);
  client.trySend(new Uint8Array(0));
  await fake.settle();
  const got = await server.receiveBatch();
  t.deepEqual(
    got.map((message) => message.toString('hex')),
    [
      Buffer.from('grüße').toString('hex'),
      '',
      Buffer.from('ä'.repeat(500)).toString('hex'),
      '0102030405060708',
      '030405',
      '0506',
      '0102030405060708',
      '',
    ],
  );
});

test('[D01 D25] small and large messages keep their order under back-pressure', async (t) => {
  const { fake, client, server } = bench({ ringBytes: 512, slabMessages: 1 });
  const sent: string[] = [];
  const sends: Promise<void>[] = [];
  for (let i = 0; i < 200; i++) {
    const text = `${i}:`.padEnd(i % 7 === 0 ? LARGE : 3 + (i % 90), 'x');
    sent.push(text);
    sends.push(client.send(i % 2 === 0 ? text : Buffer.from(text)));
  }
  const got: string[] = [];
  const done = server.consume((batch) => {
    for (const message of batch) got.push(message.toString());
  });
  await fake.settle();
  await Promise.all(sends);
  t.deepEqual(got, sent);
  await client.close();
  await fake.settle();
  await done;
});

test('[D25] trySend() is false when it would have to wait; then nothing was sent', async (t) => {
  const { fake, client, server, clientHandle } = bench({ ringBytes: 256, slabMessages: 1 });
  const small = Buffer.alloc(100);
  let accepted = 0;
  while (client.trySend(small)) {
    accepted++;
    client.flush();
  }
  t.false(client.trySend(Buffer.alloc(LARGE)));
  const got = receiveAll(server);
  await fake.settle();
  t.is((await got()).length, accepted);
  t.true(client.trySend(Buffer.alloc(LARGE)));
  t.false(client.trySend(Buffer.alloc(LARGE)));
  t.deepEqual(fake.abandoned, [clientHandle]);
});

test('[D25] above maxPendingSends a send fails at once and may be repeated', async (t) => {
  const { fake, client, server } = bench({ ringBytes: 16 }, { maxPendingSends: 2 });
  await client.send('a');
  client.flush();
  await client.send('b');
  client.flush();
  const waiting = [client.send('c'), client.send('d')];
  const error = await t.throwsAsync(client.send('e'), { instanceOf: BusbarError });
  t.is((error as BusbarError).code, 'ERR_AGAIN');
  t.true((error as BusbarError).retryable);
  const got = receiveAll(server);
  await fake.settle();
  await Promise.all(waiting);
  await client.send('e');
  await fake.settle();
  t.deepEqual((await got()).map(String), ['a', 'b', 'c', 'd', 'e']);
});

test('[D46] sendBatch() resolves when all is accepted, and may wait above the mark', async (t) => {
  const { fake, client, server } = bench({ ringBytes: 64 }, { maxPendingSends: 1 });
  const messages = Array.from({ length: 5000 }, (_, i) => `${i}`);
  let done = false;
  const sending = client.sendBatch(messages).then(() => (done = true));
  await Promise.resolve();
  t.false(done);
  const got = receiveAll(server);
  await fake.settle();
  await sending;
  t.deepEqual((await got()).map(String), messages);
});

test('[D46] sendBatch() rejects for the message that cannot be sent', async (t) => {
  const { fake, client, serverHandle } = bench();
  const bad = 42 as unknown as string;
  await t.throwsAsync(client.sendBatch(['a', bad, 'c']), { code: 'ERR_INVALID_ARGUMENT' });
  const text = 'abc' as unknown as string[];
  await t.throwsAsync(client.sendBatch(text), { code: 'ERR_INVALID_ARGUMENT' });
  await fake.settle();
  t.deepEqual(fake.inFlight(serverHandle), ['a']);
});

test('[D01] a small message is copied at the call', async (t) => {
  const { fake, client, serverHandle } = bench();
  const bytes = Buffer.from('before');
  await client.send(bytes);
  bytes.write('after!');
  await fake.settle();
  t.deepEqual(fake.inFlight(serverHandle), ['before']);
});

test('[D01] a text that waits is the text of the call', async (t) => {
  const { fake, client, server } = bench({ slabMessages: 0 });
  const waiting = [client.send(Buffer.alloc(LARGE)), client.send('text')];
  await fake.settle();
  t.is(client.stats().messagesQueued, 2);
  await server.close();
  await fake.settle();
  for (const each of waiting) await t.throwsAsync(each, { code: 'ERR_CLOSED' });
});

test('[D08] a buffer detached while it waits fails its own message only', async (t) => {
  const { fake, client, server, clientHandle } = bench({ slabMessages: 1 });
  const [first, third] = [Buffer.alloc(LARGE, 1), Buffer.alloc(LARGE, 3)];
  const second = new Uint8Array(LARGE);
  const sends = [client.send(first), client.send(second), client.send(third)];
  detach(second.buffer);
  const got = receiveAll(server);
  await t.throwsAsync(
    Promise.all([...sends, fake.settle()]),
    { code: 'ERR_BUFFER_DETACHED', instanceOf: BusbarError },
  );
  await Promise.all([sends[0], sends[2]]);
  await fake.settle();
  t.deepEqual((await got()).map((each) => each[0]), [1, 3]);
  t.deepEqual(fake.abandoned, [clientHandle], 'the core had been offered the message');
});

test('[D08] a buffer that is detached already is refused', async (t) => {
  const { client } = bench();
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  detach(bytes.buffer);
  t.throws(() => client.trySend(bytes), { code: 'ERR_BUFFER_DETACHED' });
  t.throws(() => client.trySend(view), { code: 'ERR_BUFFER_DETACHED' });
  await t.throwsAsync(client.send(bytes.buffer), { code: 'ERR_BUFFER_DETACHED' });
});

test('[D08] a send that waits ends by its signal or its time limit', async (t) => {
  const { fake, client, server, clientHandle } = bench({ slabMessages: 0 });
  const stop = new AbortController();
  const head = client.send(Buffer.alloc(LARGE), { signal: stop.signal });
  const behind = client.send('behind', { timeoutMs: 5 });
  const last = client.sendBatch(['x', 'y']);
  const aborted = t.throwsAsync(head, { name: 'AbortError', code: 'ABORT_ERR' });
  stop.abort('enough');
  t.is(((await aborted) as Error).cause, 'enough');
  t.deepEqual(fake.abandoned, [clientHandle]);
  await t.throwsAsync(behind, { code: 'ERR_TIMED_OUT' });
  await t.throwsAsync(client.send('z', { signal: stop.signal }), { code: 'ABORT_ERR' });
  await fake.settle();
  await last;
  t.deepEqual((await receiveAll(server)()).map(String), ['x', 'y']);
});

test('[D08] one signal ends as many sends as wait', async (t) => {
  const { client } = bench({ slabMessages: 0 }, { maxPendingSends: 200_000 });
  const stop = new AbortController();
  const { signal } = stop;
  const head = client.send(Buffer.alloc(LARGE));
  const sends = Array.from({ length: 100_000 }, () => client.send('x', { signal }));
  // Each looks for itself among those that still wait.
  stop.abort();
  const ended = await Promise.allSettled(sends);
  t.true(ended.every(({ status }) => status === 'rejected'));
  t.is(client.stats().messagesQueued, 1, 'who did not give up still waits');
  const refused = t.throwsAsync(head, { code: 'ERR_CLOSED' });
  await client.close({ lingerMs: 0 });
  await refused;
});

test('[D58] a message above maxMessageBytes is refused with both figures', async (t) => {
  const { client } = bench({}, { maxMessageBytes: 2048 });
  const refused = { code: 'ERR_MESSAGE_TOO_LARGE', message: /2049 .* 2048/ };
  t.throws(() => client.trySend(Buffer.alloc(2049)), refused);
  await t.throwsAsync(client.send(Buffer.alloc(2049)), refused);
  t.throws(() => client.reserve(2049), refused);
  t.true(client.trySend(Buffer.alloc(2048)));
});

test('[D08] wrong arguments of a send are named', async (t) => {
  const { client } = bench();
  const wrong = (value: unknown): never => value as never;
  t.throws(() => client.trySend(wrong(null)), { message: /data is null/ });
  t.throws(() => client.trySend(wrong({})), { message: /data is an object of Object/ });
  t.throws(() => client.trySend('x', { channel: 65_536 }), { message: /channel is 65536/ });
  t.throws(() => client.trySend('x', { channel: 1.5 }), { code: 'ERR_INVALID_ARGUMENT' });
  await t.throwsAsync(client.send('x', wrong(7)), { message: /options is 7/ });
  await t.throwsAsync(client.send('x', { timeoutMs: -1 }), { message: /timeoutMs is -1/ });
  await t.throwsAsync(client.send('x', { signal: wrong({}) }), { message: /signal is/ });
});

test('[D08] after the pipe is lost, what waits and what comes fails with the reason', async (t) => {
  const { fake, client, clientHandle } = bench({ slabMessages: 0 });
  const waiting = client.send(Buffer.alloc(LARGE));
  fake.lose(clientHandle);
  const lost = { code: 'ERR_CONNECTION_LOST', message: /the peer died/ };
  const failed = t.throwsAsync(waiting, lost);
  await fake.settle();
  await failed;
  t.throws(() => client.trySend('x'), lost);
  await t.throwsAsync(client.send('x'), lost);
  await t.throwsAsync(client.sendBatch(['x']), lost);
  t.throws(() => client.reserve(8), lost);
});

/** Starts collecting what arrives; the function returned gives what has. */
function receiveAll(pipe: { tryReceive(): Buffer | null; receiveBatch(): Promise<Buffer[]> }) {
  const got: Buffer[] = [];
  void (async () => {
    for (;;) got.push(...(await pipe.receiveBatch()));
  })().catch(() => {});
  return async (): Promise<Buffer[]> => {
    await new Promise((resolve) => setImmediate(resolve));
    return got;
  };
}
