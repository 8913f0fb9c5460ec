/** Reliable pipes: messages that outlive their connection. */

import { connect, createServer, type Socket } from 'node:net';
import { once } from 'node:events';

import test, { type ExecutionContext } from 'ava';

import {
  connectInproc,
  dial,
  listen,
  type BusbarError,
  type Codec,
  type Loan,
  type Message,
  type Pipe,
  type PipeOptions,
} from '../index.js';
import { unusedAddress } from './helpers/pairs.js';
import { textCodec } from './helpers/text-codec.js';

const reconnect = { initialMs: 2, maxMs: 20 };

interface Relay {
  readonly address: string;
  /** Ends all connections, as a network does: without a word. */
  cut(): void;
  /** From now on, until the next cut, forgets what it is to pass on. */
  mute(): void;
  /** Turns away as many connections as that. */
  refuse(count: number): void;
}

/** What is between dialers and a listener. */
async function relayTo(t: ExecutionContext<unknown>, address: string): Promise<Relay> {
  const live = new Set<Socket>();
  let isMuted = false;
  let refusals = 0;
  const target = new URL(address);
  const server = createServer((near) => {
    if (refusals-- > 0) return void near.destroy();
    const far = connect(Number(target.port), target.hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      live.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        live.delete(from);
        to.destroy();
      });
      from.on('data', (bytes) => isMuted || to.write(bytes));
      from.on('end', () => to.end());
    }
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const cut = (): void => {
    live.forEach((socket) => socket.destroy());
    isMuted = false;
  };
  const mute = (): void => void (isMuted = true);
  t.teardown(() => {
    cut();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const refuse = (count: number): void => void (refusals = count);
  return { address: `tcp://127.0.0.1:${port}`, cut, mute, refuse };
}

interface Ends {
  readonly client: Pipe;
  readonly server: Pipe;
  readonly relay: Relay;
}

async function ends(
  t: ExecutionContext<unknown>,
  reliable: PipeOptions['reliable'] = true,
  more: PipeOptions = {},
): Promise<Ends> {
  const listener = await listen('tcp://127.0.0.1:0', { reliable, ...more });
  t.teardown(() => listener.close());
  const relay = await relayTo(t, listener.address);
  const [server, client] = await Promise.all([
    listener.accept(),
    dial(relay.address, { reliable, reconnect, ...more }),
  ]);
  t.teardown(() => Promise.all([client.close({ lingerMs: 0 }), server.close({ lingerMs: 0 })]));
  return { client, server, relay };
}

async function states(pipe: Pipe, wanted: string): Promise<void> {
  while (pipe.state !== wanted) await once(pipe, 'state');
}

async function confirmed(pipe: Pipe): Promise<void> {
  while (pipe.stats().messagesUnconfirmed > 0) await new Promise(setImmediate);
}

test('[D20 D30 D34] a pipe survives cuts, and loses and doubles nothing', async (t) => {
  const { client, server, relay } = await ends(t);
  const count = 3000;
  const id = client.connectionId;
  const sending = (async () => {
    for (let n = 0; n < count; n++) {
      await client.send(`${n}`);
      if (n % 500 === 250) relay.cut();
    }
  })();
  let n = 0;
  for await (const message of server) {
    t.is(String(message), `${n++}`);
    if (n % 700 === 350) relay.cut();
    if (n === count) break;
  }
  await sending;
  await server.send('all here');
  t.is(String(await client.receive()), 'all here');
  await states(client, 'CONNECTED');
  t.true(client.stats().reconnects > 0);
  t.true(server.stats().reconnects > 0);
  t.is(client.connectionId?.split('/')[0], id?.split('/')[0]);
  t.not(client.connectionId, id);
  t.is(client.connectionId, server.connectionId);
});

test('[D31] asking for the next message says that the program is done with the last', async (t) => {
  const { client, server } = await ends(t);
  for (const text of ['a', 'b', 'c']) await client.send(text);
  t.is(String(await server.receive()), 'a');
  t.is(String(await server.receive()), 'b');
  while (client.stats().messagesUnconfirmed !== 2) await new Promise(setImmediate);
  const iterator = server[Symbol.asyncIterator]();
  t.is(String((await iterator.next()).value), 'c');
  while (client.stats().messagesUnconfirmed !== 1) await new Promise(setImmediate);
  const last = iterator.next();
  await confirmed(client);
  await client.send('d');
  t.is(String((await last).value), 'd');
  t.is(client.stats().messagesUnconfirmed, 1);
});

test('[D31] consume() acknowledges when its callback returns; received, on arrival', async (t) => {
  const first = await ends(t);
  let got = 0;
  const consuming = first.server.consume((batch) => {
    got += batch.length;
  });
  for (let n = 0; n < 100; n++) await first.client.send('x');
  await confirmed(first.client);
  t.is(got, 100);
  await first.client.close();
  await consuming;
  const second = await ends(t, { ack: 'received' });
  await second.client.send('nobody reads it');
  await confirmed(second.client);
  t.pass();
});

test("[D35] ack: 'explicit': a message is done with when the program says so", async (t) => {
  const { client, server, relay } = await ends(t, { ack: 'explicit' });
  const count = 200;
  for (let n = 0; n < count; n++) await client.send(`${n}`, { channel: n % 2 });
  const kept: Message[] = [];
  for await (const message of server.messages()) {
    t.is(message.channel, kept.length % 2);
    t.is(String(message.data), `${kept.length}`);
    if (kept.push(message) === count) break;
    if (kept.length === 50) relay.cut();
  }
  await states(client, 'CONNECTED');
  t.is(client.stats().messagesUnconfirmed, count);
  // In any order, and as often as one likes.
  for (const message of kept.filter((_, n) => n % 7 !== 3).toReversed()) {
    message.ack();
    message.ack();
  }
  // An acknowledgement has room for 64 messages behind the first one that is missing.
  const left = kept.filter((_, n) => n % 7 === 3);
  while (client.stats().messagesUnconfirmed > count - 100) await new Promise(setImmediate);
  t.true(client.stats().messagesUnconfirmed >= left.length);
  relay.cut();
  left.forEach((message) => message.ack());
  await confirmed(client);
  t.is(server.stats().duplicates, 0);
});

test("[D33 D35] ack: 'explicit': senders wait for it, and so does close()", async (t) => {
  const { client, server } = await ends(t, { ack: 'explicit', windowMessages: 3 });
  for (let n = 0; n < 3; n++) t.true(client.trySend(`${n}`));
  const sending = client.send('3');
  const messages = server.messages();
  const next = async (): Promise<Message> => (await messages.next()).value as Message;
  const first = [await next(), await next(), await next()];
  t.is(client.stats().messagesUnconfirmed, 3);
  first[0]?.ack();
  await sending;
  const last = await next();
  t.is(String(last.data), '3');
  let isClosed = false;
  const closing = client.close().then(() => (isClosed = true));
  first[2]?.ack();
  first[1]?.ack();
  while (client.stats().messagesUnconfirmed > 1) await new Promise(setImmediate);
  t.false(isClosed);
  last.ack();
  await closing;
});

test("[D35] ack: 'explicit': loans and batches acknowledge; what cannot is refused", async (t) => {
  const { client, server } = await ends(t, { ack: 'explicit' });
  await client.send(Buffer.alloc(100_000, 1));
  await client.send('small', { channel: 5 });
  const large = await server.borrow();
  const small = await server.borrow();
  large.release();
  t.is(client.stats().messagesUnconfirmed, 2);
  large.ack();
  small.ack();
  await confirmed(client);
  for (let n = 0; n < 4; n++) await client.send(`${n}`);
  const taken: Loan[] = [];
  const stop = new AbortController();
  let seen = 0;
  const consuming = server.consume(
    (batch) => {
      for (let i = 0; i < batch.length; i++) {
        if (seen++ % 2 === 0) batch.ack(i);
        else taken.push(batch.take(i));
      }
    },
    { signal: stop.signal },
  );
  while (seen < 4 || client.stats().messagesUnconfirmed !== 2) await new Promise(setImmediate);
  taken.forEach((loan) => loan.ack());
  await confirmed(client);
  stop.abort();
  await t.throwsAsync(consuming, { code: 'ABORT_ERR' });
  const refused = { code: 'ERR_INVALID_ARGUMENT', message: /explicit/ };
  await t.throwsAsync(server.receive(), refused);
  await t.throwsAsync(server.receiveBatch(), refused);
  await t.throwsAsync(server[Symbol.asyncIterator]().next(), refused);
  t.throws(() => server.tryReceive(), refused);
});

test('[D35] ids name messages, in every form in which they are received', async (t) => {
  for (const ack of ['processed', 'received', 'explicit'] as const) {
    const { client, server } = await ends(t, { ack, lossyChannels: [9] });
    const session = client.connectionId?.split('/')[0];
    const ids: (string | null)[] = [];
    for (let n = 0; n < 3; n++) await client.send(`${n}`, { channel: 4 });
    ids.push((await server.receiveMessage()).id);
    const loan = await server.borrow();
    ids.push(loan.id);
    const messages = server.messages();
    ids.push(((await messages.next()).value as Message).id);
    await client.send('lossy', { channel: 9 });
    t.is(((await messages.next()).value as Message).id, null);
    const stop = new AbortController();
    const consuming = server.consume(
      (batch) => {
        for (let i = 0; i < batch.length; i++) ids.push(batch.id(i), batch.take(i).id);
      },
      { signal: stop.signal },
    );
    await client.send('3', { channel: 4 });
    await client.send(Buffer.alloc(50_000), { channel: 4 });
    while (ids.length < 7) await new Promise(setImmediate);
    stop.abort();
    await t.throwsAsync(consuming, { code: 'ABORT_ERR' });
    t.deepEqual(
      ids,
      [0, 1, 2, 3, 3, 4, 4].map((n) => `${session}/d/4/${n}`),
    );
    await server.send('back');
    t.is((await client.receiveMessage()).id, `${session}/l/0/0`);
  }
});

test('[D35] ids tell the ends apart, also of a pipe that does not dial again', async (t) => {
  const listener = await listen('tcp://127.0.0.1:0', { reliable: true });
  const options = { reliable: true, reconnect: false };
  const [server, client] = await Promise.all([listener.accept(), dial(listener.address, options)]);
  // The listener's end stays the listener's without it.
  await listener.close();
  await client.send('there');
  await server.send('back');
  t.regex((await server.receiveMessage()).id ?? '', /\/d\/0\/0$/);
  t.regex((await client.receiveMessage()).id ?? '', /\/l\/0\/0$/);
  await Promise.all([client.close(), server.close()]);
});

test("[D35] ack: 'explicit': what is no value is gone, and holds up nothing", async (t) => {
  const { client, server } = await ends(t, { ack: 'explicit', windowMessages: 2 });
  const texts = textCodec('spec.Fragile');
  const codec: Codec<string> = {
    ...texts,
    decode(bytes) {
      const text = texts.decode(bytes);
      if (text === 'bad') throw new RangeError('bad');
      return text;
    },
  };
  const [sender, receiver] = [client.typed(codec), server.typed(codec)];
  const sending = (async () => {
    for (const text of ['bad', 'bad', 'bad', 'good']) await sender.send(text);
  })();
  for (let n = 0; n < 3; n++) await t.throwsAsync(receiver.receiveMessage(), { message: 'bad' });
  const good = await receiver.receiveMessage();
  t.is(good.data, 'good');
  await sending;
  good.ack();
  await confirmed(client);
});

test('[D35] messages of other pipes have no id, and ack() does nothing', async (t) => {
  const listener = await listen('tcp://127.0.0.1:0');
  t.teardown(() => listener.close());
  const [server, client] = await Promise.all([listener.accept(), dial(listener.address)]);
  await client.send('a', { channel: 3 });
  const { data, channel, id, ack } = await server.receiveMessage();
  t.deepEqual([String(data), channel, id, typeof ack], ['a', 3, null, 'function']);
  await client.send('b');
  const loan = await server.borrow();
  t.is(loan.id, null);
  loan.ack();
  await client.close();
});

test('[D13 D30] no pause between two attempts is as long as a session is kept', async (t) => {
  const reliable = { sessionTimeoutMs: 6000 };
  const growing = { initialMs: 1, factor: 100, maxMs: 1_000_000, jitter: 0 };
  const listener = await listen('tcp://127.0.0.1:0', { reliable });
  t.teardown(() => listener.close());
  const relay = await relayTo(t, listener.address);
  const [server, client] = await Promise.all([
    listener.accept(),
    dial(relay.address, { reliable, reconnect: growing }),
  ]);
  // After the third attempt the pause would be of 1,000 s.
  relay.refuse(4);
  relay.cut();
  await client.send('kept');
  t.is(String(await server.receive()), 'kept');
  await Promise.all([client.close(), server.close()]);
});

test('[D30] close() waits until everything is acknowledged, over a cut', async (t) => {
  const { client, server, relay } = await ends(t);
  for (let n = 0; n < 100; n++) await client.send(`${n}`);
  relay.cut();
  const closing = client.close();
  const got: string[] = [];
  for await (const message of server) got.push(String(message));
  t.deepEqual(
    got,
    Array.from({ length: 100 }, (_, n) => `${n}`),
  );
  await closing;
  t.true(server.reason?.clean);
});

for (const closer of ['client', 'server'] as const) {
  test(`[D22 D30] the ${closer}'s close() outlives its connection`, async (t) => {
    // Whoever waited for the end of the session would wait for an hour.
    const { client, server, relay } = await ends(t, { sessionTimeoutMs: 3_600_000 });
    const [here, there] = closer === 'client' ? [client, server] : [server, client];
    await here.send('last');
    t.is(String(await there.receive()), 'last');
    const end = t.throwsAsync(there.receive(), { code: 'ERR_CLOSED', message: /match over/ });
    await confirmed(here);
    relay.mute();
    await here.close({ reason: { status: 7, text: 'match over' } });
    relay.cut();
    await end;
    t.like(there.reason, { clean: true, status: 7, text: 'match over' });
  });
}

test('[D30 D31] two ends that close at once do not wait for each other', async (t) => {
  const { client, server, relay } = await ends(t, { windowMessages: 1 });
  await Promise.all([client.send('a'), server.send('b')]);
  // For these there is no room: they are given up, whether or not anybody was told that they wait.
  const waiting = [client, server].map((pipe) => pipe.send('no room').catch(() => {}));
  const close = (pipe: Pipe): Promise<void> => pipe.close({ lingerMs: 3_600_000 });
  await Promise.all([close(client), close(server), ...waiting]);
  t.pass();
  relay.cut();
});

test('[D33] senders wait while the window is full', async (t) => {
  const { client, server, relay } = await ends(t, { windowMessages: 10 });
  for (let n = 0; n < 10; n++) t.true(client.trySend(`${n}`));
  client.flush();
  const sending = client.send('10');
  client.flush();
  relay.cut();
  t.is(client.stats().messagesUnconfirmed, 10);
  for (let n = 0; n < 10; n++) t.is(String(await server.receive()), `${n}`);
  t.is(String(await server.receive()), '10');
  await sending;
});

test('[D04] lossy channels pass a full window, and are not repeated', async (t) => {
  const { client, server, relay } = await ends(t, { windowMessages: 4, lossyChannels: [7] });
  for (let n = 0; n < 4; n++) t.true(client.trySend(`${n}`));
  t.true(client.trySend('now', { channel: 7 }));
  await states(client, 'CONNECTED');
  for (let n = 0; n < 4; n++) t.is(String(await server.receive()), `${n}`);
  t.is(String(await server.receive()), 'now');
  relay.cut();
  await states(client, 'CONNECTED');
  // What was not reliable was not waited for, and does not come again.
  await client.send('last');
  t.is(String(await server.receive()), 'last');
  t.is(server.stats().duplicates, 0);
  for (const lossyChannels of [7, [-1], [65_535], [1.5], ['1'], Array(257).fill(1)]) {
    const reliable = { lossyChannels } as never;
    const error = await t.throwsAsync(dial(relay.address, { reliable }), {
      code: 'ERR_INVALID_ARGUMENT',
    });
    t.regex(error?.message ?? '', /reliable\.lossyChannels/);
  }
});

test('[D04] reliable and lossy messages of one pipe do not wait for each other', async (t) => {
  const { client, server, relay } = await ends(t, { windowMessages: 4, lossyChannels: [7] });
  // Six wait for the window: what is sent once overtakes them, by its channel or by itself.
  const sending = Array.from({ length: 10 }, (_, n) => client.send(`${n}`));
  const got: string[] = [];
  for (let n = 0; n < 4; n++) got.push(String((await server.borrow()).bytes));
  const waiting = client.send('ten', { backpressure: 'block' });
  await client.send('lossy', { channel: 7 });
  await client.send('once', { reliable: false });
  t.true(client.trySend('once more', { reliable: false }));
  while (got.length < 14) {
    got.push(String((await server.borrow()).bytes));
    if (got.length === 9) relay.cut();
  }
  await Promise.all([...sending, waiting]);
  const isLossy = (text: string): boolean => !/^([0-9]|ten)$/.test(text);
  t.deepEqual(
    got.filter((text) => !isLossy(text)),
    [...Array.from({ length: 10 }, (_, n) => `${n}`), 'ten'],
  );
  t.deepEqual(got.filter(isLossy).toSorted(), ['lossy', 'once', 'once more']);
  await t.throwsAsync(client.send('x', { reliable: 1 } as never), {
    code: 'ERR_INVALID_ARGUMENT',
  });
});

test('[D04 D10 D30] one channel more than a session has is told, and costs no other', async (t) => {
  const spoiled = { code: 'ERR_CHANNELS_EXHAUSTED', retryable: false };
  const last = 128;
  // Where a queue knows what becomes of each message, the call itself fails.
  for (const isQueued of [false, true]) {
    const { client, server } = await ends(t, isQueued ? { lossyChannels: [700] } : true);
    const errors: BusbarError[] = [];
    client.on('error', (error) => errors.push(error));
    for (let channel = 0; channel < last; channel++) {
      await client.send(`${channel}`, { channel });
    }
    const extra = client.send('too many', { channel: last });
    if (isQueued) t.like(await t.throwsAsync(extra), spoiled);
    else await extra;
    await client.send('last', { channel: 127 });
    const wanted = Array.from({ length: last }, (_, channel) => `${channel} ${channel}`);
    wanted.push('127 last');
    if (isQueued) {
      await client.send('lossy', { channel: 700 });
      await client.send('once', { channel: last, reliable: false });
      wanted.push('700 lossy', '128 once');
    }
    const got: string[] = [];
    for await (const { data, channel } of server.messages()) {
      got.push(`${channel} ${String(data)}`);
      if (got.length === wanted.length) break;
    }
    t.deepEqual(got.toSorted(), wanted.toSorted());
    if (isQueued) continue;
    while (errors.length === 0) await once(client, 'error');
    t.is(errors.length, 1);
    t.like(errors[0], spoiled);
    t.is(client.state, 'CONNECTED');
  }
});

test('[D26 D30] messages with terms of their own do not wait for acknowledgements', async (t) => {
  const { client, server } = await ends(t);
  const count = 50;
  for (let n = 0; n < count; n++) {
    t.true(client.trySend(`${n}`, { ttlMs: 60_000, backpressure: 'fail-fast' }));
  }
  client.flush();
  t.is(client.stats().messagesUnconfirmed + client.stats().messagesQueued, count);
  for (let n = 0; n < count; n++) t.is(String(await server.receive()), `${n}`);
});

test('[D26] what is stale is not sent again, and not received', async (t) => {
  const { client, server, relay } = await ends(t);
  relay.cut();
  while (client.state === 'CONNECTED') await once(client, 'state');
  await client.send('stale before it is sent', { ttlMs: 1 });
  const wait = Date.now() + 30;
  while (Date.now() < wait);
  await client.send('for ever');
  t.is(String(await server.receive()), 'for ever');
  const { resendsExpired, sendsExpired } = client.stats();
  t.is(resendsExpired + sendsExpired, 1);
  await client.send('arrives, and waits too long', { ttlMs: 1_000 });
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  await client.send('last');
  t.is(String(await server.receive()), 'last');
  t.is(server.stats().receivesExpired, 1);
});

test('[D30] what close() discards is not acknowledged', async (t) => {
  const { client, server } = await ends(t);
  await server.send('keeps the closing pipe here');
  for (const text of ['a', 'b', 'c']) await client.send(text);
  const iterator = server[Symbol.asyncIterator]();
  t.is(String((await iterator.next()).value), 'a');
  while (client.stats().messagesUnconfirmed > 3) await new Promise(setImmediate);
  const closing = server.close({ lingerMs: 3_600_000 });
  t.true((await iterator.next()).done);
  while (client.stats().messagesUnconfirmed > 2) await new Promise(setImmediate);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.is(client.stats().messagesUnconfirmed, 2);
  await Promise.all([client.close({ lingerMs: 3_600_000 }), closing]);
});

test('[D30] a session that was lost is told of, at both ends', async (t) => {
  const { client, server, relay } = await ends(t, { sessionTimeoutMs: 100 });
  await client.send('a');
  await server.receive();
  const errors = Promise.all([once(client, 'error'), once(server, 'error')]);
  // Nobody is at home any more.
  const refuse = setInterval(() => relay.cut(), 1);
  t.teardown(() => clearInterval(refuse));
  relay.cut();
  for (const [error] of (await errors) as unknown as [BusbarError][])
    t.is(error.code, 'ERR_SESSION_LOST');
  await t.throwsAsync(client.send('b'), { code: 'ERR_SESSION_LOST' });
  t.is(client.stats().messagesUnconfirmed, 1, 'the message that was received and not done with');
});

test('[D30 D35] what the peer had not processed when it closed can be counted', async (t) => {
  const { client, server } = await ends(t);
  for (const text of ['a', 'b', 'c']) await client.send(text);
  t.is(String(await server.receive()), 'a');
  const closed = once(client, 'close').then(() => client.stats().messagesUnconfirmed);
  await server.close({ lingerMs: 0 });
  await t.throwsAsync(client.receive(), { code: 'ERR_CLOSED' });
  t.is(await closed, 2, 'closing says that the program is done with what it has received');
  await client.close();
  t.is(client.stats().messagesUnconfirmed, 2);
});

test('[D30] both ends must choose it, where it is of use', async (t) => {
  const listener = await listen('tcp://127.0.0.1:0', { reliable: true });
  t.teardown(() => listener.close());
  listener.on('error', () => {});
  const error = await t.throwsAsync(dial(listener.address), { code: 'ERR_NOT_SUPPORTED' });
  t.regex(error?.message ?? '', /`reliable`/);
  const plain = await listen('tcp://127.0.0.1:0');
  t.teardown(() => plain.close());
  plain.on('error', () => {});
  await t.throwsAsync(dial(plain.address, { reliable: true }), { code: 'ERR_NOT_SUPPORTED' });
  for (const receiveBackpressure of ['drop-new', 'drop-old'] as const) {
    const options = { reliable: true, receiveBackpressure };
    await t.throwsAsync(dial(plain.address, options), { code: 'ERR_INVALID_ARGUMENT' });
  }
  const address = await unusedAddress('shm');
  await t.throwsAsync(listen(address, { reliable: true }), { code: 'ERR_NOT_SUPPORTED' });
  await t.throwsAsync(async () => connectInproc('nobody', { reliable: true }), {
    code: 'ERR_NOT_SUPPORTED',
  });
  for (const reliable of [1, null, { windowMessages: 0 }, { ack: 'never' }, { wndow: 1 }]) {
    const options = { reliable } as unknown as PipeOptions;
    await t.throwsAsync(listen('tcp://127.0.0.1:0', options), { code: 'ERR_INVALID_ARGUMENT' });
  }
});
