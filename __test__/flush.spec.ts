/** What is flushed has left the process: it arrives though the event loop never turns again. */

import { spawn } from 'node:child_process';

import test from 'ava';

import { listen } from '../index.js';
import { freshAddress, PLAIN_SCHEMES } from './helpers/pairs.js';

const BUSBAR = new URL('../index.js', import.meta.url).href;

/** A program that sends one message and ends in the same turn, or stands still in it. */
const program = (address: string, end: string): string => `
  import { dial } from ${JSON.stringify(BUSBAR)};
  const pipe = await dial(${JSON.stringify(address)});
  pipe.trySend('the last');
  ${end}`;

const ENDS = {
  'flush() and a turn without end': `
    pipe.flush();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);`,
  'process.exit()': 'process.exit(0);',
};

for (const scheme of PLAIN_SCHEMES.filter((name) => !name.startsWith('inproc'))) {
  for (const [name, end] of Object.entries(ENDS)) {
    test(`[D46] ${scheme}: a message arrives before ${name}`, async (t) => {
      const listener = await listen(freshAddress(scheme));
      const source = program(listener.address, end);
      const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
        stdio: 'inherit',
      });
      t.teardown(() => child.kill('SIGKILL'));
      const pipe = await listener.accept({ timeoutMs: 50_000 });
      t.is(String(await pipe.receive({ timeoutMs: 50_000 })), 'the last');
      child.kill('SIGKILL');
      await pipe.close({ lingerMs: 0 });
      await listener.close();
    });
  }
}
