// @ts-check
/**
 * Counts the system calls of processes while they do something: by `perf`, whose count costs them
 * next to nothing, or else by `strace`, which stops them at each call.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** @typedef {'perf' | 'strace'} Tracer */

/**
 * @returns {Tracer | null} what works here; perf needs the right to see the kernel's events
 */
export function chooseTracer() {
  const perf = spawnSync('perf', ['stat', ...EVENT, '--', 'true'], { encoding: 'utf8' });
  if (perf.status === 0 && /^[1-9]\d*,/m.test(perf.stderr)) return 'perf';
  return spawnSync('strace', ['-c', 'true'], { stdio: 'ignore' }).status === 0 ? 'strace' : null;
}

/**
 * @param {Tracer} tracer
 * @param {readonly number[]} pids
 * @param {() => Promise<unknown>} work what they are to do
 * @returns {Promise<number>} calls by all their threads
 */
export function countSyscalls(tracer, pids, work) {
  return tracer === 'perf' ? byPerf(pids, work) : byStrace(pids, work);
}

/**
 * @param {readonly number[]} pids
 * @param {() => Promise<unknown>} work
 */
async function byPerf(pids, work) {
  // It starts with nothing enabled, and is told to begin and end over two more descriptors.
  const args = ['stat', ...EVENT, '-D', '-1', '--control', 'fd:3,4', '-p', pids.join()];
  const stdio = /** @type {const} */ (['ignore', 'ignore', 'pipe', 'pipe', 'pipe']);
  const perf = spawn('perf', args, { stdio: [...stdio] });
  const ended = once(perf, 'close');
  const [, , errors, orders, answers] = /** @type {import('node:stream').Duplex[]} */ (
    /** @type {unknown} */ (perf.stdio)
  );
  if (!errors || !orders || !answers) throw new Error('perf was not started');
  const said = text(errors);
  const lines = createInterface({ input: answers });
  const tell = async (/** @type {string} */ order) => {
    orders.write(`${order}\n`);
    await Promise.race([once(lines, 'line'), ended.then(() => fail('perf', said()))]);
  };
  try {
    await tell('enable');
    await work();
    await tell('disable');
  } finally {
    perf.kill('SIGINT');
  }
  await ended;
  return Number(/^(\d+),/m.exec(said())?.[1] ?? fail('perf', said()));
}

/**
 * @param {readonly number[]} pids
 * @param {() => Promise<unknown>} work
 */
async function byStrace(pids, work) {
  const args = ['-f', '-c', ...pids.flatMap((pid) => ['-p', String(pid)])];
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(strace, 'close');
  const said = text(strace.stderr);
  try {
    await new Promise((resolve, reject) => {
      let attached = 0;
      createInterface({ input: strace.stderr }).on('line', (line) => {
        if (line.includes(' attached') && ++attached === pids.length) resolve(undefined);
      });
      ended.then(() => fail('strace', said())).catch(reject);
    });
    await work();
  } finally {
    strace.kill('SIGINT');
  }
  await ended;
  // `100.00    0.087774           5     14670        12 total`; no table at all = no calls.
  return Number(/^\s*\S+\s+\S+\s+\S+\s+(\d+)\s.*total$/m.exec(said())?.[1] ?? 0);
}

/**
 * @param {import('node:stream').Readable} stream
 * @returns {() => string} what came so far
 */
function text(stream) {
  let all = '';
  stream.setEncoding('utf8').on('data', (part) => (all += part));
  return () => all;
}

/**
 * @param {string} tool
 * @param {string} said
 * @returns {never}
 */
function fail(tool, said) {
  throw new Error(`${tool} counted nothing: ${said.trim()}`);
}

const EVENT = ['-x,', '-e', 'raw_syscalls:sys_enter'];
