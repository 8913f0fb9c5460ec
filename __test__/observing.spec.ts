/** What operators see: metrics by pipe and as text, and what is told on diagnostics channels. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';

import test from 'ava';
import parse from 'parse-prometheus-text-format';

import { metrics, prometheus, setLogger, type LogEntry } from '../index.js';
import { closePair, closed, openPair, SCHEMES, stuff } from './helpers/pairs.js';

const SMALLEST = { ringBytes: 65_536, slabBytes: 65_536, queueMessages: 8 };

/** The value of one sample, as an independent parser reads it. */
function sample(name: string, labels: Record<string, string> = {}): number {
  const family = parse(prometheus()).find((it) => it.name === `busbar_${name}`);
  const found = family?.metrics.find((it) => {
    const own = it.labels ?? {};
    return Object.entries(labels).every(([label, value]) => own[label] === value);
  });
  if (found?.value === undefined) throw new Error(`no ${name} ${JSON.stringify(labels)}`);
  return Number(found.value);
}

for (const scheme of SCHEMES) {
  test.serial(`[D11] ${scheme}: the text for Prometheus says what happened`, async (t) => {
    const sent = () => sample('messages_total', { direction: 'send' });
    const dropped = () => sample('messages_dropped_total', { direction: 'send', cause: 'new' });
    const before = { sent: sent(), dropped: dropped(), opened: sample('pipes_opened_total') };
    const client = { ...SMALLEST, backpressure: 'drop-new', sendHighWaterMarkMessages: 3 } as const;
    const pair = await openPair(scheme, { client, server: SMALLEST });
    await stuff(pair.client);
    const { messagesSent, sendsDroppedNew } = pair.client.stats();
    t.is(sent() - before.sent, messagesSent);
    t.is(dropped() - before.dropped, sendsDroppedNew);
    t.true(sendsDroppedNew > 0);
    t.is(sample('pipes_opened_total') - before.opened, 2);
    t.true(sample('pipes', { state: 'CONNECTED' }) >= 2);
    t.is(sample('messages_waiting', { direction: 'send' }), 3);
    await closePair(pair);
    t.is(sent() - before.sent, messagesSent, 'counters go on when pipes close');
    t.is(sample('messages_waiting', { direction: 'send' }), 0);
  });

  test.serial(
    `[D11] ${scheme}: metrics() lists each pipe, and how long sends waited`,
    async (t) => {
      const before = metrics();
      const pair = await openPair(scheme, { both: SMALLEST });
      await stuff(pair.client);
      const waiting = pair.client.send('waits');
      const mine = metrics().byPipe.filter(({ address }) => address === pair.client.address);
      t.is(mine.length, 2);
      t.like(
        mine.find(({ messagesSent }) => messagesSent > 0),
        {
          ...pair.client.stats(),
          state: 'CONNECTED',
        },
      );
      void pair.server.consume(() => {}).catch(() => {});
      await waiting;
      const { sendWaits, dials } = metrics();
      t.is(sendWaits.count - before.sendWaits.count, 1);
      t.true(sendWaits.sumSeconds > before.sendWaits.sumSeconds);
      t.is(sendWaits.buckets.at(-1)?.count, sendWaits.count);
      t.is(dials.count - before.dials.count, 1);
      await closePair(pair);
    },
  );

  test.serial(
    `[D11] ${scheme}: diagnostics channels and the logger tell a pipe's life`,
    async (t) => {
      const told: string[] = [];
      const entries: LogEntry[] = [];
      const listeners = ['open', 'state', 'close', 'error', 'drop'].map((event) => {
        const listener = (message: unknown) => {
          const { state, cause, reason, error } = message as Record<string, never>;
          const detail = state ?? cause ?? (reason as { code?: string } | undefined)?.code;
          told.push(`${event} ${detail ?? (error as { code?: string } | undefined)?.code ?? ''}`);
        };
        subscribe(`busbar:pipe:${event}`, listener);
        return () => unsubscribe(`busbar:pipe:${event}`, listener);
      });
      setLogger((entry) => entries.push(entry), 'debug');
      const client = {
        ...SMALLEST,
        backpressure: 'drop-old',
        sendHighWaterMarkMessages: 3,
      } as const;
      const pair = await openPair(scheme, { client, server: SMALLEST });
      for (let i = 0; i < 5000; i++) pair.client.trySend(Buffer.alloc(1000));
      while (!told.includes('drop sendsDroppedOld')) await new Promise(setImmediate);
      const over = closed(pair.server);
      await pair.client.close({ lingerMs: 0 });
      await over;
      await closePair(pair);
      for (const stop of listeners) stop();
      setLogger(null);
      const count = (text: string) => told.filter((each) => each === text).length;
      t.is(count('open '), 2);
      t.is(count('state CONNECTED'), 2);
      t.is(count('state CLOSED'), 2);
      t.is(count('close ERR_CLOSED'), 2);
      t.true(
        entries.some(({ message }) => message.startsWith('messages dropped (sendsDroppedOld)')),
      );
      t.true(entries.some(({ message }) => message.endsWith(': CONNECTED')));
    },
  );
}
