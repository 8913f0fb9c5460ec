/** Answers that come at once are taken without going round the event loop, which has its turns. */

import test from 'ava';

import { dial, metrics, type Pipe } from '../index.js';
import { freshAddress } from './helpers/pairs.js';
import { startWorker } from './helpers/workers.js';

const ROUNDS = 5000;
const QUESTION = Buffer.alloc(64, 1);

/** How the rounds went. */
interface Course {
  /** Times the core called in. */
  readonly turns: number;
  /** Turns that others of the event loop had. */
  readonly others: number;
}

/** Runs `talk` beside other work of the event loop. */
async function course(talk: () => Promise<void>): Promise<Course> {
  let others = 0;
  let immediate = setImmediate(function again() {
    others++;
    immediate = setImmediate(again);
  });
  const before = metrics().turns;
  await talk();
  clearImmediate(immediate);
  return { turns: metrics().turns - before, others };
}

async function awaited(pipe: Pipe): Promise<void> {
  for (let i = 0; i < ROUNDS; i++) {
    await pipe.send(QUESTION);
    await pipe.receive();
  }
}

function consumed(pipe: Pipe): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = ROUNDS;
    const step = (count: number): void => {
      left -= count;
      if (left === 0) resolve();
      else if (!pipe.trySend(QUESTION)) reject(new Error('no room'));
    };
    pipe.consume((batch) => step(batch.length)).catch(reject);
    pipe.trySend(QUESTION);
  });
}

for (const [name, talk] of Object.entries({ awaited, consumed })) {
  for (const scheme of ['shm', 'uds'] as const) {
    test.serial(`[D49] ${scheme}: ${name} messages leave the loop its turns`, async (t) => {
      const address = freshAddress(scheme);
      const options = { wait: 'low-latency' } as const;
      const worker = startWorker('answer-worker.js', { address, options });
      await worker.posted();
      const pipe = await dial(address, options);
      const { turns, others } = await course(() => talk(pipe));
      t.log(`${turns} turns of the core, ${others} of others, for ${ROUNDS} rounds`);
      t.true(others >= ROUNDS / 100, 'others of the event loop have their turns');
      await pipe.close();
      t.is(await worker.exited, 0);
    });
  }
}
