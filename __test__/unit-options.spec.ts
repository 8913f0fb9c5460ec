/** Options, errors and the log: what is accepted, and how a refusal reads. */

import test from 'ava';

import { CODES, type ErrorCode } from '../lib/codes.js';
import { AbortError, BusbarError, errorOf, fromNative } from '../lib/errors.js';
import { Deque } from '../lib/internal/deque.js';
import { log, setLogger, type LogEntry } from '../lib/logger.js';
import { dialSettings, listenSettings, pipeSettings } from '../lib/options.js';

const wrong = (value: unknown): never => value as never;

test('[D09] defaults are as documented', (t) => {
  t.deepEqual(pipeSettings(undefined), {
    native: {
      wait: 1,
      spinMicros: 50,
      ringBytes: 1_048_576,
      slabBytes: 16_777_216,
      maxMessageBytes: 16_777_216,
      trust: 0,
      queueMessages: 16_384,
      maxReassemblyBytes: 0,
      reassemblyTimeoutMs: 30_000,
      sessionTimeoutMs: 0,
      access: 0,
      heartbeatMs: 0,
      heartbeatMisses: 0,
    },
    maxPendingSends: 1024,
    qos: null,
  });
  t.is(dialSettings({}, 'uds://x').wait.timeoutMs, 10_000);
  t.like(listenSettings({}, 'uds://x').native, { backlog: 128, handshakeTimeoutMs: 5000 });
  t.like(listenSettings({}, 'uds://x').native, { mode: 0o600, reusePort: 0 });
});

test('[D24 D49] what is given is taken; undefined is as if not given', (t) => {
  const { native, maxPendingSends } = pipeSettings({
    wait: 'busy',
    trust: 'hostile',
    ringBytes: 65_536,
    slabBytes: 0,
    maxPendingSends: 0,
    queueMessages: wrong(undefined),
  });
  t.like(native, { wait: 3, trust: 1, ringBytes: 65_536, slabBytes: 0, queueMessages: 16_384 });
  t.is(maxPendingSends, 0);
  t.is(pipeSettings({ ringBytes: 2 ** 30, slabBytes: 2 ** 32 }).native.slabBytes, 2 ** 32);
});

const refusals: readonly [name: string, value: unknown, accepted: RegExp][] = [
  ['wait', 'spin', /'park', 'balanced', 'low-latency', 'busy'/],
  ['wait', 1, /one of/],
  ['spinMicros', -1, /0 to 100000/],
  ['spinMicros', '5', /an integer/],
  ['ringBytes', 100_000, /a power of two, 65536 to 1073741824/],
  ['ringBytes', 32_768, /a power of two/],
  ['ringBytes', 2 ** 31, /a power of two/],
  ['ringBytes', NaN, /a power of two/],
  ['ringBytes', 65_536n, /a power of two/],
  ['slabBytes', 1, /0 or a power of two, 65536 to 4294967296/],
  ['slabBytes', 2 ** 33, /0 or a power of two/],
  ['maxMessageBytes', 1023, /1024 to 2147483648/],
  ['maxMessageBytes', 1e6 + 0.5, /an integer/],
  ['trust', null, /'same-user', 'hostile'/],
  ['maxPendingSends', Infinity, /an integer/],
  ['queueMessages', -1, /0 to 16777216/],
];

for (const [name, value, accepted] of refusals) {
  test(`[D24 D49] ${name}: ${String(value)} (${typeof value}) is refused by name`, (t) => {
    for (const check of [
      pipeSettings,
      (options: never) => dialSettings(options, 'uds://x'),
      (options: never) => listenSettings(options, 'uds://x'),
    ]) {
      const error = t.throws(() => check(wrong({ [name]: value })), { instanceOf: BusbarError });
      t.is((error as BusbarError).code, 'ERR_INVALID_ARGUMENT');
      t.true(error?.message.startsWith(`${name} is `), error?.message);
      t.regex(error?.message ?? '', accepted);
    }
  });
}

test('[D06 D09] options of one call are refused in another, with what is known', (t) => {
  const unknown = /^unknown option "\w+"; known are: wait, .*ringBytes/;
  t.throws(() => pipeSettings(wrong({ timeoutMs: 1 })), { message: unknown });
  t.throws(() => dialSettings(wrong({ backlog: 1 }), 'uds://x'), { message: unknown });
  t.throws(() => listenSettings(wrong({ __proto__x: 1 }), 'uds://x'), {
    message: /unknown option/,
  });
  for (const [name, meant] of [
    ['backPressure', 'backpressure'],
    ['timeout', 'timeoutMs'],
    ['channls', 'channels'],
    ['waitt', 'wait'],
    ['sendHighWaterMark', 'sendHighWaterMarkMessages or sendHighWaterMarkBytes'],
  ] as const) {
    const message = `unknown option "${name}"; did you mean ${meant}?`;
    t.throws(() => dialSettings(wrong({ [name]: 1 }), 'uds://x'), { message });
  }
  t.throws(() => dialSettings({ timeoutMs: -5 }, 'uds://x'), { message: /timeoutMs is -5/ });
  t.throws(() => dialSettings(wrong({ signal: 'no' }), 'uds://x'), { message: /signal is "no"/ });
  t.throws(() => listenSettings({ backlog: 0 }, 'uds://x'), { message: /backlog is 0/ });
  t.throws(() => listenSettings({ handshakeTimeoutMs: 0 }, 'uds://x'), {
    message: /handshakeTimeoutMs is 0/,
  });
  for (const options of [null, 7, 'x']) {
    t.throws(() => pipeSettings(wrong(options)), { message: /options is/ });
  }
  t.is(dialSettings({ timeoutMs: Infinity }, 'uds://x').wait.timeoutMs, Infinity);
});

test('[D10 D27] what looks like no options, or no channel, is refused and not passed over', (t) => {
  for (const options of [new Map([['reliable', true]]), new Set(), [], [{ ttlMs: 1 }]]) {
    t.throws(() => pipeSettings(wrong(options)), { message: /^options is .*an object/ });
    t.throws(() => pipeSettings({ channels: wrong(options) }), { message: /^channels is / });
    t.throws(() => pipeSettings({ sendRate: wrong(options) }), { message: /^sendRate is / });
  }
  for (const channel of ['', ' 1', '01', '1e2', '0x1', '-0', '1.5', '-1', '65535', 'one']) {
    const message = `channels has a member "${channel}"; channels are 0 to 65534`;
    t.throws(() => pipeSettings({ channels: { [channel]: {} } }), { message });
  }
  t.notThrows(() => pipeSettings({ channels: { 0: {}, 7: { priority: 1 }, 65534: {} } }));
  t.throws(() => pipeSettings(wrong(Deque)), {
    message: 'options is a function Deque; it must be an object',
  });
});

test('[D51 D52] what is to protect a pipe is refused where it would do nothing', (t) => {
  for (const address of ['tcp://127.0.0.1:1', '127.0.0.1:1', 'uds:///x', 'shm://x', 'inproc://x']) {
    const message = `tls is given, and "${address}" is not encrypted; use tls://`;
    t.throws(() => dialSettings({ tls: { servername: 'x' } }, address), { message });
    t.throws(() => listenSettings({ tls: {} }, address), { message });
  }
  t.notThrows(() => dialSettings({ tls: { servername: 'x' } }, 'tls://127.0.0.1:1'));
  const access = { uids: [1000] };
  for (const address of ['tcp://127.0.0.1:1', 'tls://127.0.0.1:1', '127.0.0.1:1', 'shm://x']) {
    const message = /^access is a list, and nobody is looked up in it at/;
    t.throws(() => dialSettings({ access }, address), { message });
    t.throws(() => listenSettings({ access }, address), { message });
  }
  for (const address of ['uds:///x', 'uds://@x', 'pipe://x']) {
    t.notThrows(() => [dialSettings({ access }, address), listenSettings({ access }, address)]);
  }
});

test('[D18] a heartbeat is by default where networks are, and can be set anywhere', (t) => {
  const on = { heartbeatMs: 10_000, heartbeatMisses: 3 };
  const off = { heartbeatMs: 0, heartbeatMisses: 0 };
  t.like(dialSettings({}, 'tcp://[::1]:1').native, on);
  t.like(listenSettings({}, 'tcp://*:0').native, on);
  t.like(dialSettings({}, 'shm://x').native, off);
  t.like(dialSettings({ heartbeat: false }, 'tcp://x:1').native, off);
  t.like(dialSettings({ heartbeat: true }, 'uds://x').native, on);
  const heartbeat = { intervalMs: 250, misses: 2 };
  t.like(pipeSettings({ heartbeat }).native, { heartbeatMs: 250, heartbeatMisses: 2 });
  for (const [given, message] of [
    [1, /heartbeat is 1; it must be true, false or/],
    [null, /heartbeat is null/],
    [{ intervalMs: 49 }, /intervalMs is 49; it must be an integer, 50 to 3600000/],
    [{ misses: 1 }, /misses is 1; it must be an integer, 2 to 100/],
    [{ interval: 100 }, /unknown option "interval"; did you mean intervalMs\?/],
  ] as const) {
    t.throws(() => pipeSettings({ heartbeat: wrong(given) }), { message });
  }
});

test('[D10] each code makes an error that says whether to try again and what to do', (t) => {
  for (const [code, { number, retryable }] of Object.entries(CODES)) {
    const error = errorOf(-number, 'doing something');
    t.is(error.code, code as ErrorCode);
    t.is(error.retryable, retryable);
    t.is(error.name, 'BusbarError');
    t.regex(error.message, /^doing something: .{10}/);
  }
  t.is(errorOf(-9999, 'x').code, 'ERR_INTERNAL');
});

test('[D10] what the core throws becomes an error of the same code', (t) => {
  const error = fromNative({ code: 'ERR_NOT_FOUND', message: 'nobody listens at shm://x' });
  t.like(error, { code: 'ERR_NOT_FOUND', message: 'nobody listens at shm://x', retryable: true });
  t.is(fromNative(error), error);
  const cause = new TypeError('odd');
  t.like(fromNative(cause), { code: 'ERR_INTERNAL', cause });
  t.is(fromNative(undefined).code, 'ERR_INTERNAL');
  t.is(fromNative({ code: 'toString', message: 'x' }).code, 'ERR_INTERNAL');
  const aborted = new AbortError('receive()', 'why');
  t.like(aborted, { name: 'AbortError', code: 'ABORT_ERR', cause: 'why', retryable: false });
  t.true(aborted instanceof BusbarError);
});

test.serial('[D11] the logger hears what is important enough', (t) => {
  const heard: LogEntry[] = [];
  setLogger((entry) => heard.push(entry), 'warn');
  log('info', 'not important');
  log('warn', 'important', { pipe: 3 });
  setLogger(null);
  log('error', 'nobody hears');
  t.deepEqual(heard, [{ level: 'warn', message: 'important', pipe: 3 }]);
  t.throws(() => setLogger(wrong(7)), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => setLogger(null, wrong('loud')), { message: /error, warn, info, debug/ });
});

test('[D24] a queue behaves like an array, whatever is done to it', (t) => {
  const queue = new Deque<number>();
  let oracle: number[] = [];
  for (let i = 0, seed = 1; i < 20_000; i++) {
    seed = (seed * 48_271) % 2_147_483_647;
    const choice = seed % 100;
    if (choice < 50) {
      oracle.push(i);
      queue.push(i);
    } else if (choice < 90) t.is(queue.shift(), oracle.shift());
    else if (choice < 99) {
      const victim = oracle[seed % (oracle.length + 1)] ?? -1;
      t.is(queue.remove(victim), oracle.includes(victim));
      oracle = oracle.filter((each) => each !== victim);
    } else if (seed % 7 === 0) t.deepEqual(queue.drain(), oracle.splice(0));
    if (queue.length !== oracle.length || queue.peek() !== oracle[0]) t.fail(`step ${i}`);
  }
});
