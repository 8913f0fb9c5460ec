/** Pipes that outlive their connections: listeners in processes that are killed and come back. */

import { setTimeout as sleep } from 'node:timers/promises';

import test, { type ExecutionContext } from 'ava';

import { BusbarError, dial, listen, type ConnectionState, type Pipe } from '../index.js';
import { start, type Child } from './helpers/child.js';
import { closed, unusedAddress, type Scheme } from './helpers/pairs.js';
import { textCodec } from './helpers/text-codec.js';

const reconnect = { initialMs: 5, maxMs: 50 };

/** A listener in a process of its own that prints what it receives. */
async function server(t: ExecutionContext<unknown>, address: string): Promise<Child> {
  const child = start('print.js', [address]);
  t.teardown(() => child.kill());
  await child.line();
  return child;
}

/** A listener in a process of its own that sends three values of a type with this hash. */
async function source(t: ExecutionContext<unknown>, address: string, hash: number): Promise<Child> {
  const child = start('typed-source.js', [address, String(hash)]);
  t.teardown(() => child.kill());
  await child.line();
  return child;
}

const VERSION_1 = textCodec('spec.Version1');

function until(pipe: Pipe, state: ConnectionState): Promise<void> {
  if (pipe.state === state) return Promise.resolve();
  return new Promise((resolve) => {
    const onState = (now: ConnectionState): void => {
      if (now !== state) return;
      pipe.off('state', onState);
      resolve();
    };
    pipe.on('state', onState);
  });
}

for (const scheme of ['shm', 'uds', 'tcp'] as const satisfies readonly Scheme[]) {
  test(`[D19 D21] ${scheme}: a pipe that is closed while down delivers what waits`, async (t) => {
    const address = await unusedAddress(scheme);
    const first = await server(t, address);
    const pipe = await dial(address, { reconnect });
    first.kill();
    await until(pipe, 'DISCONNECTED');
    const messages = Array.from({ length: 100 }, (_, n) => `waiting ${n}`);
    for (const message of messages) t.true(pipe.trySend(message));
    await pipe.close();
    t.is(pipe.stats().sendsLost, 0);
    const second = await server(t, address);
    const lines: string[] = [];
    while (lines.length < messages.length) lines.push(await second.line());
    t.deepEqual(lines, messages);
  });

  test(`[D12 D13 D17 D20] ${scheme}: a killed listener that comes back`, async (t) => {
    const address = await unusedAddress(scheme);
    const first = await server(t, address);
    const pipe = await dial(address, { reconnect });
    t.teardown(() => pipe.close());
    const states: [ConnectionState, string | undefined][] = [];
    pipe.on('state', (state, _, reason) => states.push([state, reason?.code]));
    const errors: BusbarError[] = [];
    pipe.on('error', (error) => errors.push(error));
    const id = pipe.connectionId as string;
    await pipe.send('one');
    t.is(await first.line(), 'one');
    first.kill();
    await until(pipe, 'DISCONNECTED');
    const [lost, why] = states[0] as (typeof states)[0];
    t.is(lost, 'DISCONNECTED');
    t.is(why, 'ERR_CONNECTION_LOST', 'and not what came of the first attempt');
    await pipe.send('two');
    t.true(pipe.trySend('three'));
    const second = await server(t, address);
    t.deepEqual([await second.line(), await second.line()], ['two', 'three']);
    await until(pipe, 'CONNECTED');
    await pipe.send('four');
    t.is(await second.line(), 'four');
    t.deepEqual(states.at(-1), ['CONNECTED', undefined]);
    t.true(states.some(([state]) => state === 'RECONNECTING'));
    t.deepEqual(
      errors.map(({ code }) => code),
      [why],
    );
    t.regex(errors[0]?.message ?? '', /being replaced/);
    const [session, epoch] = id.split('/');
    const [sameSession, laterEpoch] = (pipe.connectionId as string).split('/');
    t.is(session, sameSession);
    t.true(Number(laterEpoch) > Number(epoch));
    t.is(pipe.stats().reconnects, 1);
    t.is(pipe.reason, null);
  });

  test(`[D19 D24] ${scheme}: a queue behind the link goes on with the next one`, async (t) => {
    const address = await unusedAddress(scheme);
    const first = await source(t, address, 0);
    const pipe = await dial(address, { reconnect, receiveHighWaterMarkMessages: 10 });
    t.teardown(() => pipe.close());
    pipe.on('error', () => {});
    const received = [String(await pipe.receive())];
    first.kill();
    await until(pipe, 'DISCONNECTED');
    await source(t, address, 0);
    while (received.length < 6) received.push(String(await pipe.receive()));
    t.deepEqual(received, ['0-1', '0-2', '0-3', '0-1', '0-2', '0-3']);
  });

  test(`[T18 D20] ${scheme}: each connection has the types of its own peer`, async (t) => {
    const address = await unusedAddress(scheme);
    const first = await source(t, address, 1);
    const pipe = await dial(address, { reconnect });
    t.teardown(() => pipe.close());
    pipe.on('error', () => {});
    const reader = pipe.typed(VERSION_1);
    t.is(await reader.receive(), '1-1');
    first.kill();
    await until(pipe, 'DISCONNECTED');
    await source(t, address, 2);
    await until(pipe, 'CONNECTED');
    t.deepEqual([await reader.receive(), await reader.receive()], ['1-2', '1-3']);
    await t.throwsAsync(reader.receive(), { code: 'ERR_SCHEMA_MISMATCH', message: /0+2/ });
    t.is(pipe.state, 'CONNECTED');
  });

  test(`[D19] ${scheme}: sends wait when the buffer for downtimes is full`, async (t) => {
    const address = await unusedAddress(scheme);
    const first = await server(t, address);
    const pipe = await dial(address, { reconnect, queueMessages: 10, maxPendingSends: 5 });
    t.teardown(() => pipe.close());
    pipe.on('error', () => {});
    first.kill();
    await until(pipe, 'DISCONNECTED');
    let accepted = 0;
    for (; pipe.trySend(`${accepted}`); pipe.flush()) accepted++;
    t.true(accepted >= 10 && accepted < 40, `${accepted} kept`);
    let isSent = false;
    const waiting = pipe.send(`${accepted}`).then(() => (isSent = true));
    await sleep(50);
    t.false(isSent);
    const second = await server(t, address);
    await waiting;
    for (let i = 0; i <= accepted; i++) t.is(await second.line(), `${i}`);
  });

  test(`[D19 D21] ${scheme}: closed while down and full, a pipe delivers the rest`, async (t) => {
    const address = await unusedAddress(scheme);
    const first = await server(t, address);
    const pipe = await dial(address, { reconnect, queueMessages: 4, ringBytes: 65_536 });
    first.kill();
    await until(pipe, 'DISCONNECTED');
    const texts = Array.from({ length: 40 }, (_, n) => `${n}`);
    const sending = texts.map((text) => pipe.send(text));
    await new Promise(setImmediate);
    const closing = pipe.close();
    const second = await server(t, address);
    await Promise.all([...sending, closing]);
    for (const text of texts) t.is(await second.line(), text);
    t.is(pipe.stats().sendsLost, 0);
  });

  test(`[D11 D19] ${scheme}: what was dropped while down stays counted`, async (t) => {
    const address = await unusedAddress(scheme);
    const first = await server(t, address);
    const pipe = await dial(address, { reconnect });
    t.teardown(() => pipe.close());
    pipe.on('error', () => {});
    first.kill();
    await until(pipe, 'DISCONNECTED');
    for (let n = 0; n < 7; n++) t.false(pipe.trySend('stale', { ttlMs: 0 }));
    t.is(pipe.stats().sendsExpired, 7);
    const second = await server(t, address);
    await pipe.send('fresh');
    t.is(await second.line(), 'fresh');
    t.is(pipe.stats().sendsExpired, 7);
  });

  test(`[D13] ${scheme}: attempts may be bounded`, async (t) => {
    const address = await unusedAddress(scheme);
    const child = await server(t, address);
    const pipe = await dial(address, { reconnect: { ...reconnect, maxAttempts: 2 } });
    const codes: string[] = [];
    pipe.on('error', ({ code }) => codes.push(code));
    const receiving = t.throwsAsync(pipe.receive(), { instanceOf: BusbarError });
    child.kill();
    await closed(pipe);
    await receiving;
    const nobody = scheme === 'tcp' ? 'ERR_CONNECTION_REFUSED' : 'ERR_NOT_FOUND';
    t.is(pipe.reason?.code, nobody);
    t.deepEqual(codes, ['ERR_CONNECTION_LOST', nobody]);
  });

  test(`[D15] ${scheme}: close() while there is no connection is at once`, async (t) => {
    const address = await unusedAddress(scheme);
    const child = await server(t, address);
    const pipe = await dial(address, { reconnect });
    pipe.on('error', () => {});
    child.kill();
    await until(pipe, 'DISCONNECTED');
    let turns = 0;
    const counting = setInterval(() => turns++, 1);
    await pipe.close();
    clearInterval(counting);
    t.true(turns < 100);
    t.is(pipe.state, 'CLOSED');
    t.like(pipe.reason, { clean: true, local: true });
  });
}

test('[D13] an orderly close is final', async (t) => {
  await using listener = await listen('inproc://reconnect-orderly');
  const pipe = await dial(listener.address, { reconnect });
  const accepted = await listener.accept();
  await accepted.close({ reason: 'enough' });
  await closed(pipe);
  t.like(pipe.reason, { clean: true, text: 'enough' });
});

test('[D13] options of reconnecting are checked by name', async (t) => {
  for (const [given, message] of [
    [3, /reconnect is 3; it must be true, false or/],
    [{ initialMs: 0 }, /initialMs is 0/],
    [{ maxMs: 10 }, /maxMs is 10; it must not be below initialMs, 100/],
    [{ factor: 0.5 }, /factor is 0.5; it must be a number, 1 to 100/],
    [{ jitter: 2 }, /jitter is 2/],
    [{ maxAttempts: -1 }, /maxAttempts is -1/],
    [{ attempts: 1 }, /unknown option "attempts"/],
  ] as const) {
    await t.throwsAsync(dial('inproc://nobody', { reconnect: given as never }), {
      code: 'ERR_INVALID_ARGUMENT',
      message,
    });
  }
});
