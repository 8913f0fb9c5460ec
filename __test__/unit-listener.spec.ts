/** Listeners and dialing, over a fake core: who takes a pipe, limits, ends of waits. */

import { inspect } from 'node:util';

import test from 'ava';

import type { BusbarError } from '../lib/errors.js';
import { Event } from '../lib/internal/binding.js';
import { PipeCore } from '../lib/internal/core.js';
import { ListenerCore } from '../lib/internal/listener-core.js';
import { Port } from '../lib/internal/port.js';
import { Listener } from '../lib/listener.js';
import { dialSettings, listenSettings, pipeSettings, type ListenOptions } from '../lib/options.js';
import { Pipe } from '../lib/pipe.js';
import { FakePort } from './helpers/fake-port.js';

test('[D06] pipes go to accept() first, then to the event, then wait', async (t) => {
  const { fake, listener, arrive } = setUp();
  const waiting = listener.accept();
  const pipes: Pipe[] = [];
  arrive();
  await fake.settle();
  t.true((await waiting) instanceof Pipe);
  arrive();
  await fake.settle();
  listener.on('pipe', (pipe) => pipes.push(pipe));
  await fake.settle();
  t.is(pipes.length, 1, 'the one that had to wait');
  arrive();
  await fake.settle();
  t.is(pipes.length, 2);
});

test('[D06] events of other libraries, which would never come, are refused', async (t) => {
  const { fake, listener, arrive } = setUp();
  arrive();
  await fake.settle();
  const pipe = await listener.accept();
  const nothing = (): void => {};
  for (const name of ['message', 'data']) {
    t.throws(() => pipe.on(name as 'close', nothing), { message: /receive\(\)/ });
    t.throws(() => pipe.once(name as 'close', nothing), { code: 'ERR_INVALID_ARGUMENT' });
  }
  t.throws(() => listener.on('connection' as 'pipe', nothing), { message: /the event is "pipe"/ });
  t.notThrows(() => pipe.on('close', nothing).on('mine' as 'close', nothing));
});

test('[D06] console.log() shows what a pipe is', async (t) => {
  const { fake, listener, arrive } = setUp();
  arrive();
  await fake.settle();
  const pipe = await listener.accept();
  t.regex(inspect(pipe), /^Pipe \{\s+address: '.+',\s+state: 'CONNECTED',\s+peer: /);
});

test('[D06] what waits is bounded by backlog', async (t) => {
  const { fake, listener, arrive } = setUp({ backlog: 2 });
  const handles = [arrive(), arrive(), arrive()];
  await fake.settle();
  t.deepEqual(
    fake.closed.map(({ handle }) => handle),
    [handles[2]],
  );
  t.regex(fake.closed[0]?.text ?? '', /backlog/);
  t.truthy(await listener.accept());
  t.truthy(await listener.accept());
  await t.throwsAsync(listener.accept({ timeoutMs: 1 }), { code: 'ERR_TIMED_OUT' });
});

test('[D08] accept() ends by its signal; close() ends accept() and iteration', async (t) => {
  const { fake, listener, arrive } = setUp();
  const stop = new AbortController();
  const aborted = t.throwsAsync(listener.accept({ signal: stop.signal }), { code: 'ABORT_ERR' });
  stop.abort();
  await aborted;
  const seen: Pipe[] = [];
  const iterated = (async () => {
    for await (const pipe of listener) seen.push(pipe);
  })();
  arrive();
  await fake.settle();
  t.is(seen.length, 1);
  const closed = t.throwsAsync(listener.accept(), { code: 'ERR_CLOSED' });
  let events = 0;
  listener.on('close', () => events++);
  await listener.close();
  await listener[Symbol.asyncDispose]();
  await Promise.all([iterated, closed]);
  await t.throwsAsync(listener.accept(), { code: 'ERR_CLOSED' });
  t.is(events, 1);
  t.is(seen[0]?.state, 'CONNECTED', 'pipes that were taken stay open');
});

test('[D08] an iterator over pipes lets go when it is left', async (t) => {
  const { fake, listener, arrive } = setUp();
  const iterator = listener[Symbol.asyncIterator]();
  const pending = iterator.next();
  await iterator.return?.();
  t.true((await pending).done);
  arrive();
  await fake.settle();
  t.truthy(await listener.accept());
});

test('[D08] closing closes pipes that nobody took; a pipe that comes too late too', async (t) => {
  const { fake, listener, arrive } = setUp();
  const early = arrive();
  await fake.settle();
  const late = arrive();
  await listener.close();
  await fake.settle();
  t.deepEqual(
    fake.closed.map(({ handle }) => handle),
    [early, late],
  );
});

test('[D08] its signal closes a listener', async (t) => {
  const stop = new AbortController();
  const { listener } = setUp({ signal: stop.signal });
  const closed = t.throwsAsync(listener.accept(), { code: 'ERR_CLOSED' });
  stop.abort();
  await closed;
});

test('[D17] a connection that failed is an error event', async (t) => {
  const { fake, listener, handle } = setUp();
  const errors: BusbarError[] = [];
  listener.on('error', (error) => errors.push(error));
  fake.warnings.push({ code: 'ERR_VERSION_MISMATCH', message: 'too old' });
  fake.emit(Event.Warning, handle);
  await fake.settle();
  t.like(errors[0], { code: 'ERR_VERSION_MISMATCH', message: 'too old', retryable: false });
});

test('[D08] a listener that is closed underneath says so', async (t) => {
  const { fake, listener, handle } = setUp();
  const failed = t.throwsAsync(listener.accept(), { code: 'ERR_CLOSED', message: /listen again/ });
  fake.emit(Event.ListenerClosed, handle);
  await fake.settle();
  await failed;
});

test('[D08] the event loop is kept alive by listeners', async (t) => {
  const { fake, listener } = setUp();
  t.is(fake.refs.at(-1), 1);
  listener.unref();
  t.is(fake.refs.at(-1), 0);
  listener.ref();
  await listener.close();
  t.is(fake.refs.at(-1), 0);
});

test('[D09 D12] dialing ends when connected, refused, timed out or aborted', async (t) => {
  const { fake, port } = setUp();
  const settings = pipeSettings({});
  const start = (): PipeCore => {
    const handle = port.native.dial('shm://x', dialSettings({}, 'shm://x').native);
    return new PipeCore(port, handle, 'shm://x', settings, 'CONNECTING');
  };
  const good = start();
  const states: string[] = [];
  new Pipe(good).on('state', (state) => states.push(state));
  await Promise.all([good.connected({}), fake.settle()]);
  t.deepEqual(states, ['CONNECTED']);
  fake.answers = false;
  const slow = start();
  const message = /dialing shm:\/\/x did not finish within 5 ms/;
  await t.throwsAsync(slow.connected({ timeoutMs: 5 }), { code: 'ERR_TIMED_OUT', message });
  t.true(fake.closed.some(({ handle }) => handle === slow.handle));
  const stop = new AbortController();
  const aborted = t.throwsAsync(start().connected({ signal: stop.signal }), { code: 'ABORT_ERR' });
  stop.abort();
  await aborted;
  const dead = start();
  fake.lose(dead.handle);
  const lost = t.throwsAsync(dead.connected({ timeoutMs: 1000 }), { code: 'ERR_CONNECTION_LOST' });
  await fake.settle();
  await lost;
  t.is(fake.refs.at(-1), 2, 'the listener and the one good pipe');
});

function setUp(options: ListenOptions = {}) {
  const fake = new FakePort();
  const port = new Port(fake.asNative());
  const settings = listenSettings(options, 'inproc://x');
  const handle = fake.listen('inproc://fake');
  const listener = new Listener(new ListenerCore(port, handle, 'inproc://fake', settings));
  const arrive = (): number => {
    const [pipe] = fake.pair(settings.native);
    fake.emit(Event.Accepted, handle, pipe);
    return pipe;
  };
  return { fake, port, listener, handle, arrive };
}
