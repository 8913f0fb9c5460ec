// @ts-check
/**
 * The round of a contender that is counted and not timed: allocations, copies and the heap by what
 * its processes say (tally.js), system calls by looking at them from outside (syscalls.js).
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Pair } from '../pair.js';
import { chooseTracer, countSyscalls } from './syscalls.js';

/**
 * @typedef {object} Tools what there is here to count with
 * @property {string | null} tally the library to be preloaded
 * @property {import('./syscalls.js').Tracer | null} tracer
 */

/**
 * @typedef {object} PerMessage both ends together; null is what nobody counts here
 * @property {number | null} allocsPerMsg by the native code of the library under test
 * @property {number | null} copiesPerMsg of payload, in memory of the processes
 * @property {number | null} syscallsPerMsg
 * @property {import('./syscalls.js').Tracer | null} syscallsBy
 * @property {number | null} heapBytesPerMsg from the heap of JavaScript
 */

/** Nothing was counted. @type {PerMessage} */
export const UNCOUNTED = {
  allocsPerMsg: null,
  copiesPerMsg: null,
  syscallsPerMsg: null,
  syscallsBy: null,
  heapBytesPerMsg: null,
};

/**
 * @param {string} folder where the C compiler's output goes
 * @returns {Tools}
 */
export function findTools(folder) {
  if (process.platform !== 'linux') return { tally: null, tracer: null };
  return { tally: compileTally(folder), tracer: chooseTracer() };
}

/**
 * @param {string} folder
 * @returns {string | null} null where there is no C compiler, or another C library than glibc
 */
function compileTally(folder) {
  mkdirSync(folder, { recursive: true });
  const output = join(folder, 'tally.so');
  const strict = ['-O2', '-fno-builtin', '-shared', '-fPIC', '-Wl,-z,defs'];
  try {
    const compiler = process.env['CC'] ?? 'cc';
    execFileSync(compiler, [...strict, TALLY_SOURCE, '-o', output], { stdio: 'ignore' });
    // What cannot be preloaded would end every child.
    execFileSync(process.execPath, ['-e', ''], { env: { LD_PRELOAD: output }, stdio: 'ignore' });
    return output;
  } catch {
    return null;
  }
}

/**
 * @param {import('../cases.js').Case} spec
 * @param {import('../cases.js').Contender} contender
 * @param {number[] | null} cpus
 * @param {{ timeoutMs: number }} settings
 * @param {Tools} tools
 * @returns {Promise<PerMessage>}
 */
export async function countRound(spec, contender, cpus, { timeoutMs }, { tally, tracer }) {
  const counting = { tally };
  const pair = await Pair.open(spec, contender, { cpus, timeoutMs, profileDir: null, counting });
  try {
    const n = messages(spec);
    // The code is compiled and the memory touched.
    for (let i = 0; i < 3; i++) await pair.run(n);
    const counted = sums(spec, n, await pair.run(n));
    const syscalls = tracer === null ? null : await callsPerMessage(tracer, pair, n);
    await pair.close();
    return { ...counted, syscallsPerMsg: syscalls, syscallsBy: tracer };
  } catch (error) {
    await pair.abandon();
    throw error;
  }
}

/**
 * What a job costs but for its messages, such as the orders to begin and to report, is in a job of
 * a few messages too.
 *
 * @param {import('./syscalls.js').Tracer} tracer
 * @param {Pair} pair
 * @param {number} n
 */
async function callsPerMessage(tracer, pair, n) {
  const few = await countSyscalls(tracer, pair.pids, () => pair.run(FEW));
  const many = await countSyscalls(tracer, pair.pids, () => pair.run(FEW + n));
  return precise(Math.max(0, many - few) / n);
}

/**
 * @param {import('../cases.js').Case} spec
 * @param {number} n
 * @param {Record<'server' | 'client', import('../end.js').JobReport>} reports
 */
function sums({ size, topology }, n, { server, client }) {
  const sum = (/** @type {keyof import('./tally.js').Counts} */ what, isShared = false) => {
    const counts = [server, ...(isShared ? [] : [client])].map((it) => it.counts?.[what] ?? null);
    if (counts.includes(null)) return null;
    return /** @type {number[]} */ (counts).reduce((all, count) => all + count, 0);
  };
  const isOneProcess = topology !== 'processes';
  return {
    allocsPerMsg: each(sum('allocations', isOneProcess), n),
    copiesPerMsg: each(sum('copiedBytes', isOneProcess), n * size),
    heapBytesPerMsg: each(sum('heapBytes', topology === 'thread'), n),
  };
}

/**
 * @param {number | null} count
 * @param {number} n
 */
function each(count, n) {
  return count === null ? null : precise(Math.max(0, count) / n);
}

/** @param {number} value */
function precise(value) {
  return Number(value.toPrecision(3));
}

/**
 * So many that what happens once in a while is a small part, and so few that a tracer which stops
 * the processes has soon done.
 *
 * @param {import('../cases.js').Case} spec
 */
function messages({ kind, size }) {
  const most = { latency: 5_000, throughput: 50_000, handover: 1_000 }[kind];
  return Math.max(16, Math.min(most, Math.floor(BYTES_MAX / size)));
}

const FEW = 2;
const BYTES_MAX = 256 << 20;
const TALLY_SOURCE = fileURLToPath(new URL('tally.c', import.meta.url));
