/** Which backend a thread has, as programs are told. */

import test from 'ava';

import { backend, configure } from '../index.js';
import { WITHOUT_IO_URING } from './helpers/built.js';
import { run, type ChildOptions } from './helpers/child.js';

const MODES = ['loop', 'thread'] as const;

test.serial('[D50] configure() takes what it knows', (t) => {
  for (const wrong of ['epoll', '', 1, null]) {
    const options = { backend: wrong } as unknown as Parameters<typeof configure>[0];
    t.throws(() => configure(options), { code: 'ERR_INVALID_ARGUMENT' });
  }
  t.throws(() => configure({ IO: 'thread' } as object), { message: /unknown option "IO"/ });
  configure({ backend: 'uring' });
  configure({ backend: 'auto' });
  // Nothing is settled yet.
  const chosen = backend();
  const other = chosen === 'poll' ? 'uring' : 'poll';
  t.notThrows(() => configure({ backend: 'auto' }));
  t.notThrows(() => configure({ backend: chosen }));
  t.throws(() => configure({ backend: other }), { code: 'ERR_INVALID_STATE' });
});

/** What a program is told that has exchanged messages; the first argument is its own choice. */
async function told(options: ChildOptions, ...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run('backend.js', args, options);
  return stdout + stderr;
}

test('[D50] BUSBAR_IO chooses, and is checked', async (t) => {
  const asked = (value: string, ...args: readonly string[]): Promise<string> =>
    told({ env: { BUSBAR_IO: value } }, ...args);
  t.is(await asked(''), 'poll');
  t.is(await asked('poll'), 'poll');
  t.regex(await asked('auto'), /^(poll|uring)$/);
  t.is(await asked('', 'auto'), await asked('auto'));
  t.is(await asked('uring', 'poll'), 'poll', 'the program has the last word');
  t.regex(await asked('uring'), /^(uring|ERR_NOT_SUPPORTED: io_uring does not work here.*)$/);
  t.regex(await asked('kqueue'), /^ERR_INVALID_ARGUMENT: .*kqueue/);
});

const linux = process.platform === 'linux' ? test : test.skip;

for (const io of MODES) {
  linux(`[D50] ${io}: where io_uring is forbidden, the poll set does it all`, async (t) => {
    const env = { BUSBAR_DRIVE: io, BUSBAR_IO: '' };
    const options = { env, through: WITHOUT_IO_URING };
    t.is(await told(options), 'poll');
    t.is(await told(options, 'auto'), 'poll');
    t.is(await told({ ...options, env: { ...env, BUSBAR_IO: 'auto' } }), 'poll');
    t.regex(await told(options, 'uring'), /^ERR_NOT_SUPPORTED: io_uring does not work here/);
  });

  linux(`[D48 D50 M07] ${io}: io_uring, where it works, wakes who sleeps`, async (t) => {
    const options = { env: { BUSBAR_DRIVE: io } };
    t.regex(await told(options, 'uring'), /^(uring|ERR_NOT_SUPPORTED: io_uring does not work.*)$/);
  });
}
