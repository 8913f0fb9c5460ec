/** Two processes: who is there, what survives a kill -9, and what is left behind. */

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { dial, listen, type BusbarError, type Pipe } from '../index.js';
import { start, type Child } from './helpers/child.js';
import { pattern, sameBytes } from './helpers/data.js';
import { files } from './helpers/leaks.js';
import { closed, freshAddress } from './helpers/pairs.js';

test('[D06 D37] a listener in another process echoes', async (t) => {
  const address = freshAddress('shm');
  const child = start('listener.js', [address]);
  t.is(await child.line(), 'listening');
  const pipe = await dial(address);
  const [uid, gid] = [process.getuid?.() as number, process.getgid?.() as number];
  t.deepEqual(pipe.peer, { pid: child.pid as number, uid, gid });
  for (const size of [0, 5, 1024, 70_000, 4 << 20]) {
    await pipe.send(pattern(size, size));
    sameBytes(t, await pipe.receive(), pattern(size, size));
  }
  await pipe.close({ reason: 'done' });
  t.is(await child.line(), 'accepted');
  t.is(await child.line(), 'over: done');
  child.kill('SIGTERM');
  await child.exited;
});

test('[D17 D38 D39] kill -9 of the peer ends all waits with ERR_CONNECTION_LOST', async (t) => {
  const shmBefore = files();
  for (const role of ['listener', 'dialer'] as const) {
    const waits: ((pipe: Pipe) => Promise<unknown>)[] = [
      (pipe) => pipe.receive(),
      (pipe) => pipe.receiveBatch(),
      (pipe) => pipe.borrow(),
      (pipe) => pipe[Symbol.asyncIterator]().next(),
      (pipe) => pipe.batches().next(),
      (pipe) => pipe.consume(() => {}),
      (pipe) => sendUntilEnd(pipe, 100),
      (pipe) => sendUntilEnd(pipe, 100_000),
    ];
    for (const wait of waits) {
      const { child, pipe } = await partner(role, ['silent']);
      const errors: BusbarError[] = [];
      pipe.on('error', (error) => errors.push(error));
      const waiting = t.throwsAsync(wait(pipe), { code: 'ERR_CONNECTION_LOST' });
      await new Promise((resolve) => setTimeout(resolve, 20));
      child.kill();
      t.like(await waiting, { retryable: true });
      await closed(pipe);
      t.like(pipe.reason, { code: 'ERR_CONNECTION_LOST', clean: false, local: false });
      t.deepEqual(
        errors.map(({ code }) => code),
        ['ERR_CONNECTION_LOST'],
      );
      await t.throwsAsync(pipe.send('x'), { code: 'ERR_CONNECTION_LOST' });
      await pipe.close();
      await child.exited;
    }
  }
  t.deepEqual(files(), shmBefore);
});

test('[D12 D16] the events of a pipe whose peer was killed', async (t) => {
  const { child, pipe } = await partner('dialer', ['silent']);
  const log: string[] = [];
  pipe.on('state', (state, previous, reason) => log.push(`${previous} → ${state} ${reason?.code}`));
  pipe.on('error', ({ code }) => log.push(`error ${code}`));
  pipe.on('close', ({ code }) => log.push(`close ${code}`));
  child.kill();
  await closed(pipe);
  t.deepEqual(log, [
    'CONNECTED → DISCONNECTED ERR_CONNECTION_LOST',
    'DISCONNECTED → CLOSED ERR_CONNECTION_LOST',
    'error ERR_CONNECTION_LOST',
    'close ERR_CONNECTION_LOST',
  ]);
});

test('[D39 D45] everything that a killed peer had published is received', async (t) => {
  for (let round = 0; round < 5; round++) {
    const { child, pipe } = await partner('dialer', ['numbers']);
    // It says how far it has got, then lies in wait with all of it unread.
    const published = Number(await child.line());
    t.true(published > 100);
    child.kill();
    await child.exited;
    await closed(pipe);
    let count = 0;
    const error = await t.throwsAsync(
      (async () => {
        for await (const message of pipe) {
          if (message.readUInt32LE(0) !== count++) t.fail(`message ${count} is out of order`);
        }
      })(),
    );
    t.like(error, { code: 'ERR_CONNECTION_LOST' });
    t.true(count >= published, `${count} of ${published}`);
  }
});

test('[D43 D45] loans of a killed peer stay readable until they are released', async (t) => {
  const { child, pipe } = await partner('dialer', ['frame']);
  const loan = await pipe.borrow();
  child.kill();
  await child.exited;
  await closed(pipe);
  await pipe.close();
  sameBytes(t, loan.bytes, Buffer.alloc(1 << 20, 0x42));
  loan.release();
});

test('[D45] a peer that is stopped holds up nobody else', async (t) => {
  const { child, pipe } = await partner('dialer', ['silent']);
  child.kill('SIGSTOP');
  await t.throwsAsync(sendUntilEnd(pipe, 1000, 200), { code: 'ERR_TIMED_OUT' });
  const other = await partner('dialer', ['numbers']);
  t.is((await other.pipe.receive()).readUInt32LE(0), 0);
  await Promise.all([pipe.close({ lingerMs: 0 }), other.pipe.close({ lingerMs: 0 })]);
  child.kill();
  other.child.kill();
  await Promise.all([child.exited, other.child.exited]);
});

test('[D37 D38] no socket is left by listeners that end in an orderly way', async (t) => {
  const folder = temporaryFolder(t);
  for (const how of ['close', 'exit', 'end', 'throw']) {
    const child = start('orderly.js', [`shm://${folder}/a.sock`, how]);
    t.is((await child.exited).code, how === 'throw' ? 1 : 0, how);
    t.deepEqual(readdirSync(folder), [], how);
  }
});

test('[D22] a reason crosses processes', async (t) => {
  const { child, pipe } = await partner('dialer', ['goodbye']);
  await closed(pipe);
  const told = { status: 4001, text: 'match over ✓' };
  t.deepEqual(pipe.reason, { code: 'ERR_CLOSED', ...told, clean: true, local: false });
  t.is((await child.exited).code, 0);
});

/** A pipe to a child that plays a part: it dials us, or we dial it. */
async function partner(
  role: 'listener' | 'dialer',
  args: readonly string[],
): Promise<{ child: Child; pipe: Pipe }> {
  const address = freshAddress('shm');
  if (role === 'listener') {
    const child = start('partner.js', ['listen', address, ...args]);
    await child.line();
    return { child, pipe: await dial(address) };
  }
  const listener = await listen(address);
  const child = start('partner.js', ['dial', address, ...args]);
  const pipe = await listener.accept();
  await listener.close();
  return { child, pipe };
}

async function sendUntilEnd(pipe: Pipe, size: number, timeoutMs = Infinity): Promise<never> {
  for (;;) await pipe.send(Buffer.alloc(size), { timeoutMs });
}

function temporaryFolder(t: ExecutionContext<unknown>): string {
  const folder = mkdtempSync(join(tmpdir(), 'busbar-spec-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
