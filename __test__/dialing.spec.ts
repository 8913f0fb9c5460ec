/** Dialing who is absent, mute, rude or of another version: an error with a code, in time. */

import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { setLogger, type BusbarError, type LogEntry } from '../index.js';
import { start } from './helpers/child.js';
import { dial, listen } from './helpers/ends.js';
import { freshAddress, nobodyThere, SCHEMES, unusedAddress } from './helpers/pairs.js';

for (const scheme of SCHEMES) {
  test(`[D37 I04] ${scheme}: nobody listens`, async (t) => {
    const begun = Date.now();
    const address = await unusedAddress(scheme);
    const caller = async (): Promise<void> => void (await dial(address));
    const error = await t.throwsAsync(caller(), nobodyThere(scheme));
    t.like(error, { retryable: true });
    t.true(Date.now() - begun < 5000, 'without waiting for the time limit');
    t.regex(error?.message ?? '', /start the listener|is not bound/);
    t.regex(error?.stack ?? '', /at (async )?caller .*dialing\.spec/, 'says who dialed');
  });

  test(`[D37 D08] ${scheme}: with retry, dialing waits for a listener`, async (t) => {
    const address = await unusedAddress(scheme);
    const dialing = dial(address, { retry: true });
    await new Promise((resolve) => setTimeout(resolve, 30));
    const listener = await listen(address);
    const [pipe, accepted] = await Promise.all([dialing, listener.accept()]);
    await Promise.all([pipe.close(), accepted.close(), listener.close()]);
    const hasty = dial(address, { retry: true, timeoutMs: 400 });
    await t.throwsAsync(hasty, nobodyThere(scheme));
    const signal = AbortSignal.timeout(20);
    await t.throwsAsync(dial(address, { retry: true, signal }), { code: 'ABORT_ERR' });
  });

  test(`[D06 D37] ${scheme}: more than the backlog are refused, and may try again`, async (t) => {
    const listener = await listen(freshAddress(scheme), { backlog: 1 });
    const first = await dial(listener.address);
    const refused = { code: 'ERR_CONNECTION_REFUSED', message: /backlog/ };
    const error = await t.throwsAsync(useless(listener.address), refused);
    t.like(error, { retryable: true });
    const accepted = await listener.accept();
    await Promise.all([first.close(), accepted.close(), listener.close()]);
  });

  test(`[D37] ${scheme}: an address is taken until its listener closes`, async (t) => {
    const listener = await listen(freshAddress(scheme));
    const { address } = listener;
    await t.throwsAsync(listen(address), { code: 'ERR_ADDR_IN_USE' });
    const pipe = await dial(address);
    const accepted = await listener.accept();
    await pipe.send('the first listener still receives');
    t.is(String(await accepted.receive()), 'the first listener still receives');
    await Promise.all([pipe.close(), accepted.close(), listener.close()]);
    await t.throwsAsync(dial(address), nobodyThere(scheme));
    const second = await listen(address);
    await second.close();
  });
}

test('[D08 D37] shm: a server that never answers', async (t) => {
  const { address, connections } = await rudeServer(t, () => {});
  const begun = Date.now();
  const error = await t.throwsAsync(dial(address, { timeoutMs: 200 }), { code: 'ERR_TIMED_OUT' });
  t.like(error, { retryable: true });
  t.true(Date.now() - begun >= 190);
  // Where much else runs, this thread hears of it only now.
  while (connections.length === 0) await new Promise(setImmediate);
  const socket = connections[0] as Socket;
  if (!socket.closed) await once(socket, 'close');
  t.pass('the dialer has hung up');
});

test('[D08 D37] shm: dialing a mute server can be aborted', async (t) => {
  const { address } = await rudeServer(t, () => {});
  const signal = AbortSignal.timeout(50);
  const error = await t.throwsAsync(dial(address, { signal }), { code: 'ABORT_ERR' });
  t.is((error.cause as Error).name, 'TimeoutError');
});

test('[D37] shm: a server that hangs up', async (t) => {
  const { address } = await rudeServer(t, (socket) => socket.destroy());
  const error = await t.throwsAsync(dial(address), { code: 'ERR_CONNECTION_REFUSED' });
  t.like(error, { retryable: true });
});

test('[D37] shm: a server that hangs up in the middle of its HELLO', async (t) => {
  const { address } = await rudeServer(t, (socket) => {
    socket.end(hello({}).subarray(0, 40));
  });
  await t.throwsAsync(dial(address), { code: 'ERR_CONNECTION_REFUSED' });
});

test('[D37] shm: HELLO of another version', async (t) => {
  const { address } = await rudeServer(t, (socket) => {
    socket.write(hello({ versionMin: 2, versionMax: 3 }));
  });
  const error = await t.throwsAsync(dial(address), { code: 'ERR_VERSION_MISMATCH' });
  t.like(error, { retryable: false });
  t.regex(error.message, /upgrade|version/);
});

test('[D37] shm: answers that are not HELLO', async (t) => {
  const answers: Readonly<Record<string, Buffer>> = {
    'another protocol': Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
    'a frame of an unknown kind': frame(9, Buffer.alloc(52)),
    'data before HELLO': frame(3, Buffer.from('!')),
    'goodbye before HELLO': frame(7, Buffer.alloc(6)),
    'a HELLO with another magic': hello({ magic: 'BUZZ' }),
    'a HELLO without shared memory': hello({ session: 'echo' }),
    'a HELLO of no bytes': frame(1, Buffer.alloc(0)),
  };
  for (const [what, bytes] of Object.entries(answers)) {
    const { address } = await rudeServer(t, (socket) => socket.write(bytes));
    await t.throwsAsync(dial(address), { code: 'ERR_PROTOCOL' }, what);
  }
  const { address } = await rudeServer(t, (socket) => {
    socket.write(Buffer.from([0x7f, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
  });
  await t.throwsAsync(dial(address), { code: 'ERR_MESSAGE_TOO_LARGE' }, 'a frame of 2 GiB');
});

test('[D10 D17] who speaks something else is shown, with what it looks like', async (t) => {
  const banners: Readonly<Record<string, RegExp>> = {
    'HTTP/1.1 400 Bad Request\r\n\r\n': /"HTTP\/1\.1 400 Bad Request", which looks like HTTP;/,
    'SSH-2.0-OpenSSH_9.6\r\n': /"SSH-2\.0-OpenSSH_9\.6.*", which looks like SSH;/,
    '220 mail.example ESMTP ready\r\n': /which looks like SMTP or FTP; is the address right\?/,
    'nothing that anybody knows\n': /began with "nothing that anybody kno"; is the address/,
  };
  for (const [banner, message] of Object.entries(banners)) {
    const server = createServer((socket) => socket.on('error', () => {}).write(banner));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    t.teardown(() => server.close());
    const { port } = server.address() as AddressInfo;
    await t.throwsAsync(dial(`tcp://127.0.0.1:${port}`), { code: 'ERR_PROTOCOL', message });
  }

  const listener = await listen('tcp://127.0.0.1:0');
  t.teardown(() => listener.close());
  const browser = connect(Number(new URL(listener.address).port), '127.0.0.1');
  t.teardown(() => browser.destroy());
  browser.on('error', () => {}).resume();
  const told = once(listener, 'error');
  browser.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  const [error] = (await told) as [BusbarError];
  t.is(error.code, 'ERR_PROTOCOL');
  t.regex(error.message, /"GET \/ HTTP\/1\.1.*", which looks like HTTP/);
});

test('[D22 D37] shm: a server that turns the connection away says why', async (t) => {
  const reason = Buffer.from([0, 18, 0, 0, 0, 0, ...Buffer.from('uid 1001 is not allowed')]);
  const { address } = await rudeServer(t, (socket) => socket.write(frame(2, reason)));
  await t.throwsAsync(dial(address), {
    code: 'ERR_PERMISSION_DENIED',
    message: /uid 1001 is not allowed/,
  });
});

test('[D37] shm: what is no socket', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'file');
  writeFileSync(file, 'text');
  await t.throwsAsync(dial(`shm://${file}`), { code: 'ERR_NOT_FOUND' });
  await t.throwsAsync(listen(`shm://${file}`), { code: 'ERR_ADDR_IN_USE' });
  t.true(existsSync(file), 'somebody else’s file is left alone');
  await t.throwsAsync(dial(`shm://${folder}/none/at/all`), { code: 'ERR_NOT_FOUND' });
  await t.throwsAsync(listen(`shm://${folder}/none/at/all`), { code: 'ERR_NOT_FOUND' });
  await t.throwsAsync(dial(`shm://${file}/below`), { instanceOf: Error });
});

test('[D37 D38 D45] shm: the socket of a killed listener is swept or taken over', async (t) => {
  const folder = temporaryFolder(t);
  for (const isTakenOver of [false, true]) {
    const path = join(folder, 'orphan.sock');
    const orphan = start('listener.js', [`shm://${path}`]);
    t.is(await orphan.line(), 'listening');
    orphan.kill();
    await orphan.exited;
    t.deepEqual(readdirSync(folder), ['orphan.sock'], 'nobody was there to remove it');
    if (isTakenOver) {
      const listener = await listen(`shm://${path}`);
      const [client, accepted] = await Promise.all([dial(`shm://${path}`), listener.accept()]);
      await client.send('alive');
      t.is(String(await accepted.receive()), 'alive');
      await Promise.all([client.close(), accepted.close(), listener.close()]);
    } else {
      await t.throwsAsync(dial(`shm://${path}`), { code: 'ERR_NOT_FOUND' });
    }
    t.deepEqual(readdirSync(folder), []);
  }
});

test('[D08 D37] shm: a listener is not held up by mute and rude peers', async (t) => {
  const path = join(temporaryFolder(t), 'patient.sock');
  const listener = await listen(`shm://${path}`, { handshakeTimeoutMs: 200 });
  t.teardown(() => listener.close());
  const errors: string[] = [];
  listener.on('error', (error) => errors.push(error.code));
  const mute = connect(path);
  const rude = connect(path);
  const old = connect(path);
  rude.write('GET / HTTP/1.1\r\n\r\n');
  old.write(hello({ versionMin: 7, versionMax: 9 }));
  const answer = once(old, 'data');
  const [pipe, accepted] = await Promise.all([dial(`shm://${path}`), listener.accept()]);
  await pipe.send('served all the same');
  t.is(String(await accepted.receive()), 'served all the same');
  const [reject] = (await answer) as [Buffer];
  t.is(reject[4], 2, 'REJECT');
  t.is(reject.readUInt16BE(16), 21, 'ERR_VERSION_MISMATCH');
  mute.resume();
  await Promise.all([mute, rude, old].map((s) => s.closed || once(s.resume(), 'close')));
  while (errors.length < 3) await once(listener, 'error');
  t.deepEqual(errors.sort(), ['ERR_PROTOCOL', 'ERR_TIMED_OUT', 'ERR_VERSION_MISMATCH']);
  await Promise.all([pipe.close(), accepted.close()]);
});

test.serial('[D11 D17] shm: without an error listener, failed handshakes are logged', async (t) => {
  const path = join(temporaryFolder(t), 'logged.sock');
  const listener = await listen(`shm://${path}`);
  const entries: LogEntry[] = [];
  const logged = new Promise<void>((resolve) => {
    setLogger((entry) => {
      if (entry.address !== listener.address) return;
      entries.push(entry);
      resolve();
    });
  });
  const rude = connect(path);
  rude.write('GET / HTTP/1.1\r\n\r\n');
  await logged;
  t.like(entries[0], { level: 'warn', code: 'ERR_PROTOCOL' });
  setLogger(null);
  rude.destroy();
  await listener.close();
});

test('[D37] shm: no files are left after dialing whatever is there', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'sub'));
  const listener = await listen(`shm://${folder}/sub/a.sock`);
  await t.throwsAsync(dial(`shm://${folder}/sub/b.sock`), { code: 'ERR_NOT_FOUND' });
  const pipe = await dial(listener.address);
  await Promise.all([pipe.close(), listener.close()]);
  t.deepEqual(readdirSync(join(folder, 'sub')), []);
});

test('[D58] a message that is too large for this peer is lost alone, and told', async (t) => {
  const heard: Buffer[] = [];
  // Answers with the HELLO of the dialer, in which it takes messages of up to 100 bytes.
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (said) => {
      said.writeBigUInt64BE(100n, 16 + 40);
      socket.write(said);
      socket.on('data', (bytes) => heard.push(bytes));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const pipe = await dial(`tcp://127.0.0.1:${port}`);
  t.teardown(() => pipe.close({ lingerMs: 0 }));
  const errors: BusbarError[] = [];
  pipe.on('error', (error) => errors.push(error));
  const sizes = [101, 1, 1024, 200, 100, 300];
  for (const [n, size] of sizes.entries()) await pipe.send(Buffer.alloc(size, n + 1));
  // Two frames with heads of 16 bytes.
  while (Buffer.concat(heard).length < 16 + 1 + 16 + 100 || errors.length < 4) {
    await new Promise(setImmediate);
  }
  const wire = Buffer.concat(heard);
  t.deepEqual(wire.subarray(16, 17), Buffer.alloc(1, 2));
  t.deepEqual(wire.subarray(33), Buffer.alloc(100, 5));
  t.deepEqual(
    errors.map(({ code }) => code),
    Array(4).fill('ERR_MESSAGE_TOO_LARGE'),
  );
  for (const [i, size] of [101, 1024, 200, 300].entries()) {
    t.regex(errors[i]!.message, new RegExp(`${size} bytes .* 100 `), 'both sizes');
  }
  t.is(pipe.state, 'CONNECTED');
});

/** A server that speaks for itself on a socket path where a listener is expected. */
async function rudeServer(
  t: ExecutionContext<unknown>,
  answer: (socket: Socket) => void,
): Promise<{ address: string; connections: Socket[] }> {
  const path = join(temporaryFolder(t), 'rude.sock');
  const connections: Socket[] = [];
  const server = createServer((socket) => {
    connections.push(socket);
    socket.on('error', () => {});
    socket.resume();
    // Once the dialer has said its HELLO, so that it waits for an answer.
    socket.once('data', () => answer(socket));
  });
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of connections) socket.destroy();
    server.close();
  });
  return { address: `shm://${path}`, connections };
}

/** docs/formats/hello.md, without shared memory. */
function hello({ magic = 'BUSB', versionMin = 1, versionMax = 1, session = '' }): Buffer {
  const payload = Buffer.alloc(52);
  payload.write(magic, 0);
  payload.writeUInt16BE(versionMin, 4);
  payload.writeUInt16BE(versionMax, 6);
  payload.write(session, 16);
  payload.writeBigUInt64BE(1n, 32);
  payload.writeBigUInt64BE(1n << 24n, 40);
  payload.writeUInt32BE(65_536, 48);
  return frame(1, payload);
}

/** docs/formats/frame.md. */
function frame(kind: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32BE(payload.length, 0);
  header[4] = kind;
  return Buffer.concat([header, payload]);
}

function temporaryFolder(t: ExecutionContext<unknown>): string {
  const folder = mkdtempSync(join(tmpdir(), 'busbar-spec-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Dials a listener that has no room: at once, or by the first use, one learns of it. */
async function useless(address: string): Promise<void> {
  const pipe = await dial(address);
  await pipe.receive({ timeoutMs: 5000 });
}
