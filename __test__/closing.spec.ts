/** The end of a pipe: lingering, reasons, and what each side is told. */

import test from 'ava';

import type { CloseReason, ConnectionState, Pipe } from '../index.js';
import { pattern } from './helpers/data.js';
import { closed, isStream, pairOf, SCHEMES } from './helpers/pairs.js';

const REASONS: readonly (readonly [
  what: string,
  given: string | { status?: number; text?: string } | undefined,
  told: { status: number; text: string },
])[] = [
  ['no reason', undefined, { status: 0, text: '' }],
  ['a text', 'going home', { status: 0, text: 'going home' }],
  ['a number', { status: 4001 }, { status: 4001, text: '' }],
  ['the highest number', { status: 2 ** 32 - 1 }, { status: 2 ** 32 - 1, text: '' }],
  ['both', { status: 7, text: 'match over ✓' }, { status: 7, text: 'match over ✓' }],
  ['the longest text', '✓'.repeat(341), { status: 0, text: '✓'.repeat(341) }],
];

const SMALLEST = { ringBytes: 65_536, slabBytes: 65_536, queueMessages: 8 };

for (const scheme of SCHEMES) {
  for (const [what, reason, told] of REASONS) {
    test(`[D22] ${scheme}: ${what} reaches the peer, whichever end closes`, async (t) => {
      for (const closer of ['client', 'server'] as const) {
        const pair = await pairOf(t, scheme);
        const other = closer === 'client' ? pair.server : pair.client;
        const heard = new Promise<CloseReason>((resolve) => other.once('close', resolve));
        await pair[closer].close(reason === undefined ? {} : { reason });
        const common = { code: 'ERR_CLOSED', ...told, clean: true } as const;
        t.deepEqual(pair[closer].reason, { ...common, local: true });
        t.deepEqual(await heard, { ...common, local: false });
        t.deepEqual(other.reason, { ...common, local: false });
        const error = await t.throwsAsync(other.receive(), { code: 'ERR_CLOSED' });
        if (told.text !== '') t.true(error.message.includes(told.text));
      }
    });
  }

  test(`[D12 D16] ${scheme}: the sequence of events of both ends`, async (t) => {
    for (const closer of ['client', 'server'] as const) {
      const pair = await pairOf(t, scheme);
      const logs = { client: eventsOf(pair.client), server: eventsOf(pair.server) };
      t.is(pair.client.state, 'CONNECTED');
      t.is(pair.server.state, 'CONNECTED');
      await pair[closer].close({ reason: 'golden' });
      await Promise.all([closed(pair.client), closed(pair.server)]);
      const golden = (end: string): string[] => {
        const side = closer === end ? 'local' : 'remote';
        return [`state CONNECTED → CLOSED (${side} golden)`, `close (${side} golden)`];
      };
      t.deepEqual(logs, { client: golden('client'), server: golden('server') });
    }
  });

  test(`[D08] ${scheme}: close() is idempotent, and waits once for all`, async (t) => {
    const { client } = await pairOf(t, scheme);
    const first = client.close({ reason: 'first' });
    t.is(client.close({ reason: 'second' }), first);
    t.is(client[Symbol.asyncDispose](), first);
    await first;
    t.is(client.reason?.text, 'first');
  });

  test(`[D21 D29] ${scheme}: a slow reader gets everything sent before close()`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: SMALLEST });
    const sends = Array.from({ length: 500 }, (_, i) => client.send(pattern(i * 13, i)));
    const closing = client.close();
    t.throws(() => client.trySend('too late'), { code: 'ERR_CLOSED' });
    let count = 0;
    for await (const message of server) {
      if (!message.equals(pattern(count * 13, count))) t.fail(`message ${count} has changed`);
      count++;
      if (count % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    t.is(count, 500);
    await Promise.all([closing, ...sends]);
  });

  test(`[D21 D29] ${scheme}: lingering is bounded, for a reader that does not read`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: SMALLEST });
    const sends = Array.from({ length: 300 }, (_, i) => client.send(pattern(2000, i)));
    const settled = Promise.allSettled(sends);
    const begun = Date.now();
    await client.close({ lingerMs: 100 });
    t.true(Date.now() - begun >= 95);
    const outcomes = await settled;
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    t.true(refused.length > 0);
    t.true(refused.every((outcome) => outcome.reason.code === 'ERR_CLOSED'));
    let count = 0;
    for await (const message of server) {
      if (!message.equals(pattern(2000, count++))) t.fail(`message ${count} has changed`);
    }
    t.is(count, sends.length - refused.length, 'what was accepted into the transport arrives');
  });

  test(`[D21] ${scheme}: lingerMs 0 does not wait`, async (t) => {
    const { client } = await pairOf(t, scheme, { both: SMALLEST });
    const sends = sendTooMuch(client);
    await client.close({ lingerMs: 0 });
    t.true((await sends).some(({ status }) => status === 'rejected'));
  });

  test(`[D21] ${scheme}: a second close() shortens the lingering`, async (t) => {
    const { client } = await pairOf(t, scheme, { both: SMALLEST });
    const sends = sendTooMuch(client);
    const closing = client.close({ lingerMs: 60_000 });
    setTimeout(() => void client.close({ lingerMs: 0 }), 20);
    await closing;
    t.true((await sends).some(({ status }) => status === 'rejected'));
  });

  test(`[D21] ${scheme}: what had arrived is received after the peer has closed`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.sendBatch(Array.from({ length: 1000 }, (_, i) => `${i}`));
    // A stream's end is heard only when everything before it has been read ahead.
    const large = pattern(isStream(scheme) ? 100_000 : 1 << 20, 1);
    await client.send(large);
    await client.close();
    await closed(server);
    t.is(server.state, 'CLOSED');
    await t.throwsAsync(server.send('x'), { code: 'ERR_CLOSED' });
    for (let i = 0; i < 1000; i++) t.is(String(await server.receive()), `${i}`);
    t.true((await server.borrow()).bytes.equals(large));
    await t.throwsAsync(server.receive(), { code: 'ERR_CLOSED' });
  });

  test(`[D21 D22] ${scheme}: both ends close at once`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await Promise.all([client.send('a'), server.send('b')]);
    await Promise.all([client.close({ reason: 'c' }), server.close({ reason: 's' })]);
    t.deepEqual([client.reason?.text, server.reason?.text], ['c', 's']);
  });

  test(`[D17] ${scheme}: an orderly close is no error`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    for (const pipe of [client, server]) pipe.on('error', (error) => t.fail(error.message));
    await client.close();
    await closed(server);
    t.pass();
  });

  test(`[D08] ${scheme}: closing from inside each callback`, async (t) => {
    const inConsume = await pairOf(t, scheme);
    await inConsume.client.sendBatch(['a', 'b']);
    await inConsume.server.consume((batch) => {
      void inConsume.server.close();
      t.true(batch.at(0).length === 1, 'the batch lives until the callback returns');
    });
    const inEvent = await pairOf(t, scheme);
    inEvent.server.on('state', () => void inEvent.server.close());
    inEvent.server.on('close', () => void inEvent.listener.close());
    await inEvent.client.close();
    await closed(inEvent.server);
    const inIteration = await pairOf(t, scheme);
    await inIteration.client.sendBatch(['a', 'b']);
    for await (const message of inIteration.server) {
      t.is(String(message), 'a');
      await inIteration.server.close();
    }
  });
}

/** More than fits into the transport. */
function sendTooMuch(pipe: Pipe): Promise<PromiseSettledResult<void>[]> {
  return Promise.allSettled(Array.from({ length: 300 }, () => pipe.send(pattern(2000, 1))));
}

function eventsOf(pipe: Pipe): string[] {
  const log: string[] = [];
  const told = ({ local, text }: CloseReason): string => `(${local ? 'local' : 'remote'} ${text})`;
  pipe.on('state', (state: ConnectionState, previous: ConnectionState, reason?: CloseReason) => {
    log.push(`state ${previous} → ${state} ${reason === undefined ? '' : told(reason)}`);
  });
  pipe.on('close', (reason) => log.push(`close ${told(reason)}`));
  pipe.on('error', (error) => log.push(`error ${error.code}`));
  return log;
}
