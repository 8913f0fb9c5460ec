/** Loans: large payloads that nobody copies, and where their memory goes. */

import test, { type ExecutionContext } from 'ava';

import { pattern, sameBytes } from './helpers/data.js';
import { isStream, pairOf, PLAIN_SCHEMES, SCHEMES } from './helpers/pairs.js';
import { run } from './helpers/child.js';

for (const scheme of SCHEMES) {
  test(`[D43 I01] ${scheme}: a reserved payload reaches a borrower without a copy`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    for (const size of [1025, 100_000, 4 << 20]) {
      const reservation = client.reserve(size);
      pattern(size, size).copy(reservation.bytes);
      await reservation.commit();
      const loan = await server.borrow();
      sameBytes(t, loan.bytes, pattern(size, size));
      loan.release();
    }
    // A stream copies: that it carries what was reserved is all there is to see.
    if (isStream(scheme)) return;
    t.is(client.stats().loansSent, 3);
    t.is(server.stats().loansReceived, 3);
    t.is(client.stats().fragmented, 0);
  });

  test(`[D43] ${scheme}: memory of loans and reservations stays where it is`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    const reservation = client.reserve(100_000);
    pattern(100_000, 1).copy(reservation.bytes);
    refusesToMove(t, reservation.bytes);
    await reservation.commit();
    const loan = await server.borrow();
    refusesToMove(t, loan.bytes);
    sameBytes(t, loan.bytes, pattern(100_000, 1));
    loan.release();
  });

  test(`[D43] ${scheme}: a loan is over when it is released`, async (t) => {
    const { client, server } = await pairOf(t, scheme);
    await client.sendBatch([pattern(100_000, 1), 'small']);
    const [large, small] = [await server.borrow(), await server.borrow()];
    const view = large.bytes;
    sameBytes(t, view, pattern(100_000, 1));
    t.is(String(small.bytes), 'small');
    for (const loan of [large, small]) {
      loan.release();
      loan.release();
      loan[Symbol.dispose]();
      t.throws(() => loan.bytes, { code: 'ERR_LOAN_EXPIRED' });
    }
    t.is(view.length, 0, 'detached');
    t.is(view.buffer.byteLength, 0);
  });

  test(`[D43] ${scheme}: a loan outlives the pipe`, async (t) => {
    const { client, server, listener } = await pairOf(t, scheme);
    await client.send(pattern(300_000, 7));
    const loan = await server.borrow();
    await Promise.all([client.close(), server.close(), listener.close()]);
    sameBytes(t, loan.bytes, pattern(300_000, 7));
    loan.release();
    t.throws(() => loan.bytes, { code: 'ERR_LOAN_EXPIRED' });
  });

  test(`[D43] ${scheme}: 10,000 loans leave the slab as it was`, async (t) => {
    const slabBytes = 1 << 20;
    const { client, server } = await pairOf(t, scheme, { both: { slabBytes } });
    for (let i = 0; i < 10_000; i++) {
      await client.send(pattern(i % 100 === 0 ? 200_000 : 3000, i));
      (await server.borrow()).release();
      // What is there already is received without a turn of the event loop.
      if (i % 100 === 0) await new Promise(setImmediate);
    }
    t.is(server.stats().messagesReceived, 10_000);
    if (isStream(scheme)) return;
    t.is(client.stats().fragmented, 0, 'there was slab memory for each');
    t.is(server.stats().loansReceived, 10_000);
    const before = client.stats().loansSent;
    const whole = client.reserve(slabBytes / 2);
    whole.bytes.fill(1);
    await whole.commit();
    const loan = await server.borrow();
    t.is(loan.bytes.length, slabBytes / 2);
    t.is(client.stats().loansSent, before + 1, 'half the slab is free in one piece');
    loan.release();
  });

  test(`[D43] ${scheme}: loans that are held make others go another way`, async (t) => {
    const { client, server } = await pairOf(t, scheme, { both: { slabBytes: 1 << 18 } });
    const held = [];
    for (let i = 0; i < 20; i++) {
      void client.send(pattern(40_000, i));
      held.push(await server.borrow());
    }
    for (const [i, loan] of held.entries()) {
      sameBytes(t, loan.bytes, pattern(40_000, i));
      loan.release();
    }
  });
}

for (const scheme of PLAIN_SCHEMES) {
  test(`[D43] ${scheme}: garbage collection gives forgotten loans back`, async (t) => {
    const { code, stderr, stdout } = await run('forgotten-loans.js', [scheme], {
      node: ['--expose-gc'],
    });
    t.is(code, 0, stderr);
    t.like(JSON.parse(stdout), { received: 2000, fragmented: 0 });
  });

  test(`[D43] ${scheme}: garbage collection spares what still waits to be sent`, async (t) => {
    const { code, stderr } = await run('waiting-reservations.js', [scheme], {
      node: ['--expose-gc'],
    });
    t.is(code, 0, stderr);
  });
}

/** Node 20 has no `transfer()`, and clones what must not be transferred; later versions throw. */
function refusesToMove(t: ExecutionContext<unknown>, bytes: Buffer): void {
  const memory = bytes.buffer as ArrayBuffer & { transfer?: () => ArrayBuffer };
  if (memory.transfer === undefined) t.false('transfer' in ArrayBuffer.prototype);
  else t.throws(() => memory.transfer?.(), { code: 'ERR_NOT_SUPPORTED', message: /copy it/ });
  try {
    structuredClone(memory, { transfer: [memory] });
  } catch (error) {
    t.is((error as Error).name, 'DataCloneError');
  }
  t.is(bytes.length, memory.byteLength);
  t.true(bytes.length > 0);
}
