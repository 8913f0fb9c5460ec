/** Counters, metrics and the logger, against traffic that is known. */

import { readFileSync } from 'node:fs';

import test from 'ava';

import { metrics, setLogger, version, type LogEntry, type Metrics } from '../index.js';
import { pattern } from './helpers/data.js';
import { closePair, openPair, SCHEMES } from './helpers/pairs.js';
import { run } from './helpers/child.js';

for (const scheme of SCHEMES) {
  test.serial(`[D11] ${scheme}: stats() counts the traffic of a pipe`, async (t) => {
    const pair = await openPair(scheme);
    const { client, server } = pair;
    const zero = { messagesSent: 0, bytesSent: 0, messagesReceived: 0, bytesReceived: 0 };
    t.like(client.stats(), { ...zero, messagesQueued: 0, fragmented: 0 });
    await client.sendBatch([pattern(10, 1), pattern(1000, 1), pattern(50_000, 1), '']);
    t.is(client.stats().messagesSent + client.stats().messagesQueued, 4);
    for (let i = 0; i < 4; i++) await server.receive();
    await server.send('back');
    await client.receive();
    const sent = { messagesSent: 4, bytesSent: 51_010, messagesReceived: 1, bytesReceived: 4 };
    const received = { messagesSent: 1, bytesSent: 4, messagesReceived: 4, bytesReceived: 51_010 };
    t.like(client.stats(), { ...sent, messagesQueued: 0 });
    t.like(server.stats(), { ...received, messagesQueued: 0 });
    await closePair(pair);
    t.like(client.stats(), sent, 'remembered after close');
    t.like(server.stats(), received);
  });

  test.serial(`[D11] ${scheme}: metrics() adds up all pipes, live and closed`, async (t) => {
    const before = metrics();
    const kept = await openPair(scheme);
    const gone = await openPair(scheme);
    for (const { client, server } of [kept, gone]) {
      await client.sendBatch(Array.from({ length: 100 }, () => pattern(30, 1)));
      for (let i = 0; i < 100; i++) await server.receive();
    }
    await closePair(gone);
    const now = metrics();
    const growth = (name: keyof Metrics): number => Number(now[name]) - Number(before[name]);
    t.is(growth('messagesSent'), 200);
    t.is(growth('bytesSent'), 6000);
    t.is(growth('messagesReceived'), 200);
    t.is(growth('bytesReceived'), 6000);
    t.is(growth('pipesOpened'), 4);
    t.is(growth('pipesClosed'), 2);
    t.is(growth('pipes'), 2);
    t.is(growth('listeners'), 1);
    t.true(growth('turns') > 0);
    t.is(now.wakeKind, 'uv_poll');
    await closePair(kept);
    t.like(metrics(), { pipes: before.pipes, listeners: before.listeners });
  });

  test.serial(`[D11] ${scheme}: fragments are counted where there is no slab`, async (t) => {
    const pair = await openPair(scheme, { both: { slabBytes: 0 } });
    await pair.client.send(pattern(10_000, 1));
    t.is((await pair.server.receive()).length, 10_000);
    t.is(pair.client.stats().fragmented, scheme === 'shm' ? 1 : 0);
    await closePair(pair);
  });

  test.serial(`[D11] ${scheme}: a close that loses messages is logged, at its level`, async (t) => {
    for (const [level, isTold] of [['warn', true], ['error', false]] as const) {
      const entries: LogEntry[] = [];
      setLogger((entry) => entries.push(entry), level);
      const pair = await openPair(scheme, { both: { ringBytes: 65_536, queueMessages: 4 } });
      const sends = Array.from({ length: 1000 }, () => pair.client.send(pattern(1000, 1)));
      const outcomes = Promise.allSettled(sends);
      await pair.client.close({ lingerMs: 0 });
      setLogger(null);
      await outcomes;
      const told = entries.filter(({ message }) => message.includes('unsent'));
      t.is(told.length, isTold ? 1 : 0);
      if (isTold) t.like(told[0], { level: 'warn' });
      await closePair(pair);
    }
  });
}

test.serial('[D11] what a logger throws is an uncaught exception of its own', async (t) => {
  const { code, stdout, stderr } = await run('throwing-logger.js');
  t.is(code, 0, stderr);
  t.is(stdout, 'uncaught: thrown by the logger\nstill works');
});

test.serial('[D11] before the first pipe everything is zero', async (t) => {
  const { code, stdout, stderr } = await run('metrics-only.js');
  t.is(code, 0, stderr);
  const seen = JSON.parse(stdout) as Metrics;
  t.is(seen.wakeKind, null);
  const { byPipe, sendWaits, dials, ...rest } = seen;
  t.deepEqual([byPipe.length, sendWaits.count, dials.count], [0, 0, 0]);
  t.true(Object.values(rest).every((value) => value === 0 || value === null));
});

test('[M08] the version is the one in package.json', (t) => {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  t.is(version, JSON.parse(manifest).version);
});
