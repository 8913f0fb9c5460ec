/** Messages written in place: reserve, commit, discard. */

import test from 'ava';

import { pattern, sameBytes } from './helpers/data.js';
import { pairOf, SCHEMES } from './helpers/pairs.js';

const SIZES = [0, 1, 8, 1000, 1024, 1025, 5000, 1 << 20, 5 << 20];

for (const scheme of SCHEMES) {
  test(`[D43] ${scheme}: what is written into a reservation is what arrives`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    for (const size of SIZES) {
      const reservation = client.reserve(size, { channel: 3 });
      t.is(reservation.bytes.length, size);
      pattern(size, size).copy(reservation.bytes);
      await reservation.commit();
      sameBytes(t, await server.receive(), pattern(size, size), `${size} bytes`);
    }
  });

  test(`[D43] ${scheme}: a shorter message than was reserved`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    for (const size of SIZES.slice(1)) {
      for (const length of [0, 1, size >> 1, size - 1]) {
        const reservation = client.reserve(size);
        pattern(length, 9).copy(reservation.bytes);
        await reservation.commit(length);
        sameBytes(t, await server.receive(), pattern(length, 9), `${length} of ${size} bytes`);
      }
    }
  });

  test(`[D43] ${scheme}: messages go out in the order of the commits`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const [a, b, c] = [client.reserve(100), client.reserve(5000), client.reserve(10)];
    a.bytes.fill('a');
    b.bytes.fill('b');
    c.bytes.fill('c');
    await client.send('first');
    await Promise.all([b.commit(1), client.send('between'), c.commit(1), a.commit(1)]);
    const got = [];
    for (let i = 0; i < 5; i++) got.push(String(await server.receive()));
    t.deepEqual(got, ['first', 'b', 'between', 'c', 'a']);
  });

  test(`[D43] ${scheme}: discard() sends nothing and gives the memory back`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: { slabBytes: 1 << 20 } });
    for (let i = 0; i < 3000; i++) {
      const reservation = client.reserve(i % 3 === 0 ? 100 : 300_000);
      reservation.bytes.fill(1);
      reservation.discard();
      reservation.discard();
      t.throws(() => reservation.bytes, { code: 'ERR_LOAN_EXPIRED' });
    }
    await client.send('only this');
    t.is(String(await server.receive()), 'only this');
    t.is(client.stats().fragmented, 0);
  });

  test(`[D43] ${scheme}: a settled reservation is refused`, async (t) => {
    const { client } = await pairOf(t, scheme);
    for (const size of [100, 10_000]) {
      const reservation = client.reserve(size);
      const view = reservation.bytes;
      await reservation.commit();
      await t.throwsAsync(reservation.commit(), { code: 'ERR_LOAN_EXPIRED' });
      t.throws(() => reservation.tryCommit(), { code: 'ERR_LOAN_EXPIRED' });
      t.throws(() => reservation.bytes, { code: 'ERR_LOAN_EXPIRED' });
      if (size > 1024) t.is(view.length, 0, 'shared memory that was handed over is detached');
    }
  });

  test(`[D43] ${scheme}: bad lengths are refused`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    for (const length of [-1, 1.5, NaN, Infinity, '10', null]) {
      t.throws(() => client.reserve(length as number), { code: 'ERR_INVALID_ARGUMENT' });
      const reservation = client.reserve(10);
      if (length === null) continue;
      const bad = length as number;
      await t.throwsAsync(reservation.commit(bad), { code: 'ERR_INVALID_ARGUMENT' });
      t.throws(() => reservation.tryCommit(bad), { code: 'ERR_INVALID_ARGUMENT' });
      reservation.discard();
    }
    const reservation = client.reserve(10);
    await t.throwsAsync(reservation.commit(11), { code: 'ERR_INVALID_ARGUMENT' });
    reservation.bytes.write('still open');
    await reservation.commit();
    t.is(String(await server.receive()), 'still open');
  });

  test(`[D43] ${scheme}: a reservation whose memory was transferred away`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: { slabBytes: 0 } });
    const reservation = client.reserve(10_000);
    reservation.bytes.fill(1);
    const memory = reservation.bytes.buffer as ArrayBuffer;
    // Node does not let go of memory that is not its own; some versions say so, some just copy.
    const stolen = attempt(() => structuredClone(memory, { transfer: [memory] }));
    if (memory.byteLength === 0) {
      await t.throwsAsync(reservation.commit(), { code: 'ERR_BUFFER_DETACHED' });
    } else {
      await reservation.commit();
      sameBytes(t, await server.receive(), Buffer.alloc(10_000, 1));
    }
    if (stolen !== null) new Uint8Array(stolen).fill(2);
    await client.send('goes on');
    t.is(String(await server.receive()), 'goes on');
  });

  test(`[D43] ${scheme}: tryCommit() says no while there is no room`, async (t) => {
    const { client, server } = await pairOf(t, scheme, {
      both: { ringBytes: 65_536, queueMessages: 64 },
    });
    let sent = 0;
    for (; client.trySend(pattern(1000, sent)); sent++) client.flush();
    const reservation = client.reserve(2000);
    pattern(2000, 1).copy(reservation.bytes);
    t.false(reservation.tryCommit());
    sameBytes(t, reservation.bytes, pattern(2000, 1));
    for (let i = 0; i < sent; i++) sameBytes(t, await server.receive(), pattern(1000, i));
    while (!reservation.tryCommit()) await new Promise(setImmediate);
    sameBytes(t, await server.receive(), pattern(2000, 1));
  });

  test(`[D08] ${scheme}: reservations that are open when the pipe closes`, async (t) => {
    const { client } = await pairOf(t, scheme);
    const open = [client.reserve(100), client.reserve(100_000)];
    const views = open.map((reservation) => reservation.bytes);
    await client.close();
    for (const view of views) view.fill(1);
    for (const reservation of open) {
      await t.throwsAsync(reservation.commit(), { code: 'ERR_CLOSED' });
      t.throws(() => reservation.tryCommit(), { code: 'ERR_CLOSED' });
      reservation.discard();
    }
    t.throws(() => client.reserve(1), { code: 'ERR_CLOSED' });
  });
}

function attempt<T>(run: () => T): T | null {
  try {
    return run();
  } catch {
    return null;
  }
}
