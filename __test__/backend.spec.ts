/** Which backend a thread has, as programs are told. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import test from 'ava';

import { backend, configure } from '../index.js';

const run = promisify(execFile);

test.serial('[D50] configure() takes what it knows; nothing chosen is the poll set', (t) => {
  for (const wrong of ['epoll', '', 1, null]) {
    const options = { backend: wrong } as unknown as Parameters<typeof configure>[0];
    t.throws(() => configure(options), { code: 'ERR_INVALID_ARGUMENT' });
  }
  t.throws(() => configure({ IO: 'thread' } as object), { message: /unknown option "IO"/ });
  t.is(backend(), 'poll');
  t.notThrows(() => configure({ backend: 'poll' }));
  t.throws(() => configure({ backend: 'uring' }), { code: 'ERR_INVALID_STATE' });
});

const BUSBAR = new URL('../index.js', import.meta.url).href;

test('[D50] BUSBAR_IO chooses, and is checked', async (t) => {
  const script = `
    import { backend } from ${JSON.stringify(new URL('../index.js', import.meta.url).href)};
    try {
      console.log(backend());
    } catch (error) {
      console.log(error.code, error.message);
    }`;
  const asked = async (value: string): Promise<string> => {
    const env = { ...process.env, BUSBAR_IO: value };
    const args = ['--input-type=module', '--eval', script];
    const { stdout } = await run(process.execPath, args, { env });
    return stdout.trim();
  };
  t.is(await asked('poll'), 'poll');
  t.is(await asked(''), 'poll');
  t.regex(await asked('uring'), /^(uring|ERR_NOT_SUPPORTED io_uring does not work here.*)$/);
  t.regex(await asked('kqueue'), /^ERR_INVALID_ARGUMENT .*kqueue/);
});

test('[D50] an I/O thread has the poll set, and says so', async (t) => {
  const script = `
    import { backend, configure } from ${JSON.stringify(BUSBAR)};
    configure({ io: 'thread', backend: 'uring' });
    try {
      console.log(backend());
    } catch (error) {
      console.log(error.code, error.message);
    }`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script]);
  t.regex(stdout, /^ERR_NOT_SUPPORTED an I\/O thread works with the backend 'poll' only/);
});
