/** Heartbeats: peers that stop, hang or fall silent, in processes of their own. */

import { setTimeout as sleep } from 'node:timers/promises';

import test from 'ava';

import { dial, type ConnectionState } from '../index.js';
import { start } from './helpers/child.js';
import { closed, freshAddress } from './helpers/pairs.js';

const heartbeat = { intervalMs: 100, misses: 3 };

for (const scheme of ['shm', 'uds', 'tcp'] as const) {
  for (const trouble of ['stopped', 'hanging'] as const) {
    test(`[D18] ${scheme}: a ${trouble} process is lost, and only then`, async (t) => {
      const child = start('attend.js', [freshAddress(scheme)]);
      t.teardown(() => child.kill());
      const pipe = await dial(await child.line(), { heartbeat });
      t.teardown(() => pipe.close());
      const states: [ConnectionState, string | undefined][] = [];
      pipe.on('state', (state, _, reason) => states.push([state, reason?.code]));
      const errors: string[] = [];
      pipe.on('error', (error) => errors.push(error.code));
      const receiving = t.throwsAsync(pipe.receive(), { code: 'ERR_CONNECTION_LOST' });
      await sleep(1000);
      t.is(pipe.state, 'CONNECTED', 'silence alone is no loss');
      if (trouble === 'stopped') child.kill('SIGSTOP');
      else child.tell('hang');
      await closed(pipe);
      await receiving;
      t.like(states, [['DISCONNECTED'], ['CLOSED', 'ERR_CONNECTION_LOST']]);
      t.deepEqual(errors, ['ERR_CONNECTION_LOST']);
      t.regex(pipe.reason?.text ?? '', /nothing was heard of the peer for 300ms/);
    });
  }

  test(`[D18] ${scheme}: without a heartbeat, silence means nothing`, async (t) => {
    const child = start('attend.js', [freshAddress(scheme)]);
    t.teardown(() => child.kill());
    const pipe = await dial(await child.line(), { heartbeat: false });
    child.kill('SIGSTOP');
    await sleep(700);
    t.is(pipe.state, 'CONNECTED');
    child.kill('SIGCONT');
    await pipe.close();
  });
}
