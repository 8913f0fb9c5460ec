/** Bad input: what is refused, with which code, and that nothing else suffers. */

import test from 'ava';

import {
  bindInproc,
  connectInproc,
  parseAddress,
  setLogger,
  type Address,
  type Pipe,
  type Sendable,
} from '../index.js';
import { dial, listen } from './helpers/ends.js';
import { pattern, sameBytes } from './helpers/data.js';
import { freshAddress, pairOf, SCHEMES } from './helpers/pairs.js';

const GOOD: Readonly<Record<string, Address>> = {
  'inproc://a': { scheme: 'inproc', name: 'a' },
  'inproc://with/slashes and spaces': { scheme: 'inproc', name: 'with/slashes and spaces' },
  'inproc://ünïcode ✓': { scheme: 'inproc', name: 'ünïcode ✓' },
  'shm://A-z_0.9': { scheme: 'shm', name: 'A-z_0.9' },
  'shm:///run/app/name.sock': { scheme: 'shm', path: '/run/app/name.sock' },
  'uds:///tmp/x': { scheme: 'uds', path: '/tmp/x' },
  'uds://@abstract': { scheme: 'uds', abstract: 'abstract' },
  'ipc:///tmp/x': { scheme: 'ipc', path: '/tmp/x' },
  'pipe://name': { scheme: 'pipe', name: 'name' },
  'tcp://localhost:80': { scheme: 'tcp', host: 'localhost', port: 80 },
  'localhost:0': { scheme: 'tcp', host: 'localhost', port: 0 },
  'tcp://*:65535': { scheme: 'tcp', host: '*', port: 65_535 },
  'tcp://[::1]:5555': { scheme: 'tcp', host: '::1', port: 5555 },
  '[fe80::1%eth0]:1': { scheme: 'tcp', host: 'fe80::1%eth0', port: 1 },
  'tls://example.org:443': { scheme: 'tls', host: 'example.org', port: 443 },
};

const MALFORMED: readonly string[] = [
  '',
  'name',
  '://',
  'shm',
  'shm:',
  'shm:/',
  'shm://',
  'shm://with space',
  'shm://../up',
  'shm://a/b',
  'shm:///',
  'shm:///folder/',
  'shm://nul\0',
  `shm://${'x'.repeat(65)}`,
  `shm:///${'x'.repeat(108)}`,
  'SHM://name',
  'inproc://',
  'inproc://tab\t',
  'inproc://inproc://twice',
  `inproc://${'x'.repeat(256)}`,
  'http://localhost:80',
  'uds://relative',
  'uds://@',
  'ipc://',
  'pipe://a\\b',
  'tcp://',
  'tcp://host',
  'tcp://host:',
  'tcp://host:65536',
  'tcp://host:-1',
  'tcp://host:0x10',
  'tcp://:80',
  'tcp://::1:80',
  'tcp://[::1:80',
  'tcp://[zz]:80',
  'tcp://ho st:80',
];

const NOT_STRINGS: readonly unknown[] = [
  undefined,
  null,
  1,
  1n,
  {},
  [],
  Symbol('s'),
  () => {},
  new URL('shm://a'),
];

test('[D07 I07] well-formed addresses are taken apart', (t) => {
  for (const [address, parts] of Object.entries(GOOD)) t.deepEqual(parseAddress(address), parts);
});

test('[D07 I07] malformed addresses are refused, with what is expected', async (t) => {
  for (const address of MALFORMED) {
    const refused = { code: 'ERR_INVALID_ADDRESS' };
    const error = t.throws(() => parseAddress(address), refused, address);
    t.regex(error.message, /expected|schemes are|allowed/, address);
    await t.throwsAsync(dial(address), refused, address);
    await t.throwsAsync(listen(address), refused, address);
  }
});

test('[D07] what is not a string is an invalid argument', async (t) => {
  const refused = { code: 'ERR_INVALID_ARGUMENT' };
  for (const value of NOT_STRINGS) {
    const address = value as string;
    t.throws(() => parseAddress(address), refused);
    await t.throwsAsync(dial(address), refused);
    await t.throwsAsync(listen(address), refused);
    t.throws(() => bindInproc(address), refused);
    t.throws(() => connectInproc(address), refused);
  }
});

test('[D07] schemes that come later are not supported yet', async (t) => {
  const instead = process.platform === 'win32' ? /use pipe:/ : /use uds:/;
  const expected = { code: 'ERR_NOT_SUPPORTED', message: instead };
  await t.throwsAsync(dial('ipc:///tmp/x'), expected);
  await t.throwsAsync(listen('ipc:///tmp/x'), expected);
});

test('[D40] where there are no named pipes, pipe:// says what to use instead', async (t) => {
  if (process.platform === 'win32') {
    await t.throwsAsync(dial('pipe://busbar-nobody'), { code: 'ERR_NOT_FOUND' });
    return;
  }
  for (const attempt of [dial('pipe://x'), listen('pipe://x')]) {
    await t.throwsAsync(attempt, { code: 'ERR_NOT_SUPPORTED', message: /use uds:\/\// });
  }
});

test('[D10] options of the wrong type or out of range name themselves', async (t) => {
  const both: Readonly<Record<string, readonly unknown[]>> = {
    wait: ['fast', '', 1, null, {}],
    spinMicros: [-1, 1.5, '50', 100_001, NaN, null],
    ringBytes: [0, 1, 65_535, 65_537, 2 ** 31, '65536', 1e6, null, 65_536n],
    slabBytes: [-1, 1, 3 << 20, 2 ** 33, '0', null],
    maxMessageBytes: [0, 1023, 2 ** 31 + 1, 1024.5, '1024', null],
    trust: ['friend', true, null, 0],
    maxPendingSends: [-1, 0.5, 1_000_001, '1', null],
    queueMessages: [-1, 2 ** 25, '1', null],
    access: ['everyone', true, null, 0, { uids: 1 }, { gids: [-1] }, { users: [] }],
    signal: [{}, 'abort', null, true],
    unknownOption: [1],
  };
  const ofDial = { timeoutMs: [-1, '1', null, NaN, 2 ** 31] };
  const ofListen = {
    backlog: [0, 65_536, '1', null],
    handshakeTimeoutMs: [0, -1, 1.5, '1', null],
    mode: [-1, 0o1000, '0600', null],
    reusePort: [1, 'yes', null],
  };
  for (const scheme of SCHEMES) {
    const address = freshAddress(scheme);
    for (const [name, values] of Object.entries({ ...both, ...ofDial })) {
      for (const value of values) {
        const refused = { code: 'ERR_INVALID_ARGUMENT', message: new RegExp(name) };
        const what = `dial ${name} ${String(value)}`;
        await t.throwsAsync(dial(address, { [name]: value }), refused, what);
      }
    }
    for (const [name, values] of Object.entries({ ...both, ...ofListen })) {
      for (const value of values) {
        const refused = { code: 'ERR_INVALID_ARGUMENT', message: new RegExp(name) };
        const what = `listen ${name} ${String(value)}`;
        await t.throwsAsync(listen(address, { [name]: value }), refused, what);
      }
    }
  }
  for (const options of [null, 1, 'options', true]) {
    const refused = { code: 'ERR_INVALID_ARGUMENT' };
    await t.throwsAsync(dial(freshAddress('shm'), options as unknown as object), refused);
    await t.throwsAsync(listen(freshAddress('shm'), options as unknown as object), refused);
  }
});

test('[D11] the logger must be a function and its level known', (t) => {
  const refused = { code: 'ERR_INVALID_ARGUMENT' };
  t.throws(() => setLogger({} as never), refused);
  t.throws(() => setLogger(undefined as never), refused);
  t.throws(() => setLogger(() => {}, 'loud' as never), refused);
});

for (const scheme of SCHEMES) {
  test(`[D10] ${scheme}: arguments of calls are checked`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const refused = { code: 'ERR_INVALID_ARGUMENT' };
    for (const data of [undefined, null, 1, {}, [], true, 1n, [1, 2]]) {
      const bad = data as unknown as Sendable;
      await t.throwsAsync(client.send(bad), refused);
      t.throws(() => client.trySend(bad), refused);
      await t.throwsAsync(client.sendBatch([bad]), refused);
      if (Array.isArray(data)) continue;
      await t.throwsAsync(client.sendBatch(data as unknown as Sendable[]), refused);
    }
    for (const channel of [-1, 65_536, 1.5, '1', null, NaN]) {
      const options = { channel: channel as number };
      await t.throwsAsync(client.send('x', options), refused);
      t.throws(() => client.trySend('x', options), refused);
      await t.throwsAsync(client.sendBatch(['x'], options), refused);
      t.throws(() => client.reserve(1, options), refused);
    }
    for (const max of [0, -1, 1.5, '1', 65_537, null]) {
      await t.throwsAsync(server.receiveBatch(max as number), refused);
      t.throws(() => server.batches({ max: max as number }), refused);
      await t.throwsAsync(
        server.consume(() => {}, { max: max as number }),
        refused,
      );
    }
    await t.throwsAsync(server.consume('callback' as never), refused);
    for (const options of [null, 1, { timeoutMs: -1 }, { timeoutMs: '1' }, { signal: {} }]) {
      const bad = options as object;
      await t.throwsAsync(server.receive(bad), refused);
      await t.throwsAsync(server.receiveBatch(1, bad), refused);
      await t.throwsAsync(server.borrow(bad), refused);
      await t.throwsAsync(client.send('x', bad), refused);
      await t.throwsAsync(client.sendBatch(['x'], bad), refused);
    }
    const statuses = [-1, 1.5, 2 ** 32, '1'].map((status) => ({ status }));
    for (const reason of [1, null, ...statuses, { text: 1 }, 'x'.repeat(1025)]) {
      await t.throwsAsync(client.close({ reason: reason as string }), refused);
    }
    for (const lingerMs of [-1, NaN, '1', null]) {
      await t.throwsAsync(client.close({ lingerMs: lingerMs as number }), refused);
    }
    t.is(client.state, 'CONNECTED');
    await client.send('nothing of that was sent');
    t.is(String(await server.receive()), 'nothing of that was sent');
  });

  test(`[D08] ${scheme}: use after close`, async (t) => {
    const { client, server, listener } = await pairOf(t, scheme);
    await Promise.all([client.close(), server.close(), listener.close()]);
    for (const pipe of [client, server]) {
      const closed = { code: 'ERR_CLOSED' };
      await t.throwsAsync(pipe.send('x'), closed);
      await t.throwsAsync(pipe.send(pattern(100_000, 1)), closed);
      t.throws(() => pipe.trySend('x'), closed);
      await t.throwsAsync(pipe.sendBatch(['x', 'y']), closed);
      t.throws(() => pipe.reserve(10), closed);
      t.throws(() => pipe.reserve(100_000), closed);
      await t.throwsAsync(pipe.receive(), closed);
      await t.throwsAsync(pipe.receiveBatch(), closed);
      await t.throwsAsync(pipe.borrow(), closed);
      t.throws(() => pipe.tryReceive(), closed);
      await pipe.consume(() => t.fail());
      for await (const message of pipe) t.fail(String(message));
      for await (const batch of pipe.batches()) t.fail(String(batch));
      pipe.flush();
      pipe.ref().unref();
      t.is(pipe.state, 'CLOSED');
      t.is(pipe.stats().messagesQueued, 0);
      await pipe.close();
      await pipe[Symbol.asyncDispose]();
    }
    await t.throwsAsync(listener.accept(), { code: 'ERR_CLOSED' });
    for await (const pipe of listener) t.fail(pipe.address);
    listener.ref().unref();
    await listener.close();
    t.pass();
  });

  test(`[D10] ${scheme}: buffers that are detached`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const gone = { code: 'ERR_BUFFER_DETACHED' };
    const odd = new DataView(new ArrayBuffer(9));
    for (const view of [new Uint8Array(10), new Uint8Array(10_000), odd]) {
      const memory = view.buffer as ArrayBuffer;
      structuredClone(memory, { transfer: [memory] });
      t.throws(() => client.trySend(view), gone);
      await t.throwsAsync(client.send(view), gone);
      await t.throwsAsync(client.sendBatch([view]), gone);
    }
    await client.send('goes on');
    t.is(String(await server.receive()), 'goes on');
  });

  test(`[D10] ${scheme}: a buffer that is detached while it waits to be sent`, async (t) => {
    const { client, server } = await pairOf(t, scheme, {
      both: { ringBytes: 65_536, slabBytes: 65_536, queueMessages: 8 },
    });
    let before = 0;
    for (; client.trySend(Buffer.alloc(1000)); before++) client.flush();
    const kept = client.send(pattern(400, 1));
    for (const size of [500, 40_000, 500_000]) {
      const bytes = new Uint8Array(size);
      const sending = client.send(bytes);
      const batch = client.sendBatch([new Uint8Array(bytes.buffer, 0, 100), 'behind it']);
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
      void t.throwsAsync(sending, { code: 'ERR_BUFFER_DETACHED' });
      void t.throwsAsync(batch, { code: 'ERR_BUFFER_DETACHED' });
    }
    const last = client.send(pattern(600_000, 2));
    for (let i = 0; i < before; i++) t.is((await server.receive()).length, 1000);
    sameBytes(t, await server.receive(), pattern(400, 1));
    sameBytes(t, await server.receive(), pattern(600_000, 2));
    await Promise.all([kept, last]);
  });

  test(`[D58] ${scheme}: maxMessageBytes is sent, one byte more is refused`, async (t) => {
    for (const limited of ['client', 'server', 'both'] as const) {
      const options = { [limited]: { maxMessageBytes: 65_536 } };
      const { client, server } = await pairOf(t, scheme, options);
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        const fits = pattern(65_536, 1);
        const over = pattern(65_537, 2);
        const refused = { code: 'ERR_MESSAGE_TOO_LARGE' };
        await from.send(fits);
        await t.throwsAsync(from.send(over), refused, limited);
        t.throws(() => from.trySend(over), refused);
        await t.throwsAsync(from.sendBatch(['in front', over, 'behind']), refused);
        t.true(from.trySend(fits));
        sameBytes(t, await to.receive(), fits);
        t.is(String(await to.receive()), 'in front');
        sameBytes(t, await to.receive(), fits);
        t.throws(() => reserveAndCommit(from, 65_537), refused);
      }
    }
  });
}

function reserveAndCommit(pipe: Pipe, length: number): boolean {
  return pipe.reserve(length).tryCommit();
}
