// @ts-check
/**
 * Where code runs: which cores this process may use, which one a thread is on right now, and how
 * to pin a process or a thread to one. Linux only; elsewhere everything answers "unknown" and the
 * results say that they are unpinned.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { cpus } from 'node:os';

/**
 * The part of a result line that says where it was measured.
 *
 * @returns {{ node: string, platform: string, cpuModel: string, cores: number }}
 */
export function describeMachine() {
  const all = cpus();
  return {
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    cpuModel: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
  };
}

/**
 * Numbers of the cores that this process may run on, lowest first.
 *
 * @returns {number[]}
 */
export function allowedCpus() {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readOr('/proc/self/status', ''))?.[1];
  if (list === undefined) return cpus().map((_, index) => index);
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/**
 * The core that the calling thread last ran on, or null where the system does not say.
 *
 * @returns {number | null}
 */
export function currentCpu() {
  const stat = readOr('/proc/thread-self/stat', '');
  // The command name (field 2) may hold blanks and parentheses; fields are counted from behind it.
  const cpu = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[PROCESSOR_FIELD - 3];
  return cpu === undefined ? null : Number(cpu);
}

/**
 * Whether `taskset` (util-linux) is there to pin with.
 *
 * @returns {boolean}
 */
export function canPin() {
  if (process.platform !== 'linux') return false;
  try {
    execFileSync('taskset', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * The program and arguments that start Node on one core.
 *
 * @param {number | null} cpu null to leave the choice to the scheduler
 * @returns {{ execPath: string, execArgv: string[] }}
 */
export function nodeOn(cpu) {
  if (cpu === null) return { execPath: process.execPath, execArgv: [] };
  return { execPath: 'taskset', execArgv: ['-c', String(cpu), process.execPath] };
}

/**
 * Moves the calling thread, and no other, to a core.
 *
 * @param {number} cpu
 */
export function pinThisThread(cpu) {
  pinThread(readlinkSync('/proc/thread-self').split('/').at(-1) ?? '', cpu);
}

/**
 * Moves a thread of this process to a core.
 *
 * @param {string} tid
 * @param {number} cpu
 */
export function pinThread(tid, cpu) {
  execFileSync('taskset', ['-pc', String(cpu), tid], { stdio: 'ignore' });
}

/** @returns {string[]} the threads of this process; none where the system does not list them */
export function threads() {
  try {
    return readdirSync('/proc/self/task');
  } catch {
    return [];
  }
}

/**
 * Monotonic time in nanoseconds; on one machine all processes read the same clock.
 *
 * @returns {number}
 */
export function nowNs() {
  return Number(process.hrtime.bigint());
}

/**
 * @param {string} path
 * @param {string} fallback
 * @returns {string}
 */
function readOr(path, fallback) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return fallback;
  }
}

/** proc_pid_stat(5): `processor`, "CPU number last executed on". */
const PROCESSOR_FIELD = 39;
