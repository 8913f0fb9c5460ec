/** Native plugins, loaded and called as users do: crates/busbar-zone/examples/physics.rs. */

import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { basename, dirname } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate, setTimeout } from 'node:timers/promises';

import test, { type ExecutionContext } from 'ava';

import {
  AbortError,
  BatchError,
  BusbarError,
  loadZone,
  PluginError,
  registry,
  Zone,
  type LoadZoneOptions,
  type Promised,
  type ReloadEvent,
  type ZoneMode,
} from '../index.js';
import { PHYSICS, QUIRKS } from './helpers/built.js';
import { run } from './helpers/child.js';

interface Point {
  x: number;
  y: number;
}

interface Physics {
  nothing(): Buffer;
  length(point: Point): number;
  add(a: number, b: number): number;
  center(path: { name: string; points: Point[] }): Point;
  invert(bytes: Uint8Array): Buffer;
  total(): number;
  sleep(ms: number): boolean;
  panic(message: string): void;
}

const NUMBERS = { u64: 'number' } as const;
/** Processes for plugins need Linux. */
const PROCESS: readonly 'process'[] = process.platform === 'linux' ? ['process'] : [];
const INLINE = { path: PHYSICS, mode: 'inline' } as const;

test('[Z03 Z10] an inline call returns what the method does', async (t) => {
  await using zone = await loadZone(INLINE);
  t.true(zone instanceof Zone);
  t.is(zone.pluginId, 'example.physics');
  t.is(zone.state, 'ACTIVE');
  const physics = zone.interface<Physics>(NUMBERS);
  t.is(physics.length({ x: 3, y: 4 }), 5);
  t.is(physics.add(2, 3), 5);
  const points = Array.from({ length: 101 }, (_, i) => ({ x: i, y: -i }));
  t.deepEqual(physics.center({ name: 'a path', points }), { x: 50, y: -50 });
  t.is(physics.nothing().length, 0);
  t.deepEqual([...physics.invert(Uint8Array.of(0, 1, 255))], [255, 254, 0]);
  const method = zone.methods.find(({ name }) => name === 'length');
  t.deepEqual(method, {
    name: 'length',
    sync: true,
    threadSafe: true,
    oneway: false,
    idempotent: true,
  });
});

test('[Z03 Z10] a method without types may give nothing, bytes or an error', async (t) => {
  const zone = await loadZone({ path: QUIRKS, mode: 'inline' });
  const { fickle } = zone.interface<{ fickle(): Buffer }>();
  for (let round = 0; round < 3; round++) {
    t.is(fickle().length, 0);
    t.is(fickle().toString(), 'bytes');
    const error = t.throws(() => fickle(), { instanceOf: PluginError, message: /the third/ });
    t.is((error as PluginError).method, 'fickle');
  }
  await zone.close();
  t.throws(() => fickle(), { code: 'ERR_ZONE_CLOSED' });
});

test('[Z10] what is larger than the arena goes by buffers of its own', async (t) => {
  await using zone = await loadZone({ ...INLINE, arenaBytes: 1024 });
  const physics = zone.interface<Physics>(NUMBERS);
  const points = Array.from({ length: 1000 }, (_, i) => ({ x: i, y: 0 }));
  t.is(physics.center({ name: 'long', points }).x, 499.5);
  t.is(physics.invert(new Uint8Array(1000)).length, 1000);
  const large = new Uint8Array(100_000).fill(1);
  t.throws(() => physics.invert(large), { code: 'ERR_BUFFER_TOO_SMALL' });
  const out = new Uint8Array(100_000);
  const result = zone.callSync('invert', large, out);
  t.is(result.buffer, out.buffer);
  t.true(result.length === 100_000 && result.every((byte) => byte === 254));
  t.throws(() => zone.callSync('invert', out, out), { code: 'ERR_INVALID_ARGUMENT' });
});

test('[Z03 Z10] a bound method takes bytes where they are, or in the arena', async (t) => {
  await using zone = await loadZone({ ...INLINE, arenaBytes: 4096 });
  const { input, output, run: inArena, call } = zone.bind('invert');
  t.deepEqual([input.length, output.length], [4096, 4096]);
  input.set([0, 1, 255]);
  t.is(inArena(3), 3);
  t.deepEqual([...output.subarray(0, 3)], [255, 254, 0]);
  // Below and above what is copied, and beyond the arena.
  for (const length of [0, 5, 64, 1024, 1025, 4096, 5000]) {
    const [bytes, out] = [new Uint8Array(length).fill(3), new Uint8Array(length + 1).fill(7)];
    t.is(call(bytes, out), length);
    t.true(out.subarray(0, length).every((byte) => byte === 252));
    t.is(out[length], 7);
    if (length <= 4096) t.deepEqual(zone.callSync('invert', bytes), Buffer.alloc(length, 252));
    if (length === 0) continue;
    const small = new Uint8Array(length - 1);
    t.throws(() => call(bytes, small), { code: 'ERR_BUFFER_TOO_SMALL' });
    t.throws(() => call(out, out), { code: 'ERR_INVALID_ARGUMENT' });
  }
  for (const wrong of [-1, 1.5, 4097, Number.NaN])
    t.throws(() => inArena(wrong), { name: 'RangeError' });
  t.throws(() => zone.bind('sleep'), { code: 'ERR_NOT_SUPPORTED' });
  t.throws(() => zone.bind('nowhere'), { code: 'ERR_METHOD_NOT_FOUND' });
  const shared = new Uint8Array(new SharedArrayBuffer(8));
  t.is(call(shared, new Uint8Array(8)), 8);
  // Whoever gets to detach it has no such memory any more; the plugin does.
  const memory = input.buffer as ArrayBuffer & { transfer?: () => unknown };
  try {
    structuredClone(0, { transfer: [memory] });
    memory.transfer?.();
  } catch {
    // Some versions of Node refuse.
  }
  t.is(inArena(3), 3);
  await zone.close();
  t.throws(() => inArena(3), { code: 'ERR_ZONE_CLOSED' });
});

test('[Z03 Z10] a batch is many calls, each with its end', async (t) => {
  await using zone = await loadZone({ ...INLINE, arenaBytes: 4096 });
  const batch = zone.callBatch<Physics>({ ...NUMBERS, resultBytes: 512 });
  const pairs = Array.from({ length: 1000 }, (_, i) => [i, 2 * i] as const);
  t.deepEqual(
    batch.add(pairs),
    pairs.map(([a, b]) => a + b),
  );
  t.deepEqual(batch.add([]), []);
  t.deepEqual(batch.nothing([[], []]), [Buffer.alloc(0), Buffer.alloc(0)]);
  t.deepEqual(batch.length([[{ x: 3, y: 4 }], [{ x: 5, y: 12 }]]), [5, 13]);
  const bytes = [new Uint8Array(3), new Uint8Array(400).fill(1), new Uint8Array(4000).fill(2)];
  const inverted = batch.invert(bytes.slice(0, 2).map((one) => [one] as const));
  t.deepEqual(
    inverted.map((one) => [one.length, one[0]]),
    [
      [3, 255],
      [400, 254],
    ],
  );

  const points = [{ x: 1, y: 2 }];
  const error = t.throws(
    () =>
      batch.center([
        [{ name: 'one', points }],
        [{ name: 'none', points: [] }],
        [{ name: 'wrong', points: 7 } as never],
        [{ name: 'long', points: Array.from({ length: 1000 }, () => ({ x: 1, y: 2 })) }],
      ]),
    {
      instanceOf: BatchError,
      code: 'ERR_INVALID_ARGUMENT',
      message: /^call 1 \(and 1 more\): .*none/,
    },
  );
  t.is(error?.index, 1);
  const [first, second, third, fourth] = error?.results ?? [];
  t.deepEqual([first, fourth], [points[0], points[0]]);
  t.like(second, { code: 'ERR_INVALID_ARGUMENT' });
  t.like(third, { code: 'ERR_SERIALIZE_FAILED' });
  // What does not fit its room fails, and says so.
  t.throws(() => batch.invert(bytes.map((one) => [one] as const)), {
    code: 'ERR_BUFFER_TOO_SMALL',
    message: /^call 2: /,
  });

  const panicked = t.throws(() => batch.panic([['first'], ['second']]), { instanceOf: BatchError });
  t.like(panicked, { code: 'ERR_PLUGIN_PANIC', index: 0 });
  t.throws(() => batch.add([[1, 2]]), { code: 'ERR_ZONE_FAULTED' });
  await using other = await loadZone({ path: PHYSICS });
  t.throws(() => other.callBatch(), { code: 'ERR_NOT_SUPPORTED' });
});

test('[Z03] a getter of an argument may call the plugin', async (t) => {
  await using zone = await loadZone(INLINE);
  const physics = zone.interface<Physics>(NUMBERS);
  const point = {
    get x(): number {
      return physics.add(1, 2);
    },
    y: 4,
  };
  t.is(physics.length(point), 5);
});

/** Threads of its own, where a zone has some. */
function threadsOf(mode: ZoneMode): { threads?: number } {
  return mode === 'dedicated' ? { threads: 4 } : {};
}

/** The 99th percentile of how long the loop was held up meanwhile, in milliseconds. */
async function delayDuring(work: () => Promise<unknown>): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  return delay.percentile(99) / 1e6;
}

for (const mode of ['shared', 'dedicated'] as const) {
  test.serial(`[Z04] ${mode}: 1000 calls of 5 ms at a time hold the loop up by less`, async (t) => {
    await using zone = await loadZone({ path: PHYSICS, mode, ...threadsOf(mode) });
    const physics = zone.interface<Promised<Physics>>(NUMBERS);
    const delays: number[] = [];
    // The machine may be busy with something else, as it is then without any call, too.
    for (let attempt = 0; attempt < 3; attempt++) {
      const begin = Date.now();
      const during = await delayDuring(async () => {
        const calls = Array.from({ length: 1000 }, () => physics.sleep(5));
        const ended = await Promise.all(calls);
        t.is(ended.filter((isZoneThread) => isZoneThread).length, 1000);
      });
      const took = Date.now() - begin;
      if (during < 5) return;
      const without = await delayDuring(() => setTimeout(Math.min(took, 1000)));
      delays.push(during);
      // With more to run than there are processors, how long this thread waits is anybody's doing.
      if (during < 2 * without || (loadavg()[0] as number) > availableParallelism()) {
        t.log(`the machine is busy: ${during} ms with calls, ${without} ms without`);
        return;
      }
    }
    t.fail(`the loop was held up by ${delays.join(', ')} ms`);
  });

  test(`[Z04 Z08 Z09 Z11] ${mode}: calls are promises, and the loop goes on`, async (t) => {
    await using zone = await loadZone({ path: PHYSICS, mode, ...threadsOf(mode) });
    const physics = zone.interface<Promised<Physics>>(NUMBERS);
    const calls = Array.from({ length: 500 }, (_, i) => physics.add(i, i));
    t.deepEqual(
      await Promise.all(calls),
      Array.from({ length: 500 }, (_, i) => 2 * i),
    );
    await t.throwsAsync(physics.center({ name: 'empty', points: [] }), {
      instanceOf: BusbarError,
      code: 'ERR_INVALID_ARGUMENT',
      message: /empty has no points/,
    });
    t.throws(() => zone.callSync('nothing'), { code: 'ERR_NOT_SUPPORTED' });
  });
}

test('[Z04 Z17] a call that is given up rejects at once, and ends in the plugin', async (t) => {
  const zone = await loadZone({ path: PHYSICS, mode: 'dedicated' });
  const late = zone.call('never', undefined, { timeoutMs: 20 });
  await t.throwsAsync(late, { code: 'ERR_TIMED_OUT' });
  const controller = new AbortController();
  const calls = Array.from({ length: 100 }, () => {
    return zone.call('never', undefined, { signal: controller.signal });
  });
  controller.abort(new Error('enough'));
  for (const call of calls) {
    const error = await t.throwsAsync(call, { code: 'ABORT_ERR', instanceOf: AbortError });
    t.like(error?.cause, { message: 'enough' });
  }
  await t.throwsAsync(zone.call('never', undefined, { signal: controller.signal }));
  while (zone.stats.openCalls > 0) await setTimeout(1);
  t.true(zone.stats.lateCalls <= 101);
  const waiting = zone.call('never');
  const closing = zone.close({ graceMs: 200 });
  await t.throwsAsync(waiting, { code: 'ERR_ZONE_CLOSED' });
  await closing;
  await t.throwsAsync(zone.call('nothing'), { code: 'ERR_ZONE_CLOSED' });
});

test('[Z17] calls that wait for a thread do not run once they are given up', async (t) => {
  await using zone = await loadZone({ path: PHYSICS, mode: 'dedicated' });
  const physics = zone.interface<Promised<Physics>>(NUMBERS);
  const named = registry.list().find(({ name }) => name.endsWith('AddArguments'));
  const { encode } = registry.lookup<{ a: bigint; b: bigint }>(named?.name ?? '');
  const [input, controller] = [encode({ a: 1n, b: 2n }), new AbortController()];
  const busy = physics.sleep(500);
  const added = zone.call('add', input, { signal: controller.signal });
  controller.abort();
  await t.throwsAsync(added, { code: 'ABORT_ERR' });
  await busy;
  t.is(await physics.total(), 0);
});

test('[Z15] modes are what is documented, and what does not go together is refused', async (t) => {
  type Is<A, B> = [A, B] extends [B, A] ? true : false;
  const modes: Is<ZoneMode, 'inline' | 'shared' | 'dedicated' | 'process'> = true;
  const options: Is<
    Pick<LoadZoneOptions, 'path' | 'name' | 'mode' | 'threads'>,
    {
      readonly path?: string;
      readonly name?: string;
      readonly mode?: ZoneMode;
      readonly threads?: number;
    }
  > = true;
  t.true(modes && options);
  const declared = readFileSync(new URL('../dist/zone.d.ts', import.meta.url), 'utf8');
  t.regex(declared, /type ZoneMode = 'inline' \| 'shared' \| 'dedicated' \| 'process';/);
  // Before anything is loaded or asked of another thread: within this turn.
  const refused: unknown[] = [];
  const wrong = { path: '/nowhere/none.so', mode: 'inline', threads: 2 } as const;
  loadZone(wrong).catch((error: unknown) => refused.push(error));
  loadZone({ path: '/nowhere/none.so', mode: 'fast' as 'inline' }).catch((error: unknown) => {
    refused.push(error);
  });
  await Promise.resolve();
  t.deepEqual(
    refused.map((error) => (error as BusbarError).code),
    ['ERR_INVALID_ARGUMENT', 'ERR_INVALID_ARGUMENT'],
  );
});

test('[D10 Z17] errors of plugins say whose they are', async (t) => {
  for (const mode of ['inline', 'dedicated'] as const) {
    await using zone = await loadZone({ path: PHYSICS, mode });
    const error = await t.throwsAsync(
      async () => zone.interface<Physics>(NUMBERS).center({ name: 'empty', points: [] }),
      { instanceOf: PluginError, code: 'ERR_INVALID_ARGUMENT' },
    );
    const { pluginId, method, status, generation, retryable } = error as PluginError;
    const expected = ['example.physics', 'center', -1, 1, false];
    t.deepEqual([pluginId, method, status, generation, retryable], expected);
  }
  const refused = loadZone({ path: PHYSICS, config: 'refuse' });
  const error = await t.throwsAsync(refused, { instanceOf: PluginError });
  t.deepEqual([(error as PluginError).status, (error as PluginError).method], [-1007, undefined]);
});

test('[Z05 Z06] a zone closes its children first', async (t) => {
  const parent = await loadZone(INLINE);
  const child = await loadZone({ path: PHYSICS, mode: 'dedicated', parent });
  const grandchild = await loadZone({ ...INLINE, parent: child });
  t.is(grandchild.parent, child);
  await parent.close();
  t.deepEqual([grandchild.state, child.state, parent.state], Array(3).fill('DESTROYED'));
  await parent.close();
  const stale = grandchild.interface<Physics>(NUMBERS);
  t.throws(() => stale.add(1, 2), { code: 'ERR_ZONE_CLOSED' });
  await t.throwsAsync(loadZone({ ...INLINE, parent }), { code: 'ERR_ZONE_CLOSED' });
});

test('[Z13 Z17] a panic is an error, and the end of its instance only', async (t) => {
  const [zone, other] = [await loadZone(INLINE), await loadZone(INLINE)];
  const physics = zone.interface<Physics>(NUMBERS);
  t.throws(() => physics.panic('as asked'), { code: 'ERR_PLUGIN_PANIC', message: /as asked/ });
  t.is(zone.state, 'FAULTED');
  t.throws(() => physics.add(1, 2), { code: 'ERR_ZONE_FAULTED' });
  t.is(other.interface<Physics>(NUMBERS).add(1, 2), 3);
  await Promise.all([zone.close(), other.close()]);
});

test('[T04 Z16] the types of a plugin are registered', async (t) => {
  await using zone = await loadZone({ path: PHYSICS });
  const point = registry.lookup<Point>('physics.Point');
  const [x, y] = [6, 8];
  const bytes = await zone.call('length', point.encode({ x, y }));
  t.is(bytes.readDoubleLE(), 10);
  t.regex(registry.list().find(({ name }) => name === 'physics.Point')?.origin ?? '', /physics/);
});

test('[T04 Z13] types stay registered while another zone has them', async (t) => {
  const zone = await loadZone(INLINE);
  t.throws(() => zone.interface<Physics>(NUMBERS).panic('once'), { code: 'ERR_PLUGIN_PANIC' });
  const [again, elsewhere] = [
    await loadZone(INLINE),
    await loadZone({ ...INLINE, folders: ['/'] }),
  ];
  await zone.close();
  t.is(again.interface<Physics>(NUMBERS).length({ x: 3, y: 4 }), 5);
  await again.close();
  t.is(elsewhere.interface<Physics>(NUMBERS).length({ x: 3, y: 4 }), 5);
  await elsewhere.close();
});

test('[Z10] shared memory is copied before a plugin looks at it', async (t) => {
  await using zone = await loadZone(INLINE);
  const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(1);
  t.deepEqual([...zone.callSync('invert', shared)], [254, 254, 254, 254]);
  t.deepEqual([...(await zone.call('invert', shared))], [254, 254, 254, 254]);
  for (const length of [4, 2000]) {
    const out = new Uint8Array(new SharedArrayBuffer(length));
    t.is(zone.callSync('invert', new Uint8Array(length), out), out);
    t.true(out.every((byte) => byte === 255));
  }
});

test('[Z17] what is wrong has a code and says so', async (t) => {
  const folder = mkdtempSync(`${tmpdir()}/busbar-zones-`);
  t.teardown(() => rmSync(folder, { recursive: true }));
  const text = `${folder}/text.so`;
  writeFileSync(text, 'no library', { mode: 0o644 });
  const open = `${folder}/open.so`;
  copyFileSync(PHYSICS, open);
  chmodSync(open, 0o666);
  const wrong: readonly (readonly [LoadZoneOptions | null, string, RegExp?])[] = [
    [null, 'ERR_INVALID_ARGUMENT'],
    [{}, 'ERR_INVALID_ARGUMENT', /a path or a name/],
    [{ path: PHYSICS, name: 'physics' }, 'ERR_INVALID_ARGUMENT'],
    [{ path: PHYSICS, mode: 'elsewhere' as 'inline' }, 'ERR_INVALID_ARGUMENT', /inline, shared/],
    [{ path: PHYSICS, threads: 0 }, 'ERR_INVALID_ARGUMENT', /threads/],
    [{ path: PHYSICS, mode: 'inline', threads: 2 }, 'ERR_INVALID_ARGUMENT', /threads .*inline/],
    [{ path: PHYSICS, mode: 'shared', threads: 2 }, 'ERR_INVALID_ARGUMENT', /threads .*shared/],
    [{ path: PHYSICS, mode: 'dedicated', process: {} }, 'ERR_INVALID_ARGUMENT', /mode process/],
    [{ path: PHYSICS, onReload: 1 as never }, 'ERR_INVALID_ARGUMENT', /onReload/],
    [{ path: PHYSICS, config: 1n }, 'ERR_INVALID_ARGUMENT', /JSON/],
    [{ path: `${folder}/none.so` }, 'ERR_NOT_FOUND', /none\.so/],
    [{ name: 'none', folders: [folder] }, 'ERR_NOT_FOUND', /none/],
    [{ path: text }, 'ERR_PLUGIN_DAMAGED'],
    [{ path: open }, 'ERR_PLUGIN_INSECURE'],
    [{ path: PHYSICS, config: 'refuse' }, 'ERR_PLUGIN_FAILED', /asked to refuse/],
    [{ path: PHYSICS, config: 'panic' }, 'ERR_PLUGIN_PANIC'],
    [{ path: PHYSICS, trust: { keys: ['no key'] } }, 'ERR_INVALID_ARGUMENT'],
    [{ path: PHYSICS, trust: null as never }, 'ERR_INVALID_ARGUMENT'],
    [{ path: PHYSICS, config: () => 1 }, 'ERR_INVALID_ARGUMENT', /no JSON|JSON/],
    [{ path: PHYSICS, thread: 2 } as LoadZoneOptions, 'ERR_INVALID_ARGUMENT', /thread/],
  ];
  for (const [options, code, message] of wrong) {
    const shown = JSON.stringify(options, (_, value) => (typeof value === 'bigint' ? 1 : value));
    const error = await t.throwsAsync(loadZone(options as LoadZoneOptions), { code }, shown);
    if (message !== undefined) t.regex(error?.message ?? '', message);
  }
  await using zone = await loadZone(INLINE);
  t.throws(() => zone.callSync('nothing', 'text' as never), { code: 'ERR_INVALID_ARGUMENT' });
  const missing = { code: 'ERR_METHOD_NOT_FOUND', message: /no method "fly", but nothing, length/ };
  t.throws(() => zone.callSync('fly'), missing);
  const physics = zone.interface<Physics>(NUMBERS);
  t.throws(() => (physics.add as (a: number) => number)(1), { message: /1 arguments; it takes 2/ });
  t.throws(() => physics.length({ x: 'far' as never, y: 0 }), { code: 'ERR_SERIALIZE_FAILED' });
});

test('[T31] libraries are found by name, and trusted by their hash', async (t) => {
  const folder = privateCopy(t);
  const file = `${folder}/${basename(PHYSICS)}`;
  const hash = createHash('sha256').update(readFileSync(file)).digest('hex');
  const named = { name: 'physics', folders: [folder], mode: 'inline' } as const;
  const allow = (id: string, sum: string): LoadZoneOptions => {
    return { ...named, trust: { allow: { [id]: sum } } };
  };
  await (await loadZone(allow('example.physics', hash))).close();
  const other = hash.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
  await t.throwsAsync(loadZone(allow('example.physics', other)), { code: 'ERR_PLUGIN_UNTRUSTED' });
  await t.throwsAsync(loadZone(allow('another.plugin', hash)), { code: 'ERR_PLUGIN_UNTRUSTED' });
});

function privateCopy(t: ExecutionContext): string {
  const folder = mkdtempSync(`${tmpdir()}/busbar-zones-`);
  t.teardown(() => rmSync(folder, { recursive: true }));
  const copy = `${folder}/${basename(PHYSICS)}`;
  copyFileSync(PHYSICS, copy);
  chmodSync(copy, 0o644);
  t.is(dirname(copy), folder);
  return folder;
}

test('[Z14] a worker that ends with zones open and calls under way disturbs nobody', async (t) => {
  const { code, stdout, stderr } = await run('zone-workers.js', [PHYSICS]);
  t.is(code, 0, stderr);
  t.is(stdout.trim(), 'done');
});

for (const mode of ['inline', 'dedicated', ...PROCESS] as const) {
  test(`[Z06 Z14] what is open is ended when its environment ends: ${mode}`, async (t) => {
    const folder = mkdtempSync(`${tmpdir()}/zones-`);
    t.teardown(() => rmSync(folder, { recursive: true }));
    for (const how of ['exit', 'end', 'worker', 'loading']) {
      const file = `${folder}/${how}`.replaceAll('\\', '/');
      const { code, stdout, stderr } = await run('zone-end.js', [QUIRKS, mode, file, how]);
      t.is(code, 0, `${how}: ${stderr}`);
      t.is(stdout.trim(), 'true', how);
      t.false(existsSync(file), how);
    }
  });
}

test('[Z12] a plugin is reloaded while it is called, and keeps its state', async (t) => {
  const folder = privateCopy(t);
  const file = `${folder}/${basename(PHYSICS)}`;
  for (const mode of ['inline', 'shared', 'dedicated', ...PROCESS] as const) {
    copyFileSync(PHYSICS, file);
    await using zone = await loadZone({ path: file, mode });
    const physics = zone.interface<Physics>(NUMBERS);
    t.is(await physics.add(1, 2), 3);
    t.false(await zone.reload(), 'the same file is no new generation');
    // Another file, the same plugin: a few bytes behind what a loader looks at.
    appendFileSync(file, 'next');
    let [isDone, calls] = [false, 0];
    const load = (async () => {
      while (!isDone) {
        await physics.add(1, 0);
        calls++;
        await setImmediate();
      }
    })();
    t.true(await zone.reload());
    isDone = true;
    await load;
    t.is(zone.generation, 2);
    t.is(await physics.total(), 3 + calls);
    writeFileSync(file, 'no library');
    const broken = zone.reload();
    await t.throwsAsync(broken, { code: 'ERR_PLUGIN_DAMAGED' });
    t.is(await physics.add(20, 22), 42);
    t.is(zone.generation, 2);
    await t.throwsAsync(zone.reload(''), { code: 'ERR_INVALID_ARGUMENT' });
    await t.throwsAsync(zone.reload(file, { grace: 1 } as object), {
      code: 'ERR_INVALID_ARGUMENT',
    });
  }
});

for (const mode of ['shared', ...PROCESS] as const) {
  test(`[Z12] a zone follows its file: ${mode}`, async (t) => {
    const folder = privateCopy(t);
    const file = `${folder}/${basename(PHYSICS)}`;
    const events: ReloadEvent[] = [];
    const onReload = (event: ReloadEvent): number => events.push(event);
    await using zone = await loadZone({ path: file, mode, watch: true, onReload });
    const change = async (bytes: Buffer): Promise<ReloadEvent | undefined> => {
      const count = events.length;
      writeFileSync(`${folder}/next`, bytes, { mode: 0o644 });
      renameSync(`${folder}/next`, file);
      while (events.length === count) await setTimeout(5);
      return events.at(-1);
    };
    const bytes = readFileSync(PHYSICS);
    const next = await change(Buffer.concat([bytes, Buffer.from('next')]));
    t.deepEqual(next, { type: 'reloaded', generation: 2 });
    const broken = await change(bytes.subarray(0, 5000));
    t.is(broken?.type === 'failed' ? broken.error.code : broken, 'ERR_PLUGIN_DAMAGED');
    t.is(zone.generation, 2);
    t.deepEqual(await change(bytes), { type: 'reloaded', generation: 3 });
  });
}
