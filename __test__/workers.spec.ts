/** Worker threads that come and go with pipes open. */

import { setTimeout as sleep } from 'node:timers/promises';

import test from 'ava';

import { listen, listInprocEndpoints, type Pipe } from '../index.js';
import { run } from './helpers/child.js';
import { closed, freshAddress, PLAIN_SCHEMES } from './helpers/pairs.js';
import { startWorker } from './helpers/workers.js';

for (const scheme of PLAIN_SCHEMES) {
  test(`[D45 M10] ${scheme}: workers terminated with traffic in flight`, async (t) => {
    const exit = await run('terminate-workers.js', [scheme, '30'], { deadlineMs: 120_000 });
    t.like(exit, { code: 0, late: false }, exit.stderr);
    const { before, after } = JSON.parse(exit.stdout);
    t.deepEqual(after, before);
  });

  test(`[D39 I16] ${scheme}: the end of a worker ends its pipes`, async (t) => {
    const listener = await listen(freshAddress(scheme));
    const worker = startWorker('busy-worker.js', { address: listener.address });
    const pipe = await listener.accept();
    t.is(await worker.posted(), 'open');
    await pipe.receive();
    const over = closed(pipe);
    await worker.terminate();
    await over;
    t.is(pipe.state, 'CLOSED');
    t.like(pipe.reason, { code: 'ERR_CONNECTION_LOST', clean: false });
    await t.throwsAsync(readAll(pipe), { code: 'ERR_CONNECTION_LOST' });
    await listener.close();
  });

  test(`[D08] ${scheme}: a worker ends by itself once its pipes are closed`, async (t) => {
    const listener = await listen(freshAddress(scheme));
    const worker = startWorker('busy-worker.js', { address: listener.address, rounds: 10 });
    const pipe = await listener.accept();
    await readAll(pipe);
    t.is(await worker.exited, 0);
    await listener.close();
  });
}

test('[I02] names of a worker that was terminated are free again', async (t) => {
  const worker = startWorker('inproc-worker.js', { role: 'server', name: 'terminated' });
  t.is(await worker.posted(), 'bound');
  await worker.terminate();
  for (let i = 0; i < 100 && listInprocEndpoints().includes('terminated'); i++) await sleep(20);
  t.false(listInprocEndpoints().includes('terminated'));
});

async function readAll(pipe: Pipe): Promise<void> {
  for await (const message of pipe) void message;
}
