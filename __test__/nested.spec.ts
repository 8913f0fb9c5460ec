/** Receiving on one pipe while a batch of another is being consumed. */

import test from 'ava';

import { dial, listen } from '../index.js';

test('[D43] receiving on another pipe inside consume() leaves both their bytes', async (t) => {
  const listener = await listen(`shm://nested-${process.pid}`);
  t.teardown(() => listener.close());
  const pairs = [];
  for (let i = 0; i < 2; i++) {
    const near = await dial(listener.address);
    pairs.push({ near, far: await listener.accept() });
  }
  const [a, b] = pairs as [(typeof pairs)[number], (typeof pairs)[number]];
  const large = Array.from({ length: 60 }, (_, i) => Buffer.alloc(8000, i + 100));
  const small = Array.from({ length: 20 }, (_, i) => Buffer.alloc(900, i + 1));
  await a.near.sendBatch(large);
  await b.near.sendBatch(small);
  await a.near.close({ lingerMs: 5000 });

  const seen: number[] = [];
  const nested: Buffer[] = [];
  await a.far.consume((batch) => {
    for (let more = b.far.tryReceive(); more !== null; more = b.far.tryReceive()) nested.push(more);
    for (const bytes of batch) {
      const [first] = bytes;
      t.true(bytes.every((byte) => byte === first), 'a mix of two messages');
      seen.push(first as number);
    }
  });
  t.deepEqual(seen, large.map((_, i) => i + 100));
  const summary = nested.map((bytes) => [bytes.length, bytes[0], bytes[899]]);
  t.deepEqual(summary, small.map((_, i) => [900, i + 1, i + 1]));
  await b.near.close();
});
