/** Pipes within the process: names, threads, synchronous connects. */

import test from 'ava';

import {
  bindInproc,
  connectInproc,
  dial,
  inprocStats,
  listInprocEndpoints,
  listen,
  Pipe,
} from '../index.js';
import { pattern, sameBytes } from './helpers/data.js';
import { startWorker } from './helpers/workers.js';

test('[I12] connectInproc() returns a pipe, not a promise, that can be used at once', async (t) => {
  const listener = bindInproc('synchronous');
  const pipe = connectInproc('synchronous');
  t.true(pipe instanceof Pipe);
  t.false('then' in pipe);
  t.is(pipe.state, 'CONNECTED');
  t.is(pipe.peer, null);
  t.is(pipe.address, 'inproc://synchronous');
  t.true(pipe.trySend('at once'));
  const server = await listener.accept();
  t.is(String(await server.receive()), 'at once');
  await Promise.all([pipe.close(), server.close(), listener.close()]);
});

test('[I04 I12] connect before bind is refused, synchronously and not', async (t) => {
  const error = t.throws(() => connectInproc('nobody'), { code: 'ERR_NOT_FOUND' });
  t.like(error, { retryable: true });
  await t.throwsAsync(dial('inproc://nobody'), { code: 'ERR_NOT_FOUND' });
});

test('[I04] a duplicate bind leaves the first binder untouched', async (t) => {
  const first = bindInproc('taken');
  const before = connectInproc('taken');
  t.throws(() => bindInproc('taken'), { code: 'ERR_ADDR_IN_USE' });
  await t.throwsAsync(listen('inproc://taken'), { code: 'ERR_ADDR_IN_USE' });
  const after = connectInproc('taken');
  await before.send('before');
  await after.send('after');
  const [a, b] = [await first.accept(), await first.accept()];
  t.deepEqual([String(await a.receive()), String(await b.receive())], ['before', 'after']);
  await Promise.all([before, after, a, b].map((pipe) => pipe.close()));
  await first.close();
  await bindInproc('taken').close();
});

test('[I04 I13] listInprocEndpoints() names what is bound, in order', async (t) => {
  const names = ['list-c', 'list-a', 'list-b'];
  const listeners = names.map((name) => bindInproc(name));
  const ours = (): string[] => listInprocEndpoints().filter((name) => name.startsWith('list-'));
  t.deepEqual(ours(), ['list-a', 'list-b', 'list-c']);
  await listeners[1]?.close();
  t.deepEqual(ours(), ['list-b', 'list-c']);
  await Promise.all(listeners.map((listener) => listener.close()));
  t.deepEqual(ours(), []);
});

test('[I27] inprocStats() counts what passes through a name', async (t) => {
  const listener = bindInproc('stats');
  const first = connectInproc('stats');
  const second = connectInproc('stats');
  await Promise.all([first.send('12345'), second.sendBatch(['123', '456', '789'])]);
  const waiting = inprocStats('stats');
  t.like(waiting, { connections: 2, pending: 2 });
  const one = await listener.accept();
  const other = await listener.accept();
  t.is(String(await one.receive()), '12345');
  t.is(String(await other.receive()), '123');
  await other.send('ok');
  // What was sent goes out when the turn is over.
  await new Promise(setImmediate);
  const nothing = { messagesDropped: 0, messagesQueued: 0, bytesQueued: 0 };
  const stats = inprocStats('inproc://stats');
  t.like(stats, { connections: 2, pending: 0 });
  // What one call has taken ahead for the next counts as received.
  const { messagesReceived, messagesQueued } = stats.fromClients;
  t.is(messagesReceived + messagesQueued, 4);
  t.like(stats.fromClients, { messagesSent: 4, bytesSent: 14, messagesDropped: 0 });
  t.like(stats.toClients, { messagesSent: 1, bytesSent: 2, messagesQueued: 1, bytesQueued: 2 });
  for (const pipe of [first, second, one, other]) await pipe.close();
  const after = inprocStats('stats');
  t.like(after, { connections: 0, pending: 0 });
  t.deepEqual(after.toClients, {
    ...nothing,
    messagesSent: 1,
    bytesSent: 2,
    messagesReceived: 0,
    messagesDropped: 1,
  });
  await listener.close();
  t.throws(() => inprocStats('stats'), { code: 'ERR_NOT_FOUND' });
  t.throws(() => inprocStats('tcp://stats:1'), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => inprocStats(''), { code: 'ERR_INVALID_ADDRESS' });
});

test('[I04] a name may be given with its scheme, but no other address', async (t) => {
  const listener = bindInproc('inproc://prefixed');
  t.is(listener.address, 'inproc://prefixed');
  const pipe = connectInproc('prefixed');
  await Promise.all([pipe.close(), listener.close()]);
  t.throws(() => bindInproc('shm://prefixed'), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => connectInproc('tcp://a:1'), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => bindInproc(''), { code: 'ERR_INVALID_ADDRESS' });
});

test('[I16] each of many clients gets its own replies', async (t) => {
  const listener = bindInproc('replies');
  listener.on('pipe', async (pipe) => {
    for await (const message of pipe) await pipe.send(`re: ${message}`);
  });
  const clients = Array.from({ length: 50 }, () => connectInproc('replies'));
  await Promise.all(
    clients.map(async (client, i) => {
      for (let round = 0; round < 20; round++) {
        await client.send(`${i}.${round}`);
        if ((await client.receive()).toString() !== `re: ${i}.${round}`) t.fail(`client ${i}`);
      }
      await client.close();
    }),
  );
  await listener.close();
  t.pass();
});

test('[I16] pipes outlive their listener; who was not accepted is told', async (t) => {
  const listener = bindInproc('closing');
  const taken = connectInproc('closing');
  const server = await listener.accept();
  const waiting = connectInproc('closing');
  await listener.close();
  await taken.send('still open');
  t.is(String(await server.receive()), 'still open');
  await t.throwsAsync(waiting.receive(), { code: 'ERR_CLOSED' });
  t.throws(() => connectInproc('closing'), { code: 'ERR_NOT_FOUND' });
  await Promise.all([taken.close(), server.close(), waiting.close()]);
});

test('[I16] a full backlog refuses further clients', async (t) => {
  const listener = bindInproc('backlog', { backlog: 2 });
  const outcomes = await Promise.all(
    Array.from({ length: 5 }, async () => {
      try {
        const pipe = connectInproc('backlog');
        await new Promise((resolve) => setTimeout(resolve, 20));
        const { state } = pipe;
        await pipe.close();
        return state;
      } catch (error) {
        return (error as { code: string }).code;
      }
    }),
  );
  t.true(outcomes.filter((outcome) => outcome === 'CONNECTED').length >= 2);
  t.true(outcomes.some((outcome) => outcome === 'ERR_CONNECTION_REFUSED' || outcome === 'CLOSED'));
  await listener.close();
});

test('[I02 I13] the main thread binds, workers connect', async (t) => {
  const listener = bindInproc('from-workers');
  listener.on('pipe', async (pipe) => {
    for await (const message of pipe) await pipe.send(message);
  });
  const workers = [1, 2, 3, 4].map((seed) => {
    return startWorker('inproc-worker.js', { role: 'client', name: 'from-workers', seed });
  });
  const answers = await Promise.all(workers.map((worker) => worker.posted()));
  t.deepEqual(answers, ['echoed', 'echoed', 'echoed', 'echoed']);
  t.deepEqual(await Promise.all(workers.map((worker) => worker.exited)), [0, 0, 0, 0]);
  await listener.close();
});

test('[I02 I13] a worker binds, the main thread and another worker connect', async (t) => {
  const server = startWorker('inproc-worker.js', { role: 'server', name: 'in-worker' });
  t.is(await server.posted(), 'bound');
  t.true(listInprocEndpoints().includes('in-worker'));
  t.throws(() => bindInproc('in-worker'), { code: 'ERR_ADDR_IN_USE' });
  const pipe = connectInproc('in-worker');
  for (const size of [0, 10, 5000, 300_000]) {
    await pipe.send(pattern(size, size));
    sameBytes(t, await pipe.receive(), pattern(size, size));
  }
  const client = startWorker('inproc-worker.js', { role: 'client', name: 'in-worker', seed: 9 });
  t.is(await client.posted(), 'echoed');
  t.is(await client.exited, 0);
  await pipe.close({ reason: 'stop' });
  t.is(await server.exited, 0);
  t.false(listInprocEndpoints().includes('in-worker'));
});

test('[I01 I02] a reserved payload reaches another thread without a copy', async (t) => {
  const server = startWorker('inproc-worker.js', { role: 'borrower', name: 'borrower' });
  t.is(await server.posted(), 'bound');
  const pipe = connectInproc('borrower');
  const reservation = pipe.reserve(1 << 20);
  const view = reservation.bytes;
  view.fill(0x5a);
  await reservation.commit();
  t.is(view.length, 0, 'the sender has it no longer');
  t.is(view.buffer.byteLength, 0);
  const seen = await server.posted();
  t.deepEqual(seen, { length: 1 << 20, sum: 0x5a * (1 << 20), loansReceived: 1 });
  t.is(pipe.stats().loansSent, 1);
  await pipe.close();
  t.is(await server.exited, 0);
});
