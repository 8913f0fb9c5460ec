// @ts-check
/**
 * What isolates native code without a library: a process of one's own, spoken to over pipes, that
 * is killed and spawned again. A call is the way from the signal to the first answer of the next.
 */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const SELF = fileURLToPath(import.meta.url);

if (process.argv[1] === SELF) {
  const { nothing } = createRequire(SELF)(process.argv[2] ?? '');
  process.on('message', () => {
    nothing();
    process.send?.(0);
  });
  process.on('disconnect', () => process.exit(0));
}

/** @param {import('../caller.js').Setup} setup */
export async function open({ built, form }) {
  const start = form === 'node' ? () => startNode(built.addon) : () => startProgram(built.program);
  let running = await start();
  return {
    none: async () => {
      running.kill('SIGKILL');
      running = await start();
    },
  };
}

/** @param {string} addon */
async function startNode(addon) {
  const child = fork(SELF, [addon], { stdio: ['ignore', 2, 2, 'ipc'] });
  child.send(0);
  await once(child, 'message');
  return child;
}

/** @param {string} program */
async function startProgram(program) {
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {});
  child.stdin.write('x');
  await once(child.stdout, 'data');
  return child;
}
