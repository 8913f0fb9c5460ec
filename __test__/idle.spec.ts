/** A pipe without traffic costs nothing: no wake-up, no turn, no processor time. */

import { setTimeout as sleep } from 'node:timers/promises';

import test from 'ava';

import { metrics, type WaitMode } from '../index.js';
import { run } from './helpers/child.js';
import { openPair, closePair, PLAIN_SCHEMES, SCHEMES } from './helpers/pairs.js';

const SLEEPING: readonly WaitMode[] = ['park', 'balanced', 'low-latency'];

for (const scheme of SCHEMES) {
  for (const wait of SLEEPING) {
    test.serial(`[D44 D49] ${scheme}, '${wait}': a parked pair is left in peace`, async (t) => {
      const pair = await openPair(scheme, { both: { wait } });
      const receiving = [pair.client.receive(), pair.server.receive()];
      await sleep(100);
      const before = [pair.client.stats(), pair.server.stats()];
      const { turns } = metrics();
      await sleep(300);
      t.deepEqual([pair.client.stats(), pair.server.stats()], before);
      t.is(metrics().turns, turns);
      await Promise.all([pair.client.send('awake'), pair.server.send('awake')]);
      t.deepEqual((await Promise.all(receiving)).map(String), ['awake', 'awake']);
      await closePair(pair);
    });
  }

  test(`[D44] ${scheme}: a busy reader is not woken for each message`, async (t) => {
    const { client, server, listener } = await openPair(scheme);
    const count = 100_000;
    const message = Buffer.alloc(64);
    const batch = Array.from({ length: 1000 }, () => message);
    let seen = 0;
    const consuming = server.consume((messages) => void (seen += messages.length));
    for (let i = 0; i < count; i += batch.length) await client.sendBatch(batch);
    await client.close();
    await consuming;
    t.is(seen, count);
    t.true(client.stats().bells < count * 0.05, `${client.stats().bells} bells`);
    t.true(server.stats().wakes < count * 0.05, `${server.stats().wakes} wakes`);
    await Promise.all([server.close(), listener.close()]);
  });
}

for (const scheme of PLAIN_SCHEMES) {
  for (const wait of SLEEPING) {
    test(`[D44 D49] ${scheme}, '${wait}': idle costs no processor time`, async (t) => {
      const { code, stdout, stderr } = await run('idle.js', [scheme, wait]);
      t.is(code, 0, stderr);
      const { cpuMs, turns, parks } = JSON.parse(stdout);
      t.true(cpuMs < 50, `${cpuMs} ms of processor time`);
      t.deepEqual({ turns, parks }, { turns: 0, parks: 0 });
    });
  }

  test(`[D49] ${scheme}, 'busy': never sleeps`, async (t) => {
    const { code, stdout, stderr } = await run('idle.js', [scheme, 'busy']);
    t.is(code, 0, stderr);
    t.true(JSON.parse(stdout).utilization > 0.9, 'the event loop is never blocked');
  });
}
