/** Plugins in processes of their own: crates/busbar-zone/tests/it/fixtures/crash.c. */

import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import test, { type ExecutionContext } from 'ava';

import { BusbarError, loadZone, PluginError, setLogger } from '../index.js';
import type { LoadZoneOptions, LogEntry } from '../index.js';
import { PHYSICS } from './helpers/built.js';
import { run } from './helpers/child.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FOLDER = mkdtempSync(`${tmpdir()}/busbar-crash-`);
const CRASH = compile();

interface Physics {
  add(a: number, b: number): Promise<number>;
  length(point: { x: number; y: number }): Promise<number>;
  center(path: { name: string; points: { x: number; y: number }[] }): Promise<{ x: number }>;
  panic(message: string): Promise<void>;
}

test.after.always(() => rmSync(FOLDER, { recursive: true }));

function compile(): string {
  const source = join(ROOT, 'crates/busbar-zone/tests/it/fixtures/crash.c');
  const path = join(FOLDER, 'libcrash.so');
  const flags = ['-std=c11', '-O1', '-fPIC', '-shared', '-w', '-I', join(ROOT, 'include')];
  execFileSync('cc', [...flags, '-o', path, source]);
  chmodSync(path, 0o755);
  return path;
}

function crash(options: LoadZoneOptions['process'] = {}): LoadZoneOptions {
  // Crashes that are long ago, as all are here, delay nothing.
  return { path: CRASH, mode: 'process', process: { crashWindowMs: 0, ...options } };
}

function isAlive(pid: number | null | undefined): boolean {
  try {
    return pid !== null && pid !== undefined && process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function until(t: ExecutionContext, what: string, isSo: () => boolean): Promise<void> {
  for (let waited = 0; !isSo(); waited += 5) {
    if (waited > 20_000) return t.fail(`never: ${what}`);
    await sleep(5);
  }
}

/**
 * What zones may leave behind, by name: threads, and descriptors of the kinds that they have. Those
 * that Node and its loaders start when they need them are not theirs.
 */
function belongings(): string[] {
  const linked = (folder: string, read: (path: string) => string): string[] =>
    readdirSync(folder).flatMap((name) => {
      try {
        return [read(join(folder, name))];
      } catch {
        // It is gone, as is what read the folder.
        return [];
      }
    });
  const threads = linked('/proc/self/task', (path) => readFileSync(join(path, 'comm'), 'utf8'));
  const descriptors = linked('/proc/self/fd', (path) => readlinkSync(path));
  return [
    ...threads.map((name) => name.trim()).filter((name) => name.startsWith('busbar')),
    ...descriptors
      .map((target) => target.replace(/[0-9]+/, ''))
      .filter((target) => /memfd:busbar|pidfd|eventfd|^socket/.test(target)),
  ].toSorted();
}

/** What is in `list` more often than in `other`. */
function beyond(list: readonly string[], other: readonly string[]): string[] {
  const left = [...other];
  return list.filter((item) => {
    const at = left.indexOf(item);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

test('[Z13] a plugin works in its process as it does anywhere', async (t) => {
  await using zone = await loadZone({ path: PHYSICS, mode: 'process', threads: 2 });
  t.is(zone.mode, 'process');
  t.is(zone.state, 'ACTIVE');
  t.true(isAlive(zone.process?.pid));
  t.not(zone.process?.pid, process.pid);
  const physics = zone.interface<Physics>({ u64: 'number' });
  t.is(await physics.length({ x: 3, y: 4 }), 5);
  const calls = Array.from({ length: 500 }, (_, i) => physics.add(i, i));
  t.deepEqual(
    await Promise.all(calls),
    Array.from({ length: 500 }, (_, i) => 2 * i),
  );
  const points = Array.from({ length: 100_001 }, (_, i) => ({ x: i, y: -i }));
  t.is((await physics.center({ name: 'large', points })).x, 50_000);
  await t.throwsAsync(physics.center({ name: 'empty', points: [] }), {
    instanceOf: BusbarError,
    code: 'ERR_INVALID_ARGUMENT',
    message: /empty has no points/,
  });
});

test('[Z13] a call can be waited for on this thread', async (t) => {
  await using zone = await loadZone(crash());
  const text = Buffer.from('hello');
  t.deepEqual(zone.callSync('echo', text), text);
  const out = new Uint8Array(8);
  t.is(zone.callSync('echo', text, out).buffer, out.buffer);
  t.is(Buffer.from(out.subarray(0, 5)).toString(), 'hello');
  const large = new Uint8Array(3_000_000).fill(7);
  t.deepEqual(zone.callSync('echo', large), Buffer.from(large));
  t.throws(() => zone.callSync('echo', large, out), { code: 'ERR_BUFFER_TOO_SMALL' });
  const late = { code: 'ERR_TIMED_OUT', message: /30 ms/ };
  t.throws(() => zone.callSync('stuck', undefined, undefined, { timeoutMs: 30 }), late);
  t.throws(() => zone.callSync('segfault'), { code: 'ERR_ZONE_CRASHED', message: /SIGSEGV/ });
  t.deepEqual(zone.callSync('echo', text), text);
});

for (const [method, how] of [
  ['segfault', /killed by signal 11 \(SIGSEGV\)/],
  ['abort', /killed by signal 6 \(SIGABRT\)/],
  ['exit', /exited with code 3/],
] as const) {
  test(`[Z13 T40] ${method}: the call rejects, the next one succeeds`, async (t) => {
    await using zone = await loadZone(crash());
    const pid = zone.process?.pid;
    const error = await t.throwsAsync<BusbarError>(zone.call(method), { code: 'ERR_ZONE_CRASHED' });
    t.regex(error?.message ?? '', how);
    t.true(error?.retryable);
    t.is((await zone.call('echo', Buffer.from('alive'))).toString(), 'alive');
    t.not(zone.process?.pid, pid);
    t.false(isAlive(pid));
    t.like(zone.process, { starts: 2, crashes: 1 });
    t.regex(zone.process?.lastCrash ?? '', how);
  });
}

test('[Z12 Z13 Z17] errors name it, and calls are cancelled', async (t) => {
  const zone = await loadZone(crash());
  const crashed = await t.throwsAsync(zone.call('segfault'), { instanceOf: PluginError });
  const { code, pluginId, method, generation } = crashed as PluginError;
  const expected = ['ERR_ZONE_CRASHED', 'fixture.crash', 'segfault', 1];
  t.deepEqual([code, pluginId, method, generation], expected);
  const stuck = zone.call('stuck', undefined, { timeoutMs: 20 });
  await t.throwsAsync(stuck, { code: 'ERR_TIMED_OUT' });
  await until(t, 'its process was told', () => zone.stats.lateCalls === 1);
  t.is(zone.stats.openCalls, 0);
  t.is((await zone.call('echo', Buffer.from('on'))).toString(), 'on');
  // Nobody waits for it, but its process cannot end by itself.
  const stays = { code: 'ERR_TIMED_OUT' };
  await t.throwsAsync(zone.close({ graceMs: 50 }), stays);
});

test('[T40] a panic is an error, and another process', async (t) => {
  await using zone = await loadZone({ path: PHYSICS, mode: 'process' });
  const physics = zone.interface<Physics>({ u64: 'number' });
  const panic = { code: 'ERR_PLUGIN_PANIC', message: /as asked/ };
  await t.throwsAsync(physics.panic('as asked'), panic);
  await until(t, 'it is started again', () => zone.process?.starts === 2);
  t.is(await physics.add(1, 2), 3);
});

test('[Z13] idempotent methods are repeated once, others fail', async (t) => {
  await using zone = await loadZone(crash());
  const mark = (name: string): Buffer => Buffer.from(join(FOLDER, name));
  t.is((await zone.call('once', mark('a'))).toString(), 'again');
  t.is(zone.callSync('once', mark('b')).toString(), 'again');
  await t.throwsAsync(zone.call('once_for_all', mark('c')), { code: 'ERR_ZONE_CRASHED' });
  t.like(zone.process, { crashes: 3, retried: 2 });
});

test('[Z13] after three crashes calls fail at once', async (t) => {
  const zone = await loadZone({ path: CRASH, mode: 'process' });
  for (let i = 0; i < 3; i++) {
    await t.throwsAsync(zone.call('abort'), { code: 'ERR_ZONE_CRASHED' });
  }
  await until(t, 'it is given up', () => zone.state === 'CRASHED');
  const given = { code: 'ERR_ZONE_CRASHED', message: /crashed 3 times within 300 s/ };
  await t.throwsAsync(zone.call('echo'), given);
  t.throws(() => zone.callSync('echo'), given);
  t.is(zone.process?.pid, null);
  await zone.close();
  await t.throwsAsync(zone.call('echo'), { code: 'ERR_ZONE_CLOSED' });
});

test('[Z13] calls that never end, and memory without end, end their process only', async (t) => {
  await using slow = await loadZone(crash({ callTimeoutMs: 100 }));
  for (const method of ['stuck', 'spin']) {
    await t.throwsAsync(slow.call(method), { code: 'ERR_TIMED_OUT', message: /100 ms/ });
    t.is((await slow.call('echo')).length, 0);
  }
  await using small = await loadZone(crash({ sandbox: { memoryBytes: 64 << 20 } }));
  const limit = { code: 'ERR_ZONE_CRASHED', message: /limited to 67108864 bytes/ };
  await t.throwsAsync(small.call('leak'), limit);
  t.is((await small.call('echo')).length, 0);
});

test('[Z13] what the sandbox denies, fails in the plugin', async (t) => {
  const sandbox = { deny: ['exec', 'network', 'write'] } as const;
  await using zone = await loadZone(crash({ sandbox, env: { GREETING: 'hello' } }));
  const eperm = -1n;
  t.is((await zone.call('execute')).readBigInt64LE(), eperm);
  t.is((await zone.call('socket')).readBigInt64LE(), eperm);
  const file = join(FOLDER, 'denied');
  t.is((await zone.call('write', Buffer.from(file))).readBigInt64LE(), eperm);
  t.false(existsSync(file));
  t.is((await zone.call('environment')).toString(), 'GREETING=hello\n');
});

test.serial('[Z13] what it logs and prints goes to the logger', async (t) => {
  const entries: LogEntry[] = [];
  setLogger((entry) => entries.push(entry));
  t.teardown(() => setLogger(null));
  await using zone = await loadZone(crash({ output: 'log' }));
  zone.post('log', Buffer.from('a word of warning'));
  zone.post('print');
  for (const [level, message] of [
    ['warn', 'fixture.crash: a word of warning'],
    ['info', 'fixture.crash: to stdout'],
    ['info', 'fixture.crash: and a second line'],
    ['warn', 'fixture.crash: to stderr'],
  ]) {
    const isIt = (entry: LogEntry): boolean => entry.level === level && entry.message === message;
    await until(t, `${message}`, () => entries.some(isIt));
  }
  zone.post('segfault');
  const told = (): boolean => entries.some(({ message }) => message.includes('SIGSEGV'));
  await until(t, 'the crash is told', told);
  t.pass();
});

test.serial('[Z13] killed at random, and closed: nothing is left', async (t) => {
  await (await loadZone(crash())).close({ graceMs: 60_000 });
  const before = belongings();
  const zone = await loadZone(crash());
  let [ended, failed] = [0, 0];
  const caller = async (): Promise<void> => {
    while (ended < 400 || (zone.process?.crashes ?? 0) < 5) {
      const input = Buffer.alloc(ended % 3000, ended % 256);
      try {
        const output = await zone.call(ended % 4 === 0 ? 'slow' : 'echo', input);
        t.deepEqual(output, input);
      } catch (error) {
        t.is((error as BusbarError).code, 'ERR_ZONE_CRASHED');
        failed += 1;
      }
      ended += 1;
    }
  };
  const killer = async (): Promise<void> => {
    while (ended < 400 || (zone.process?.crashes ?? 0) < 5) {
      const pid = zone.process?.pid;
      if (isAlive(pid)) process.kill(pid as number, 'SIGKILL');
      await sleep(10 + (ended % 20));
    }
  };
  await Promise.all([killer(), ...Array.from({ length: 8 }, caller)]);
  t.true(failed > 0);
  await zone.close().catch(() => undefined);
  t.is(zone.state, 'DESTROYED');
  // The threads that have closed zones end a little later than that is told.
  for (let waited = 0; waited < 20_000 && beyond(belongings(), before).length > 0; waited += 5) {
    await sleep(5);
  }
  t.deepEqual(beyond(belongings(), before), []);
});

test('[Z13] a program that is killed leaves no process behind', async (t) => {
  for (const how of ['kill', 'exit', 'uncaught', 'worker']) {
    const { stdout, stderr } = await run('zone-parent.js', [CRASH, how]);
    const pid = Number(/pid (\d+)/.exec(stdout)?.[1]);
    t.true(pid > 0, `${how}: ${stdout} ${stderr}`);
    await until(t, `${how}: its process ends`, () => !isAlive(pid));
  }
});

test('[Z17] what is wrong has a code and says so', async (t) => {
  const base = { path: CRASH, mode: 'process' } as const;
  const wrong: readonly (readonly [LoadZoneOptions, string, RegExp])[] = [
    [{ path: CRASH, mode: 'shared', process: {} }, 'ERR_INVALID_ARGUMENT', /mode process/],
    [{ ...base, process: { enviroment: {} } as never }, 'ERR_INVALID_ARGUMENT', /enviroment/],
    [{ ...base, process: { output: 'file' as 'log' } }, 'ERR_INVALID_ARGUMENT', /inherit, ignore/],
    [{ ...base, process: { crashesMax: 0 } }, 'ERR_INVALID_ARGUMENT', /crashesMax/],
    [{ ...base, process: { callTimeoutMs: 0.5 } }, 'ERR_INVALID_ARGUMENT', /callTimeoutMs/],
    [{ ...base, process: { ringBytes: 100_000 } }, 'ERR_INVALID_ARGUMENT', /power of two/],
    [{ ...base, process: { env: { 'A=B': '' } } }, 'ERR_INVALID_ARGUMENT', /A=B/],
    [{ ...base, process: { env: { A: 1 } as never } }, 'ERR_INVALID_ARGUMENT', /env/],
    [{ ...base, process: { sandbox: { memoryBytes: 1 } } }, 'ERR_INVALID_ARGUMENT', /memoryBytes/],
    [
      { ...base, process: { sandbox: { deny: ['sleep' as 'exec'] } } },
      'ERR_INVALID_ARGUMENT',
      /exec, network, write/,
    ],
    [{ ...base, config: 'crash' }, 'ERR_ZONE_CRASHED', /SIGSEGV/],
    [{ ...base, config: 'exit' }, 'ERR_ZONE_CRASHED', /exited with code 9/],
    [
      { ...base, config: 'hang', process: { startTimeoutMs: 100 } },
      'ERR_TIMED_OUT',
      /did not start within 100 ms/,
    ],
  ];
  for (const [options, code, message] of wrong) {
    await t.throwsAsync(loadZone(options), { code, message }, JSON.stringify(options));
  }
  await using zone = await loadZone(base);
  const timeout = { timeoutMs: 0 };
  t.throws(() => zone.callSync('echo', undefined, undefined, timeout), { message: /timeoutMs/ });
});

test('[Z17] without the executable the message names it', async (t) => {
  const folder = mkdtempSync(`${tmpdir()}/busbar-nohost-`);
  t.teardown(() => rmSync(folder, { recursive: true }));
  const binding = join(ROOT, 'binding');
  for (const name of ['dist', 'index.js', 'package.json', 'node_modules']) {
    symlinkSync(join(ROOT, name), join(folder, name));
  }
  const addon = readdirSync(binding).find((name) => name.endsWith('.node')) as string;
  copyFileSync(join(binding, addon), join(folder, addon));
  const program = `
    import { loadZone } from ${JSON.stringify(join(ROOT, 'index.js'))};
    await loadZone({ path: process.argv[2], mode: 'process' }).catch(({ code, message }) => {
      console.log(code, message);
    });`;
  writeFileSync(join(folder, 'program.mjs'), program);
  const env = { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: join(folder, addon) };
  const argv = [join(folder, 'program.mjs'), CRASH];
  const said = (): string => execFileSync(process.execPath, argv, { env, encoding: 'utf8' });
  const host = join(folder, 'busbar-host');
  t.true(said().startsWith(`ERR_ZONE_HOST`) && said().includes(host), said());
  writeFileSync(host, '#!/bin/sh\n', { mode: 0o644 });
  t.regex(said(), /^ERR_ZONE_HOST .*ermission/);
});
