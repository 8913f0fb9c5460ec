/** Everything that waits can be aborted, limited in time, and ended by close(). */

import { getEventListeners } from 'node:events';

import test, { type ExecutionContext } from 'ava';

import { AbortError, compile, type Listener, type Pipe, type WaitOptions } from '../index.js';
import { dial, listen } from './helpers/ends.js';
import { pattern } from './helpers/data.js';
import {
  freshAddress,
  isStream,
  nobodyThere,
  pairOf,
  SCHEMES,
  stuff,
  type Pair,
} from './helpers/pairs.js';

/** A call that waits until it is ended. */
interface WaitingCall {
  readonly name: string;
  readonly begin: (pair: Pair, options?: WaitOptions) => Promise<unknown>;
  /** What close() of the end that waits does to it. */
  readonly end: (pair: Pair) => Promise<void>;
  /** Iterators and consume() just end. */
  readonly isQuiet?: true;
}

/** A type, as a descriptor. */
const BYTE = JSON.stringify({
  abi: 1,
  format: 'rkyv0.8/le/aligned/p32',
  root: 'waiting.Byte',
  types: { 'waiting.Byte': { kind: 'struct', fields: [{ name: 'value', kind: 'u8' }] } },
});

const closeServer = ({ server }: Pair): Promise<void> => server.close();

const CALLS: readonly WaitingCall[] = [
  { name: 'receive()', begin: ({ server }, o) => server.receive(o), end: closeServer },
  { name: 'receiveBatch()', begin: ({ server }, o) => server.receiveBatch(9, o), end: closeServer },
  { name: 'borrow()', begin: ({ server }, o) => server.borrow(o), end: closeServer },
  {
    name: 'batches()',
    begin: ({ server }, o) => server.batches(o ?? {}).next(),
    end: closeServer,
    isQuiet: true,
  },
  {
    name: 'send()',
    begin: ({ client }, o) => fill(client).send(pattern(100, 1), o),
    end: ({ client }) => client.close({ lingerMs: 0 }),
  },
  {
    name: 'send() of a reservation by commit()',
    begin: ({ client }, o) => fill(client).reserve(100).commit(100, o),
    end: ({ client }) => client.close({ lingerMs: 0 }),
  },
  {
    name: 'send() of a large reservation by commit()',
    begin: ({ client }, o) => fill(client).reserve(20_000).commit(20_000, o),
    end: ({ client }) => client.close({ lingerMs: 0 }),
  },
  {
    name: 'send() of a large message',
    begin: ({ client }, o) => fill(client).send(pattern(200_000, 1), o),
    end: ({ client }) => client.close({ lingerMs: 0 }),
  },
  {
    name: 'sendBatch()',
    begin: ({ client }, o) => fill(client).sendBatch(['a', pattern(3000, 1), 'b'], o),
    end: ({ client }) => client.close({ lingerMs: 0 }),
  },
  {
    name: 'accept()',
    begin: ({ listener }, o) => listener.accept(o),
    end: ({ listener }) => listener.close(),
  },
];

const SMALLEST = { ringBytes: 65_536, slabBytes: 65_536, queueMessages: 8 };

for (const scheme of SCHEMES) {
  for (const { name, begin, end, isQuiet } of CALLS) {
    test(`[D08] ${scheme}: ${name} is aborted by its signal`, async (t) => {
      const pair = await pairOf(t, scheme, { both: SMALLEST });
      const controller = new AbortController();
      const reason = new Error('enough');
      const waiting = begin(pair, { signal: controller.signal });
      setImmediate(() => controller.abort(reason));
      const error = await t.throwsAsync(waiting, { instanceOf: AbortError });
      t.like(error, { name: 'AbortError', code: 'ABORT_ERR', retryable: false, cause: reason });
      await stillWorks(t, pair, name);
    });

    test(`[D08] ${scheme}: ${name} with a signal that has fired does nothing`, async (t) => {
      const pair = await pairOf(t, scheme, { both: SMALLEST });
      const waiting = begin(pair, { signal: AbortSignal.abort('before') });
      t.like(await t.throwsAsync(waiting, { code: 'ABORT_ERR' }), { cause: 'before' });
      await stillWorks(t, pair, name);
    });

    test(`[D08] ${scheme}: ${name} gives up in time`, async (t) => {
      const pair = await pairOf(t, scheme, { both: SMALLEST });
      if (isStream(scheme) && name.startsWith('send')) await stuff(pair.client);
      const begun = Date.now();
      const error = await t.throwsAsync(begin(pair, { timeoutMs: 50 }), { code: 'ERR_TIMED_OUT' });
      t.like(error, { retryable: true });
      t.true(Date.now() - begun >= 45);
      await t.throwsAsync(begin(pair, { timeoutMs: 0 }), { code: 'ERR_TIMED_OUT' });
      await stillWorks(t, pair, name);
    });

    test(`[D08] ${scheme}: close() ends ${name}`, async (t) => {
      const pair = await pairOf(t, scheme, { both: SMALLEST });
      const waiting = begin(pair);
      setImmediate(() => void end(pair));
      if (isQuiet) t.deepEqual(await waiting, { done: true, value: undefined });
      else await t.throwsAsync(waiting, { code: 'ERR_CLOSED' });
    });
  }

  test(`[D08] ${scheme}: iterators and consume() just end with close()`, async (t) => {
    const pipes = await Promise.all([1, 2, 3].map(() => pairOf(t, scheme)));
    const [a, b, c] = pipes as [Pair, Pair, Pair];
    const iterating = (async () => {
      for await (const message of a.server) t.fail(`unexpected ${message}`);
    })();
    const batching = (async () => {
      for await (const batch of b.server.batches()) t.fail(`unexpected ${batch.length}`);
    })();
    const consuming = c.server.consume(() => t.fail('unexpected'));
    setImmediate(() => pipes.forEach(({ server }) => void server.close()));
    await Promise.all([iterating, batching, consuming]);
    t.pass();
  });

  test(`[D08] ${scheme}: misspelt options of calls are refused`, async (t) => {
    const { client } = await pairOf(t, scheme);
    const wrong = { chanel: 3 } as object;
    const expected = { code: 'ERR_INVALID_ARGUMENT', message: /unknown option "chanel"/ };
    t.throws(() => client.reserve(8, wrong), expected);
    t.throws(() => client.trySend('x', wrong), expected);
    await t.throwsAsync(client.send('x', wrong), expected);
    await t.throwsAsync(client.reserve(8).commit(8, wrong), expected);
    await t.throwsAsync(client.close(wrong), expected);
    t.is(client.state, 'CONNECTED');
  });

  test(`[D08] ${scheme}: options that a call does not take are refused, not ignored`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const typed = client.typed(compile(BYTE));
    const calls: [string, () => unknown][] = [
      ['channel', () => server.receive({ channel: 3 } as object)],
      ['channel', () => server.batches({ channel: 3 } as object).next()],
      ['channel', () => server.consume(() => undefined, { channel: 3 } as object)],
      ['max', () => typed.send({ value: 1 }, { max: 3 } as object)],
      ['channel', () => typed.batches({ channel: 3 } as object).next()],
      ['max', () => server.receive({ max: 10 } as object)],
      ['max', () => client.send('x', { max: 10 } as object)],
      ['satus', () => client.close({ reason: { satus: 7 } as object })],
    ];
    for (const [name, call] of calls) {
      const message = new RegExp(`unknown option "${name}"`);
      await t.throwsAsync(async () => call(), { code: 'ERR_INVALID_ARGUMENT', message }, name);
    }
    t.is(client.state, 'CONNECTED');
  });

  test(`[D08] ${scheme}: one signal ends any number of waits, and is left alone`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const controller = new AbortController();
    const { signal } = controller;
    const warnings: Error[] = [];
    const onWarning = (warning: Error): number => warnings.push(warning);
    process.on('warning', onWarning);
    t.teardown(() => process.off('warning', onWarning));
    const waits = Array.from({ length: 50 }, () => server.receive({ signal }));
    await client.sendBatch(['a', 'b']);
    t.deepEqual((await Promise.all(waits.slice(0, 2))).map(String), ['a', 'b']);
    controller.abort();
    const results = await Promise.allSettled(waits);
    t.is(results.filter(({ status }) => status === 'rejected').length, 48);
    await new Promise((resolve) => setImmediate(resolve));
    t.deepEqual(warnings, []);
    t.is(getEventListeners(signal, 'abort').length, 0);
  });

  test(`[D08] ${scheme}: consume() is aborted by its signal`, async (t) => {
    const pair = await pairOf(t, scheme);
    const controller = new AbortController();
    const consuming = pair.server.consume(() => controller.abort(), { signal: controller.signal });
    await pair.client.send('the last one');
    await t.throwsAsync(consuming, { code: 'ABORT_ERR' });
    await stillWorks(t, pair, 'receive()');
  });

  test(`[D08] ${scheme}: iterating a listener ends when it closes`, async (t) => {
    const listener = await listen(freshAddress(scheme));
    const iterating = (async () => {
      for await (const pipe of listener) t.fail(`unexpected ${pipe.address}`);
    })();
    setImmediate(() => void listener.close());
    await iterating;
    await t.throwsAsync(listener.accept(), { code: 'ERR_CLOSED' });
  });

  test(`[D08] ${scheme}: a listener is closed by its signal`, async (t) => {
    const controller = new AbortController();
    const listener = await listen(freshAddress(scheme), { signal: controller.signal });
    const closed = new Promise((resolve) => listener.once('close', () => resolve('closed')));
    const accepting = t.throwsAsync(listener.accept(), { code: 'ERR_CLOSED' });
    controller.abort();
    t.is(await closed, 'closed');
    await accepting;
    const aborted = listen(freshAddress(scheme), { signal: AbortSignal.abort() });
    await t.throwsAsync(aborted, { code: 'ABORT_ERR' });
    await t.throwsAsync(dial(listener.address), nobodyThere(scheme));
  });

  test(`[D08] ${scheme}: dial() is aborted by its signal`, async (t) => {
    const listener = await listen(freshAddress(scheme));
    t.teardown(() => listener.close());
    const aborted = dial(listener.address, { signal: AbortSignal.abort('before') });
    t.like(await t.throwsAsync(aborted, { code: 'ABORT_ERR' }), { cause: 'before' });
    const controller = new AbortController();
    const pipe = await dial(listener.address, { signal: controller.signal });
    controller.abort();
    t.is(pipe.state, 'CONNECTED', 'the signal is of connecting only');
    await pipe.close();
  });

  test(`[D08] ${scheme}: one of many waiting calls is aborted alone`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const controllers = Array.from({ length: 20 }, () => new AbortController());
    const waiting = controllers.map(({ signal }) => server.receive({ signal }));
    const settled = Promise.allSettled(waiting);
    for (const [i, controller] of controllers.entries()) if (i % 2 === 1) controller.abort();
    await client.sendBatch(Array.from({ length: 10 }, (_, i) => `${i}`));
    const outcomes = (await settled).map((outcome) => {
      return outcome.status === 'fulfilled' ? String(outcome.value) : outcome.reason.code;
    });
    const expected = outcomes.map((_, i) => (i % 2 === 1 ? 'ABORT_ERR' : `${i / 2}`));
    t.deepEqual(outcomes, expected);
  });

  test(`[D08] ${scheme}: an aborted send leaves no hole and no half`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: SMALLEST });
    const before = fillCount(client);
    const controller = new AbortController();
    const { signal } = controller;
    const first = client.send(pattern(300_000, 1), { signal });
    const second = client.send(pattern(50_000, 2));
    setTimeout(() => controller.abort(), 20);
    await t.throwsAsync(first, { code: 'ABORT_ERR' });
    for (let i = 0; i < before; i++) t.is((await server.receive()).length, 1000);
    t.true((await server.receive()).equals(pattern(50_000, 2)));
    await second;
  });
}

/** The pipes can still be used by others. */
async function stillWorks(
  t: ExecutionContext<unknown>,
  { client, server, listener }: { client: Pipe; server: Pipe; listener: Listener },
  name: string,
): Promise<void> {
  if (name === 'accept()') {
    const [pipe, accepted] = await Promise.all([dial(listener.address), listener.accept()]);
    await Promise.all([pipe.close(), accepted.close()]);
  }
  const sending = client.send('still works');
  for (;;) {
    const message = await server.receive();
    if (String(message) === 'still works') break;
    t.is(message.length, 1000, 'what lay in front');
  }
  await sending;
}

/** Fills the transport until it refuses. */
function fill(pipe: Pipe): Pipe {
  fillCount(pipe);
  return pipe;
}

function fillCount(pipe: Pipe): number {
  let count = 0;
  for (; pipe.trySend(FILLER); count++) pipe.flush();
  return count;
}

const FILLER = Buffer.alloc(1000);
