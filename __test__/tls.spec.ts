/** `tls://` as users have it: certificates, who is let in, and Node's own tls at the other end. */

import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createPlainServer, connect as connectPlain } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { pathToFileURL } from 'node:url';

import test from 'ava';

import {
  dial,
  listen,
  parseAddress,
  type ErrorCode,
  type Listener,
  type Peer,
  type TlsOptions,
} from '../index.js';
import { authority, HERE } from './helpers/certificates.js';
import './helpers/runtime.js';

const root = authority();
const { ca } = root;
const here = root.issue('localhost');

/** Connects; closes everything when the test ends. */
async function pair(
  t: { teardown(end: () => Promise<unknown>): void },
  server: TlsOptions,
  client: TlsOptions,
) {
  const listener = await listen('tls://127.0.0.1:0', { tls: server });
  t.teardown(() => listener.close());
  const [accepted, dialed] = await Promise.all([
    listener.accept(),
    dial(listener.address, { tls: client }),
  ]);
  t.teardown(() => Promise.all([accepted.close({ lingerMs: 0 }), dialed.close({ lingerMs: 0 })]));
  return { listener, accepted, dialed };
}

/** The next failure that a listener tells of. */
async function warning(listener: Listener): Promise<{ code: ErrorCode; message: string }> {
  const [error] = (await once(listener, 'error')) as [{ code: ErrorCode; message: string }];
  return error;
}

test('[D03 D52] mutual TLS: each end sees the certificate of the other', async (t) => {
  const ada = root.issue('ada', ['subjectAltName=DNS:ada.example,email:ada@ada.example']);
  const server = { ...here, ca, requestCert: true };
  const { accepted, dialed } = await pair(t, server, { ...ada, ca, servername: 'localhost' });
  t.like(dialed.peer, { authorized: true, protocol: 'TLSv1.3', remoteAddress: '127.0.0.1' });
  t.is(dialed.peer?.certificate?.subject, 'CN=localhost');
  const { peer } = accepted;
  t.like(peer, { authorized: true, protocol: 'TLSv1.3' });
  t.is(peer?.certificate?.subject, 'CN=ada');
  t.regex(peer?.certificate?.subjectAltName ?? '', /ada\.example/);
  t.regex(peer?.certificate?.fingerprint256 ?? '', /^([\dA-F]{2}:){31}[\dA-F]{2}$/);
  await dialed.send('hello');
  t.is(String(await accepted.receive()), 'hello');
});

test('[D52] PEM as text, bytes, list, path and URL', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'busbar-pem-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'key.pem');
  writeFileSync(path, here.key);
  const other = authority('another').ca;
  for (const key of [here.key, Buffer.from(here.key), path, pathToFileURL(path)]) {
    const { dialed } = await pair(t, { cert: here.cert, key }, { ca: [other, ca] });
    t.is(dialed.state, 'CONNECTED');
  }
});

const stranger = authority('stranger');
const good: TlsOptions = { ...here, ca };
const past = ['-not_before', '20010101000000Z', '-not_after', '20020101000000Z'];
const cases: [string, ErrorCode, ErrorCode, TlsOptions, TlsOptions][] = [
  ['another authority', 'ERR_TLS_UNTRUSTED', 'ERR_TLS_UNTRUSTED', good, { ca: stranger.ca }],
  ["nobody but Node's own authorities", 'ERR_TLS_UNTRUSTED', 'ERR_TLS_UNTRUSTED', good, {}],
  [
    'another host',
    'ERR_TLS_WRONG_NAME',
    'ERR_TLS_UNTRUSTED',
    root.issue('elsewhere', ['subjectAltName=DNS:elsewhere.example']),
    { ca },
  ],
  [
    'a dialer without a certificate',
    'ERR_TLS_CERTIFICATE_REQUIRED',
    'ERR_TLS_CERTIFICATE_REQUIRED',
    { ...good, requestCert: true },
    { ca },
  ],
  [
    "a dialer with a stranger's certificate",
    'ERR_TLS_UNTRUSTED',
    'ERR_TLS_UNTRUSTED',
    { ...good, requestCert: true },
    { ...stranger.issue('mallory'), ca },
  ],
];

for (const [what, code, told, server, client] of cases) {
  test(`[D03 D52] refused: ${what}`, async (t) => {
    const listener = await listen('tls://127.0.0.1:0', { tls: server });
    t.teardown(() => listener.close());
    const heard = warning(listener);
    const error = await t.throwsAsync(dial(listener.address, { tls: client }), { code });
    t.like(error, { retryable: false });
    t.is((await heard).code, told);
  });
}

test('[D03 D52] refused: an expired certificate', async (t) => {
  // Older versions of openssl cannot make one.
  let expired: TlsOptions;
  try {
    expired = root.issue('late', [HERE], past);
  } catch {
    t.log('this openssl makes no expired certificates; the tests in Rust do');
    t.pass();
    return;
  }
  const listener = await listen('tls://127.0.0.1:0', { tls: expired });
  t.teardown(() => listener.close());
  const heard = warning(listener);
  await t.throwsAsync(dial(listener.address, { tls: { ca } }), { code: 'ERR_TLS_EXPIRED' });
  t.is((await heard).code, 'ERR_TLS_EXPIRED');
});

test('[D03] one end at tls:// and the other at tcp://', async (t) => {
  const secure = await listen('tls://127.0.0.1:0', { tls: good });
  const plain = await listen('tcp://127.0.0.1:0');
  t.teardown(() => Promise.all([secure.close(), plain.close()]));
  const expected = { code: 'ERR_TLS_EXPECTED' };
  const [first, second] = [warning(secure), warning(plain)];
  await t.throwsAsync(dial(secure.address.replace('tls:', 'tcp:')), expected);
  t.is((await first).code, 'ERR_TLS_EXPECTED');
  const address = plain.address.replace('tcp:', 'tls:');
  await t.throwsAsync(dial(address, { tls: { ca } }), expected);
  t.is((await second).code, 'ERR_TLS_EXPECTED');
});

test("[D03] Node's tls as the dialer: HELLO by hand, and a goodbye", async (t) => {
  const listener = await listen('tls://127.0.0.1:0', { tls: good });
  t.teardown(() => listener.close());
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const socket = connect({
      ...hostOf(listener.address),
      ca,
      ALPNProtocols: ['busbar/1'],
      maxVersion: version,
    });
    await once(socket, 'secureConnect');
    t.is(socket.alpnProtocol, 'busbar/1');
    socket.write(hello());
    const accepted = await listener.accept();
    t.like(accepted.peer, { protocol: version, authorized: false });
    await accepted.send('hello, Node');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    const ended = once(socket, 'end');
    await accepted.close({ reason: 'done' });
    await ended;
    t.regex(Buffer.concat(chunks).toString('latin1'), /hello, Node.*done/s);
    socket.end();
  }
});

test("[D03] Node's tls as the listener, and one that speaks another protocol", async (t) => {
  const server = createServer({ ...here, ALPNProtocols: ['busbar/1'] });
  server.on('secureConnection', (socket) => {
    // What came first is HELLO, and good enough as an answer: sizes, versions, session.
    socket.once('data', (bytes: Buffer) => socket.write(bytes));
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const { port } = server.address() as AddressInfo;
  const pipe = await dial(`tls://127.0.0.1:${port}`, { tls: { ca } });
  t.is(pipe.state, 'CONNECTED');
  await pipe.close({ lingerMs: 0 });

  for (const ALPNProtocols of [['http/1.1'], undefined]) {
    const other = createServer({ ...here, ...(ALPNProtocols && { ALPNProtocols }) });
    other.on('tlsClientError', () => {});
    other.on('secureConnection', (socket) => socket.on('error', () => {}));
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = `tls://127.0.0.1:${(other.address() as AddressInfo).port}`;
    await t.throwsAsync(dial(address, { tls: { ca } }), { code: 'ERR_TLS_HANDSHAKE' });
    await new Promise((resolve) => other.close(resolve));
  }
});

test('[D03 D39] a line that is cut is a lost connection', async (t) => {
  const listener = await listen('tls://127.0.0.1:0', { tls: good });
  t.teardown(() => listener.close());
  const { host, port } = hostOf(listener.address);
  const proxy = createPlainServer((near) => {
    const far = connectPlain(port, host);
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) socket.on('error', () => {});
    proxy.once('cut', () => [near, far].forEach((socket) => socket.destroy()));
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const via = `tls://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const [accepted, dialed] = await Promise.all([listener.accept(), dial(via, { tls: { ca } })]);
  await dialed.send('before');
  t.is(String(await accepted.receive()), 'before');
  proxy.emit('cut');
  const lost = { code: 'ERR_CONNECTION_LOST' };
  await Promise.all([
    t.throwsAsync(accepted.receive(), lost),
    t.throwsAsync(dialed.receive(), lost),
  ]);
  await new Promise((resolve) => proxy.close(resolve));
});

test('[D52] setSecureContext() shows another certificate to new dialers', async (t) => {
  const { listener, accepted, dialed } = await pair(t, good, { ca });
  const renewed = root.issue('renewed');
  listener.setSecureContext(renewed);
  const [second, after] = await Promise.all([
    listener.accept(),
    dial(listener.address, { tls: { ca } }),
  ]);
  t.is(after.peer?.certificate?.subject, 'CN=renewed');
  await dialed.send('still connected');
  t.is(String(await accepted.receive()), 'still connected');
  await Promise.all([second.close(), after.close()]);
  t.throws(() => listener.setSecureContext({ ca }), { code: 'ERR_INVALID_ARGUMENT' });
  const plain = await listen('tcp://127.0.0.1:0');
  t.throws(() => plain.setSecureContext(renewed), { code: 'ERR_NOT_SUPPORTED' });
  await plain.close();
  t.throws(() => plain.setSecureContext(renewed), { code: 'ERR_CLOSED' });
});

test('[D52] without rejectUnauthorized, authorize() decides by what it is told', async (t) => {
  const seen: Peer[] = [];
  const listener = await listen('tls://127.0.0.1:0', {
    tls: { ...here, ca, requestCert: true, rejectUnauthorized: false },
    authorize(peer) {
      seen.push(peer);
      return peer.authorized === true || 'show a certificate of ours';
    },
  });
  t.teardown(() => listener.close());
  listener.on('error', () => {});
  const refused = { code: 'ERR_PERMISSION_DENIED', message: /show a certificate of ours/ };
  await t.throwsAsync(dial(listener.address, { tls: { ca } }), refused);
  const mallory = stranger.issue('mallory');
  await t.throwsAsync(dial(listener.address, { tls: { ...mallory, ca } }), refused);
  const pipe = await dial(listener.address, { tls: { ...root.issue('ada'), ca } });
  await pipe.close();
  const codes = seen.map((peer) => peer.authorizationError?.code);
  t.deepEqual(codes, ['ERR_TLS_CERTIFICATE_REQUIRED', 'ERR_TLS_UNTRUSTED', undefined]);
  t.deepEqual(
    seen.map((peer) => peer.certificate?.subject),
    [undefined, 'CN=mallory', 'CN=ada'],
  );
});

for (const scheme of ['shm', 'uds', 'tcp'] as const) {
  test(`[D52] ${scheme}: authorize() lets in or says why not`, async (t) => {
    const name = `spec-authorize-${process.pid}`;
    const addresses = { shm: `shm://${name}`, uds: `uds://@${name}`, tcp: 'tcp://127.0.0.1:0' };
    // The last is no text, nor can it be made one.
    const thrown = [new Error('a bug'), Object.create(null)];
    const verdicts: unknown[] = [true, false, 'not today', undefined, ...thrown];
    const listener = await listen(addresses[scheme], {
      async authorize(peer) {
        if (scheme === 'tcp') t.is(peer.remoteAddress, '127.0.0.1');
        else t.is(peer.pid, process.pid);
        await new Promise((resolve) => setTimeout(resolve, 5));
        const verdict = verdicts.shift();
        if (thrown.includes(verdict)) throw verdict;
        return verdict as boolean;
      },
    });
    t.teardown(() => listener.close());
    const errors: string[] = [];
    listener.on('error', (error) => errors.push(error.message));
    const pipe = await dial(listener.address);
    const accepted = await listener.accept();
    await pipe.send('let in');
    t.is(String(await accepted.receive()), 'let in');
    for (const text of ['not authorized', 'not today', ...Array(3).fill('not authorized')]) {
      const message = new RegExp(text);
      const refused = { code: 'ERR_PERMISSION_DENIED', message };
      const error = await t.throwsAsync(dial(listener.address), refused);
      t.notRegex(error?.message ?? '', /a bug/, 'what was thrown is nothing for strangers');
    }
    t.true(errors.some((message) => message.includes('a bug')));
    t.true(errors.some((message) => message.includes('undefined')));
    t.true(errors.some((message) => message.includes('an object of no class')));
    await Promise.all([pipe.close(), accepted.close()]);
  });
}

test('[D52] authorize() that takes too long', async (t) => {
  const listener = await listen('tcp://127.0.0.1:0', {
    handshakeTimeoutMs: 50,
    authorize: () => new Promise(() => {}),
  });
  t.teardown(() => listener.close());
  const heard = warning(listener);
  await t.throwsAsync(dial(listener.address), { code: 'ERR_CONNECTION_REFUSED' });
  t.is((await heard).code, 'ERR_TIMED_OUT');
});

test('[D10 D52] options of tls are checked', async (t) => {
  const wrong: [Record<string, unknown>, ErrorCode, RegExp][] = [
    [{ ...good, passphrase: 'x' }, 'ERR_NOT_SUPPORTED', /passphrase/],
    [{ ...good, certs: 'x' }, 'ERR_INVALID_ARGUMENT', /unknown option "tls\.certs"/],
    [{ cert: here.cert }, 'ERR_INVALID_ARGUMENT', /tls\.key/],
    [{ ...good, cert: 1 }, 'ERR_INVALID_ARGUMENT', /tls\.cert is 1/],
    [{ ...good, key: '/nowhere/key.pem' }, 'ERR_INVALID_ARGUMENT', /tls\.key .*ENOENT/],
    [{ ...good, requestCert: 1 }, 'ERR_INVALID_ARGUMENT', /requestCert/],
    [{ ...good, minVersion: 'SSLv3' }, 'ERR_INVALID_ARGUMENT', /minVersion/],
    [{ ...good, servername: '' }, 'ERR_INVALID_ARGUMENT', /servername/],
    [{ ...here, requestCert: true }, 'ERR_INVALID_ARGUMENT', /tls\.ca/],
    [{}, 'ERR_INVALID_ARGUMENT', /tls\.cert/],
  ];
  for (const [tls, code, message] of wrong) {
    await t.throwsAsync(listen('tls://127.0.0.1:0', { tls }), { code, message });
  }
  const none = { code: 'ERR_INVALID_ARGUMENT', message: /tls/ };
  await t.throwsAsync(listen('tls://127.0.0.1:0'), none);
  const both = { tls: good, authorize: 1 as never };
  await t.throwsAsync(listen('tls://127.0.0.1:0', both), { message: /authorize is 1/ });
  const inproc = listen('inproc://authorize', { authorize: () => true });
  await t.throwsAsync(inproc, { code: 'ERR_INVALID_ARGUMENT' });
});

function hostOf(address: string): { host: string; port: number } {
  const parsed = parseAddress(address);
  if (parsed.scheme !== 'tls') throw new Error(address);
  return { host: parsed.host, port: parsed.port };
}

/** HELLO in a frame, as docs/formats/hello.md and frame.md have them. */
function hello(): Buffer {
  const bytes = Buffer.alloc(16 + 52);
  bytes.writeUInt32BE(52, 0);
  bytes.writeUInt8(1, 4);
  bytes.write('BUSB', 16, 'latin1');
  bytes.writeUInt16BE(1, 20);
  bytes.writeUInt16BE(1, 22);
  bytes.fill(7, 32, 48);
  bytes.writeBigUInt64BE(1n, 48);
  bytes.writeBigUInt64BE(1n << 20n, 56);
  bytes.writeUInt32BE(65_536, 64);
  return bytes;
}
