/** Who drives the pipes of a thread: chosen once, and what the choice changes. */

import { setTimeout as sleep } from 'node:timers/promises';

import test from 'ava';

import { configure, dial, listen, metrics, type IoMode } from '../index.js';
import { run, start } from './helpers/child.js';
import { closed, freshAddress, PLAIN_SCHEMES } from './helpers/pairs.js';
import { BACKENDS } from './helpers/uring.js';

const heartbeat = { intervalMs: 100, misses: 3 };
/** 600 MB. */
const BATCHES = 6000;
const MODES: readonly IoMode[] = ['loop', 'thread'];

test.serial('[D23] configure() takes what it knows, before the first pipe', async (t) => {
  for (const options of [null, 7, { io: 'both' }, { io: null }] as never[]) {
    t.throws(() => configure(options), { code: 'ERR_INVALID_ARGUMENT' });
  }
  t.is(metrics().io, null);
  configure({ io: 'thread' });
  configure({ io: 'loop' });
  configure({});
  const listener = await listen(freshAddress('tcp'));
  t.is(metrics().io, 'loop');
  t.notThrows(() => configure({ io: 'loop' }));
  t.throws(() => configure({ io: 'thread' }), { code: 'ERR_INVALID_STATE' });
  await listener.close();
});

test('[D23] BUSBAR_DRIVE chooses for whoever does not', async (t) => {
  const driven = async (...args: readonly string[]): Promise<string> => {
    const { stdout, stderr } = await run('drive.js', args.slice(1), {
      env: { BUSBAR_DRIVE: args[0] as string },
    });
    return stdout + stderr;
  };
  t.is(await driven(''), 'loop');
  t.is(await driven('loop'), 'loop');
  t.is(await driven('thread'), 'thread');
  t.is(await driven('thread', 'loop'), 'loop', 'the program has the last word');
  t.regex(await driven('both'), /ERR_INVALID_ARGUMENT.*BUSBAR_DRIVE is "both"/s);
});

for (const scheme of ['shm', 'uds', 'tcp'] as const) {
  test(`[D18 D23] ${scheme}: a program that is busy lives if it has an I/O thread`, async (t) => {
    const child = start('attend.js', [freshAddress(scheme)], { env: { BUSBAR_DRIVE: 'thread' } });
    t.teardown(() => child.kill());
    const pipe = await dial(await child.line(), { heartbeat });
    t.teardown(() => pipe.close());
    pipe.on('error', () => {});
    child.tell('hang');
    // heartbeat.spec.ts shows that it is lost without a thread.
    await sleep(2000);
    t.is(pipe.state, 'CONNECTED');
    child.kill('SIGSTOP');
    await closed(pipe);
    t.regex(pipe.reason?.text ?? '', /nothing was heard of the peer for 300ms/);
  });
}

test('[D23] whoever dials is answered while the program is busy', async (t) => {
  const child = start('attend.js', [freshAddress('tcp')], { env: { BUSBAR_DRIVE: 'thread' } });
  t.teardown(() => child.kill());
  const address = await child.line();
  child.tell('hang');
  await sleep(200);
  const pipe = await dial(address);
  t.is(pipe.state, 'CONNECTED');
  await pipe.send('nobody listens');
  await pipe.close({ lingerMs: 0 });
});

const linux = process.platform === 'linux' ? test : test.skip;

for (const scheme of ['uds', 'tcp'] as const) {
  linux(`[D23] ${scheme}: reading and writing costs the event loop nothing`, async (t) => {
    const batch = Array.from({ length: 50 }, (_, i) => Buffer.alloc(4000, i));
    const seen: Record<string, Delay> = {};
    for (const io of MODES) {
      const child = start('loop-delay.js', [scheme], { env: { BUSBAR_DRIVE: io } });
      t.teardown(() => child.kill());
      const pipe = await dial(await child.line());
      const answers = pipe.consume(() => {});
      for (let i = 0; i < BATCHES; i++) await pipe.sendBatch(batch);
      await pipe.close();
      await answers;
      const line = await child.line();
      t.log(io, line);
      const delay = JSON.parse(line) as Delay;
      t.is(delay.messages, BATCHES * batch.length);
      seen[io] = delay;
    }
    const { loop, thread } = seen as Record<IoMode, Delay>;
    t.is(loop.threads, 0);
    t.is(thread.threads, 1);
    // What the system did for the loop, it does for the thread; what is left is to be woken, which
    // is much beside the few large writes of a unix socket.
    t.true(thread.ioSystemTicks > thread.loopSystemTicks);
    t.true(thread.loopSystemTicks < loop.loopSystemTicks);
    // A generous bound, for machines that do something else as well.
    t.true(thread.delayMedianMs < 100);
  });
}

const DRIVES = MODES.flatMap((mode) => BACKENDS.map((backend) => ({ io: mode, backend })));
const WAKES = { '': 'uv_poll', tsfn: 'threadsafe-function' };

for (const [wake, kind] of Object.entries(WAKES)) {
  for (const { io, backend } of DRIVES) {
    linux(
      `[D26 D28 D44] ${kind}, ${io}, ${backend}: what is due needs no other wake-up`,
      async (t) => {
        const env = { BUSBAR_WAKE: wake, BUSBAR_DRIVE: io, BUSBAR_IO: backend };
        const listener = await listen(freshAddress('tcp'));
        t.teardown(() => listener.close());
        const child = start('throttled.js', [listener.address], { env });
        t.teardown(() => child.kill());
        const pipe = await listener.accept();
        t.is(await child.line(), `${kind} ${io}`);
        const came = [await pipe.receive(), await pipe.receive()];
        t.deepEqual(came.map(String), ['now', 'later']);
        child.tell('report');
        t.is(await child.line(), '1');
        t.like(await child.exited, { code: 0, late: false });
      },
    );
  }
}

for (const backend of BACKENDS) {
  const env = { BUSBAR_DRIVE: 'thread', BUSBAR_IO: backend };

  for (const scheme of PLAIN_SCHEMES) {
    const name = `${scheme} over ${backend}`;

    test(`[D08 D23] ${name}: process.exit() does not wait for the thread`, async (t) => {
      for (const code of [0, 7]) {
        const exit = await run('exit-in-flight.js', [scheme, String(code)], { env });
        t.like(exit, { code, signal: null, late: false }, exit.stderr);
      }
    });

    test(`[D23 D45] ${name}: workers with I/O threads are terminated in traffic`, async (t) => {
      const exit = await run('terminate-workers.js', [scheme, '20'], { env, deadlineMs: 120_000 });
      t.like(exit, { code: 0, late: false }, exit.stderr);
      const { before, after } = JSON.parse(exit.stdout);
      t.deepEqual(after, before);
    });
  }
}

/** What `fixtures/loop-delay.js` prints. */
interface Delay {
  readonly messages: number;
  readonly threads: number;
  readonly ioSystemTicks: number;
  readonly loopSystemTicks: number;
  readonly delayMedianMs: number;
}
