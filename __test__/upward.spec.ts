/** Plugins that call the program that loaded them, and objects between the two. */

import { setTimeout } from 'node:timers/promises';

import test from 'ava';

import { loadZone, type LoadZoneOptions, type Zone, type ZoneMode } from '../index.js';
import { PHYSICS, QUIRKS } from './helpers/built.js';
import { run } from './helpers/child.js';

type Result<T, M> = M extends 'inline' ? T : Promise<T>;

interface Physics<M = 'shared'> {
  ask(method: string, input: Uint8Array): Result<Buffer, M>;
  ask_elsewhere(method: string, input: Uint8Array): Result<Buffer, M>;
  ask_later(method: string, input: Uint8Array): Result<Buffer, M>;
  make(name: string): Result<number, M>;
  name_of(body: number): Result<string, M>;
  released(): Result<number, M>;
  give_back(object: number): Result<Buffer, M>;
  panic(message: string): Result<number, M>;
}

const NUMBERS = { u64: 'number' } as const;
const MODES: readonly ZoneMode[] =
  process.platform === 'linux'
    ? ['inline', 'shared', 'dedicated', 'process']
    : ['inline', 'shared', 'dedicated'];
const NODE = { node: ['--expose-gc'] };
const HOWS = ['ask', 'ask_elsewhere', 'ask_later'] as const;

function open(mode: ZoneMode, options: Partial<LoadZoneOptions> = {}): Promise<Zone> {
  return loadZone({ path: PHYSICS, mode, ...options });
}

/** Awaits what inline zones give at once. */
async function settled<T>(call: () => T | Promise<T>): Promise<T> {
  return call();
}

async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 20_000; !(await isSo()); await setTimeout(1)) {
    if (Date.now() > end) throw new Error('it never came to be');
  }
}

for (const mode of MODES) {
  const hows = mode === 'inline' ? (['ask'] as const) : HOWS;

  test(`[Z05 Z07 Z21] functions of JavaScript are called: ${mode}`, async (t) => {
    const seen: string[] = [];
    await using zone = await open(mode, {
      expose: {
        double: (payload) => Buffer.concat([payload, payload]),
        nothing: (payload) => void seen.push(payload.toString()),
        fail: () => {
          throw new RangeError('on purpose');
        },
        wrong: () => 7 as never,
        busy: () => Promise.reject(Object.assign(new Error('later'), { code: 'ERR_AGAIN' })),
      },
    });
    const physics = zone.interface<Physics>(NUMBERS);
    const input = Buffer.from('ab');
    const large = Buffer.alloc(3 << 20, 7);
    for (const how of hows) {
      const ask = (method: string, bytes: Uint8Array = input): Promise<Buffer> => {
        return settled(() => physics[how](method, bytes));
      };
      t.is((await ask('double')).toString(), 'abab');
      if (mode !== 'inline') t.is((await ask('double', large)).length, 2 * large.length);
      t.is((await ask('nothing')).length, 0);
      await t.throwsAsync(ask('fail'), { code: 'ERR_PARENT_FAILED', message: /on purpose/ });
      await t.throwsAsync(ask('wrong'), { code: 'ERR_PARENT_FAILED', message: /gave 7/ });
      await t.throwsAsync(ask('none'), {
        code: 'ERR_NOT_SUPPORTED',
        message: /there is no "none"/,
      });
      await t.throwsAsync(ask('toString'), { code: 'ERR_NOT_SUPPORTED' });
      const code = mode === 'inline' ? 'ERR_NOT_SUPPORTED' : 'ERR_AGAIN';
      await t.throwsAsync(ask('busy'), { code });
    }
    t.deepEqual(
      seen,
      hows.map(() => 'ab'),
    );
  });
}

test('[Z05] nothing is exposed that is not said to be', async (t) => {
  for (const mode of MODES) {
    await using zone = await open(mode);
    const physics = zone.interface<Physics>(NUMBERS);
    const asked = settled(() => physics.ask('double', Buffer.alloc(1)));
    await t.throwsAsync(asked, { code: 'ERR_NOT_SUPPORTED', message: /lets it call nothing/ });
  }
  const expose = { bad: 7 } as never;
  await t.throwsAsync(open('inline', { expose }), { code: 'ERR_INVALID_ARGUMENT' });
});

test('[Z03 Z07] inline calls nest, and may give their memory away', async (t) => {
  const depths: number[] = [];
  await using zone: Zone = await open('inline', {
    expose: {
      again: (payload) => {
        depths.push(payload[0] as number);
        const [depth = 0] = payload;
        if (depth === 0) return Buffer.from('bottom');
        return physics.ask('again', Uint8Array.of(depth - 1));
      },
      steal: () => {
        structuredClone(stolen, { transfer: [stolen.buffer as ArrayBuffer] });
        zone.bind('invert').input.fill(255);
        return Buffer.from('stolen');
      },
      endless: (payload) => physics.ask('endless', payload),
    },
  });
  const physics = zone.interface<Physics<'inline'>>(NUMBERS);
  t.is(physics.ask('again', Uint8Array.of(20)).toString(), 'bottom');
  t.deepEqual(
    depths,
    Array.from({ length: 21 }, (_, index) => 20 - index),
  );
  // The memory of the argument itself, which is too large for the arena.
  const stolen = captured('steal', 1 << 20).argument;
  t.is(zone.callSync('ask', stolen).toString(), 'stolen');
  t.is(stolen.length, 0, 'given away');
  const error = t.throws(() => physics.ask('endless', Uint8Array.of(1)));
  t.is((error as { code?: string }).code, 'ERR_PARENT_FAILED');
  t.is(physics.ask('again', Uint8Array.of(0)).toString(), 'bottom', 'and it goes on');
});

test('[Z07] callSync() serves what the plugin asks meanwhile', async (t) => {
  if (!MODES.includes('process')) return void t.pass();
  const expose = {
    double: (payload: Buffer): Buffer => Buffer.concat([payload, payload]),
    later: async (): Promise<Buffer> => Buffer.from('later'),
  };
  await using zone = await open('process', { expose });
  const { argument } = captured();
  t.is(zone.callSync('ask', argument).toString(), 'abab');
  t.throws(() => zone.callSync('ask', captured('none').argument), { code: 'ERR_NOT_SUPPORTED' });
  // This thread cannot wait for the plugin and run what the promise needs.
  const promised = { code: 'ERR_NOT_SUPPORTED', message: /later\(\) gives a promise/ };
  t.throws(() => zone.callSync('ask', captured('later').argument), promised);
  t.is((await zone.call('ask', captured('later').argument)).toString(), 'later');
});

test('[Z07] callSync() of one zone leaves what another asks to the loop', async (t) => {
  if (!MODES.includes('process')) return void t.pass();
  const block = (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  await using other = await open('shared', { expose: { later: async () => Buffer.from('later') } });
  await using zone = await open('process', { expose: { block } });
  for (let round = 0; round < 3; round++) {
    const asked = other.call('ask_later', captured('later').argument);
    zone.callSync('ask', captured('block').argument);
    t.is((await asked).toString(), 'later');
  }
});

test('[Z07] callSync() ends in time, however much is asked meanwhile', async (t) => {
  if (!MODES.includes('process')) return void t.pass();
  const started: Promise<unknown>[] = [];
  await using zone = await open('process', {
    threads: 1,
    expose: {
      // The only thread waits for this, and what it is called for comes last.
      again: (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20),
    },
  });
  const { argument } = captured('again');
  for (let n = 0; n < 200; n++) started.push(zone.call('ask', argument));
  t.throws(() => zone.callSync('ask', argument, undefined, { timeoutMs: 100 }), {
    code: 'ERR_TIMED_OUT',
  });
  t.is((await Promise.all(started)).length, 200, 'the others go on');
});

test('[Z07] whatever a function throws, its call is answered', async (t) => {
  const thrown = [
    Object.assign(new Error(), { message: Symbol('no text') }),
    Object.defineProperty(new Error('code'), 'code', {
      get: () => {
        throw new Error('again');
      },
    }),
    Object.assign(new Error(), { message: { toString: () => 7, valueOf: () => ({}) } }),
    { toString: null, valueOf: null },
    null,
  ];
  for (const mode of MODES) {
    let next: unknown;
    await using zone = await open(mode, {
      expose: {
        fail: () => {
          throw next;
        },
      },
    });
    for (next of thrown) {
      const asked = settled(() => zone.call('ask', captured('fail').argument));
      await t.throwsAsync(asked, { code: 'ERR_PARENT_FAILED' });
    }
  }
});

test('[Z06 Z07] closing and giving up reach the function by its signal', async (t) => {
  for (const mode of MODES.filter((one) => one !== 'inline')) {
    const reasons: string[] = [];
    const signals: AbortSignal[] = [];
    const expose = {
      wait: (_: Buffer, { signal }: { signal: AbortSignal }): Promise<Buffer> => {
        signals.push(signal);
        signal.addEventListener('abort', () => reasons.push((signal.reason as Error).name));
        return new Promise(() => undefined);
      },
    };
    const zone = await open(mode, { expose });
    const { argument } = captured('wait');
    const controller = new AbortController();
    const given = zone.call('ask_later', argument, { signal: controller.signal });
    await eventually(() => signals.length === 1);
    controller.abort();
    await t.throwsAsync(given, { code: 'ABORT_ERR' });
    await eventually(() => reasons.length === 1);
    const asked = zone.call('ask', argument);
    asked.catch(() => undefined);
    await eventually(() => signals.length === 2);
    await zone.close({ graceMs: 1000 });
    await t.throwsAsync(asked, { code: 'ERR_ZONE_CLOSED' });
    await eventually(() => reasons.length === 2);
    t.deepEqual(reasons, ['AbortError', 'AbortError']);
  }
});

test('[Z02] the plugin is told once when nobody holds an object', async (t) => {
  for (const mode of MODES) {
    const zone = await open(mode);
    const physics = zone.interface<Physics>(NUMBERS);
    const moon = await physics.make('moon');
    const [one, other] = [zone.hold(moon), zone.hold(BigInt(moon))];
    t.is(one.number, moon);
    t.is(await physics.name_of(one.number), 'moon');
    one.close();
    one.close();
    t.throws(() => one.number, { code: 'ERR_OBJECT_STALE' });
    t.is(await physics.released(), 0);
    other[Symbol.dispose]();
    await eventually(async () => (await physics.released()) === 1);
    t.throws(() => zone.hold(moon), { code: 'ERR_OBJECT_STALE' });
    await t.throwsAsync(
      settled(() => physics.name_of(moon)),
      { code: 'ERR_OBJECT_STALE' },
    );
    for (const wrong of [-1, 1.5, 'x' as never]) {
      t.throws(() => zone.hold(wrong), { code: 'ERR_INVALID_ARGUMENT' });
    }
    const left = zone.hold(await physics.make('sun'));
    await zone.close();
    t.throws(() => left.number, { code: 'ERR_OBJECT_STALE' });
  }
});

test('[Z02] lent objects are found by number, and come back once', async (t) => {
  for (const mode of MODES) {
    const released: string[] = [];
    const lent = { name: 'lent' };
    const zone: Zone = await open(mode, {
      expose: { look: (payload) => Buffer.from(JSON.stringify(zone.lent(payload.readUInt32LE()))) },
    });
    const physics = zone.interface<Physics>(NUMBERS);
    const number = zone.lend(lent, { onRelease: () => released.push('one') });
    zone.lend({}, { onRelease: () => released.push('other') });
    const taken = zone.lend({}, { onRelease: () => released.push('taken') });
    t.is(zone.lent(number), lent);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(number);
    t.is((await physics.ask('look', bytes)).toString(), '{"name":"lent"}');
    t.true(zone.takeBack(taken));
    t.false(zone.takeBack(taken));
    await physics.give_back(number);
    await eventually(() => released.length === 1);
    t.throws(() => zone.lent(number), { code: 'ERR_OBJECT_STALE' });
    await t.throwsAsync(
      settled(() => physics.ask('look', bytes)),
      { code: 'ERR_OBJECT_STALE' },
    );
    await zone.close();
    await eventually(() => released.length === 2);
    t.deepEqual(released, ['one', 'other']);
    t.throws(() => zone.lend({}), { code: 'ERR_ZONE_CLOSED' });
  }
});

test('[Z02] each holder is told once that its plugin went down, not of a close', async (t) => {
  for (const mode of MODES) {
    const downs: string[] = [];
    const zone = await open(mode, { onDown: ({ generation }) => downs.push(`zone ${generation}`) });
    const physics = zone.interface<Physics>(NUMBERS);
    const onDown = (who: string) => ({ onDown: () => void downs.push(who) });
    const moon = await physics.make('moon');
    const objects = [zone.hold(moon, onDown('one')), zone.hold(moon, onDown('other'))];
    zone.hold(moon, onDown('closed')).close();
    await t.throwsAsync(
      settled(() => physics.panic('on purpose')),
      { code: 'ERR_PLUGIN_PANIC' },
    );
    await eventually(() => downs.length === 3);
    t.deepEqual(downs.toSorted(), ['one', 'other', 'zone 1']);
    for (const object of objects) t.throws(() => object.number, { code: 'ERR_OBJECT_STALE' });
    await zone.close();
    await setTimeout(20);
    t.is(downs.length, 3);
    const clean = await open(mode, { onDown: () => downs.push('clean') });
    await clean.close();
    await setTimeout(5);
    t.is(downs.length, 3);
  }
});

test('[T33] a zone in use is not closed, if that is what one asks for', async (t) => {
  for (const mode of MODES) {
    const inside: unknown[] = [];
    const zone: Zone = await open(mode, {
      expose: {
        close: () => {
          inside.push(zone.close({ ifInUse: 'reject' }));
          if (mode === 'inline') return undefined;
          return Promise.allSettled(inside).then(() => undefined);
        },
      },
    });
    const child = await loadZone({ path: PHYSICS, mode: 'inline', parent: zone });
    await t.throwsAsync(zone.close({ ifInUse: 'reject' }), { code: 'ERR_IN_USE' });
    await child.close({ ifInUse: 'reject' });
    const physics = zone.interface<Physics>(NUMBERS);
    await settled(() => physics.ask('close', Buffer.alloc(0)));
    t.is(inside.length, 1);
    if (mode === 'inline') {
      // The call may be over when it is looked at.
      await Promise.allSettled(inside);
    } else {
      await t.throwsAsync(inside[0] as Promise<void>, { code: 'ERR_IN_USE' });
      t.is(zone.state, 'ACTIVE');
    }
    await t.throwsAsync(zone.close({ ifInUse: 'x' as never }), { code: 'ERR_INVALID_ARGUMENT' });
    await zone.close({ ifInUse: 'reject' });
    await zone.close();
    t.is(zone.state, 'DESTROYED');
  }
});

test('[Z02] objects that are collected are released; workers may end in a call', async (t) => {
  const { code, stdout, stderr } = await run('zone-upward.js', [PHYSICS], NODE);
  t.is(code, 0, stderr);
  t.is(stdout.trim(), 'collected 1, ended 8');
});

test('[Z02] objects are let go within the release of others, and of themselves', async (t) => {
  const { code, stdout, stderr } = await run('zone-release.js', [QUIRKS]);
  t.is(code, 0, stderr);
  t.is(stdout.trim(), '20 ERR_OBJECT_STALE true');
});

/** The argument of `ask` as an archive: a name, and bytes that begin with `ab`. */
function captured(method = 'double', length = 2): { argument: Uint8Array } {
  const name = Buffer.from(method);
  if (name.length > 8) throw new Error('longer names are out of line');
  // docs/formats/archive.md: a short string is in place; a list is its distance and length.
  const root = (length + 3) & ~3;
  const bytes = new Uint8Array(root + 16);
  bytes.set([97, 98].slice(0, length), 0);
  bytes.fill(255, root, root + 8);
  bytes.set(name, root);
  const view = new DataView(bytes.buffer);
  view.setInt32(root + 8, -(root + 8), true);
  view.setUint32(root + 12, length, true);
  return { argument: bytes };
}
