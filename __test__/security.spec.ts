/** Who may connect: processes of the same user, through a directory that only they can enter. */

import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { dial, listen } from '../index.js';
import { run, start } from './helpers/child.js';

const NOBODY = 65_534;
/** Only root can start others, and they must be able to get at this package. */
const asRoot = process.getuid?.() === 0 && isOpen(import.meta.dirname) ? test : test.skip;

asRoot('[D41] a dialer of another user is refused, though the path is open to all', async (t) => {
  const folder = openFolder(t);
  const path = join(folder, 'open.sock');
  const listener = await listen(`shm://${path}`);
  chmodSync(path, 0o777);
  const errors: string[] = [];
  listener.on('error', ({ code }) => errors.push(code));
  listener.on('pipe', () => t.fail('somebody came in'));
  const exit = await run('intruder.js', ['dial', `shm://${path}`], { uid: NOBODY });
  t.like(exit, { code: 0, stdout: 'ERR_PERMISSION_DENIED false' }, exit.stderr);
  t.deepEqual(
    [...new Set(errors)].filter((code) => code !== 'ERR_PERMISSION_DENIED'),
    [],
  );
  await listener.close();
});

asRoot('[D41] a listener of another user is refused', async (t) => {
  const folder = openFolder(t);
  const path = join(folder, 'theirs.sock');
  const child = start('intruder.js', ['listen', `shm://${path}`], { uid: NOBODY });
  t.is(await child.line(), 'listening');
  await t.throwsAsync(dial(`shm://${path}`), { code: 'ERR_PERMISSION_DENIED' });
  child.kill();
  await child.exited;
});

asRoot('[D51] uds: who is listed comes in, and nobody else', async (t) => {
  const path = join(openFolder(t), 'listed.sock');
  const own = process.getuid?.() as number;
  const cases = [
    [{ uids: [NOBODY] }, 'connected', 'ERR_PERMISSION_DENIED'],
    [{ uids: [own, NOBODY] }, 'connected', undefined],
    [{ uids: [own] }, 'ERR_PERMISSION_DENIED false', undefined],
    [{ gids: [NOBODY] }, 'connected', 'ERR_PERMISSION_DENIED'],
    [{ uids: [], gids: [] }, 'ERR_PERMISSION_DENIED false', 'ERR_PERMISSION_DENIED'],
    ['anyone', 'connected', undefined],
    ['same-user', 'ERR_PERMISSION_DENIED false', undefined],
  ] as const;
  for (const [access, stranger, self] of cases) {
    const listener = await listen(`uds://${path}`, { access, mode: 0o666 });
    listener.on('error', ({ code }) => t.is(code, 'ERR_PERMISSION_DENIED'));
    listener.on('pipe', (pipe) => void pipe.close());
    const who = { uid: NOBODY };
    const exit = await run('intruder.js', ['dial', `uds://${path}`, 'anyone'], who);
    t.like(exit, { code: 0, stdout: stranger }, `${JSON.stringify(access)}: ${exit.stderr}`);
    const dialing = dial(`uds://${path}`);
    if (self === undefined) await (await dialing).close();
    else await t.throwsAsync(dialing, { code: self });
    await listener.close();
  }
});

asRoot('[D51] uds: a dialer, too, can say whose listener it talks to', async (t) => {
  const path = join(openFolder(t), 'theirs.sock');
  const who = { uid: NOBODY };
  const child = start('intruder.js', ['listen', `uds://${path}`, 'anyone'], who);
  t.is(await child.line(), 'listening');
  await t.throwsAsync(dial(`uds://${path}`), { code: 'ERR_PERMISSION_DENIED' });
  const strict = { access: { uids: [1] } };
  await t.throwsAsync(dial(`uds://${path}`, strict), { code: 'ERR_PERMISSION_DENIED' });
  const pipe = await dial(`uds://${path}`, { access: { uids: [NOBODY] } });
  t.like(pipe.peer, { uid: NOBODY, gid: NOBODY });
  await pipe.close();
  child.kill();
  await child.exited;
});

asRoot('[D41] another user cannot enter the runtime directory', async (t) => {
  const folder = openFolder(t);
  const directory = join(folder, 'run');
  mkdirSync(directory, { mode: 0o700 });
  const exit = await run('intruder.js', ['dial', 'shm://name'], {
    uid: NOBODY,
    env: { BUSBAR_RUNTIME_DIR: directory },
  });
  t.like(exit, { code: 0, stdout: 'ERR_PERMISSION_DENIED false' }, exit.stderr);
});

test('[D41] the runtime directory is made for its owner alone', async (t) => {
  const folder = openFolder(t);
  const directory = join(folder, 'made');
  const exit = await run('orderly.js', ['shm://name', 'close'], {
    env: { BUSBAR_RUNTIME_DIR: directory },
  });
  t.is(exit.code, 0, exit.stderr);
  t.is(statSync(directory).mode & 0o777, 0o700);
});

test('[D41] a runtime directory that is open to others is refused', async (t) => {
  const folder = openFolder(t);
  for (const how of ['dial', 'listen']) {
    const exit = await run('intruder.js', [how, 'shm://name'], {
      env: { BUSBAR_RUNTIME_DIR: folder },
    });
    t.like(exit, { code: 0, stdout: 'ERR_PERMISSION_DENIED false' }, exit.stderr);
  }
});

test('[D41] XDG_RUNTIME_DIR is the place to meet where it is set', async (t) => {
  const folder = openFolder(t);
  const env = { BUSBAR_RUNTIME_DIR: '', XDG_RUNTIME_DIR: folder };
  const child = start('listener.js', ['shm://meeting'], { env });
  t.is(await child.line(), 'listening');
  t.true(statSync(join(folder, 'busbar', 'meeting.sock')).isSocket());
  await t.throwsAsync(dial('shm://meeting'), { code: 'ERR_NOT_FOUND' });
  const pipe = await dial(`shm://${join(folder, 'busbar', 'meeting.sock')}`);
  await pipe.close();
  child.kill();
  await child.exited;
});

/** A folder that everybody may enter and write to. */
function openFolder(t: ExecutionContext<unknown>): string {
  const folder = mkdtempSync(join(tmpdir(), 'busbar-spec-'));
  chmodSync(folder, 0o777);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Whether every directory down to `path` may be entered by anybody. */
function isOpen(path: string): boolean {
  const mode = statSync(path).mode;
  return (mode & 0o001) !== 0 && (path === dirname(path) || isOpen(dirname(path)));
}
