/** What keeps a process alive, what lets it end, and how it ends. */

import test from 'ava';

import { run, start } from './helpers/child.js';
import { openPair, pairOf, PLAIN_SCHEMES } from './helpers/pairs.js';

for (const scheme of PLAIN_SCHEMES) {
  for (const what of ['listener', 'pipe', 'receiver', 'consumer', 'sender', 'backlog'] as const) {
    test(`[D08] ${scheme}: a process ends by itself with an unref'd ${what}`, async (t) => {
      const exit = await run('refs.js', [scheme, what, 'unref']);
      t.like(exit, { code: 0, late: false, stdout: 'open' }, exit.stderr);
    });

    test(`[D08] ${scheme}: a process stays alive with a ${what}`, async (t) => {
      for (const how of ['default', 'ref']) {
        const child = start('refs.js', [scheme, what, how]);
        t.is(await child.line(), 'open');
        const outcome = await Promise.race([
          child.exited.then(() => 'ended'),
          new Promise((resolve) => setTimeout(resolve, 300, 'alive')),
        ]);
        t.is(outcome, 'alive');
        child.kill();
        await child.exited;
      }
    });
  }

  test(`[D08] ${scheme}: a process ends by itself once all is closed`, async (t) => {
    const exit = await run('refs.js', [scheme, 'pipe', 'close']);
    t.like(exit, { code: 0, late: false }, exit.stderr);
  });

  test(`[D08] ${scheme}: process.exit() with traffic in flight keeps its code`, async (t) => {
    for (const code of [0, 7]) {
      const exit = await run('exit-in-flight.js', [scheme, String(code)]);
      t.like(exit, { code, signal: null, late: false }, exit.stderr);
    }
  });

  test(`[D17] ${scheme}: what an event listener throws is uncaught`, async (t) => {
    const exit = await run('uncaught.js', [scheme, 'without']);
    t.is(exit.code, 1);
    t.regex(exit.stderr, /thrown on purpose/);
    const handled = await run('uncaught.js', [scheme, 'with']);
    t.is(handled.code, 0, handled.stderr);
    t.is(handled.stdout, 'uncaught: thrown on purpose\nstill works');
  });

  test(`[D17] ${scheme}: what is sent goes out in a turn that throws`, async (t) => {
    const exit = await run('throwing-tick.js', [scheme]);
    t.like(exit, { code: 0, stdout: 're: 0\nre: 1\nre: 2' }, exit.stderr);
  });

  test(`[D39 D45] ${scheme}: what nobody reads of an ended pipe holds nothing`, async (t) => {
    const exit = await run('unread.js', [scheme]);
    t.is(exit.code, 0, exit.stderr);
    const { before, after, ...read } = JSON.parse(exit.stdout);
    t.true(after.fds <= before.fds && after.mappings <= before.mappings, exit.stdout);
    t.deepEqual(read, { isWhole: true, isBegun: true, closed: 'ERR_CLOSED' });
  });

  test(`[D08] ${scheme}: Symbol.asyncDispose closes`, async (t) => {
    const { client, listener, server } = await openPair(scheme);
    await client[Symbol.asyncDispose]();
    t.is(client.state, 'CLOSED');
    await server[Symbol.asyncDispose]();
    await listener[Symbol.asyncDispose]();
    await t.throwsAsync(listener.accept(), { code: 'ERR_CLOSED' });
  });

  test(`[D08] ${scheme}: ref() and unref() return the pipe and can be repeated`, async (t) => {
    const { client, listener } = await pairOf(t, scheme);
    t.is(client.unref().unref().ref().ref(), client);
    t.is(listener.unref().ref(), listener);
  });
}
