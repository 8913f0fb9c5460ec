// @ts-check
/**
 * Counts what processes do, from outside: blocks they allocate and bytes they copy (a library that
 * is preloaded into them), and system calls (strace). Each is there or not: a machine without a C
 * compiler, glibc or strace, or one that forbids tracing, has no figures.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** Blocks and bytes of all processes that have been started with its environment. */
export class Meter {
  /** @type {string} */ #file;
  /** @type {Record<string, string>} what the environment of those processes needs */ env;

  /**
   * @param {string} library
   * @param {string} file
   * @param {number} size bytes of the smallest copy that counts
   */
  constructor(library, file, size) {
    this.#file = file;
    this.env = { LD_PRELOAD: library, BUSBAR_METER: file, BUSBAR_METER_BYTES: String(size) };
    writeFileSync(file, Buffer.alloc(16));
  }

  /**
   * @param {string} folder where the library and the counters go
   * @param {number} size
   * @returns {Meter | null} null where there is no such thing
   */
  static open(folder, size) {
    const library = join(folder, 'meter.so');
    try {
      if (!existsSync(library)) compile(folder, library);
      const meter = new Meter(library, join(folder, 'meter'), size);
      execFileSync(process.execPath, ['-e', '0'], { env: { ...process.env, ...meter.env } });
      return meter.read().blocks > 0 ? meter : null;
    } catch {
      return null;
    }
  }

  /** @returns {{ blocks: number, copied: number }} */
  read() {
    const bytes = readFileSync(this.#file);
    const word = (/** @type {number} */ at) => Number(bytes.readBigUInt64LE(at));
    return { blocks: word(0), copied: word(8) };
  }
}

/**
 * Counts the system calls of processes while something is done.
 *
 * @param {readonly number[]} pids
 * @param {string} folder
 * @param {() => Promise<unknown>} work
 * @returns {Promise<number | null>} null where nobody may trace them
 */
export async function countCalls(pids, folder, work) {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'strace');
  rmSync(file, { force: true });
  const targets = pids.flatMap((pid) => ['-p', String(pid)]);
  const args = ['-f', '-c', '-o', file, ...targets];
  const tracer = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(tracer, 'exit').catch(() => []);
  const attached = (async () => {
    let left = pids.length;
    for await (const line of createInterface({ input: tracer.stderr })) {
      if (line.includes('attached') && --left === 0) return true;
    }
    return false;
  })();
  if (!(await Promise.race([attached, ended.then(() => false), setTimeout(ATTACH_MS, false)]))) {
    tracer.kill();
    return null;
  }
  await work();
  // It detaches, and says what it has counted.
  tracer.kill('SIGINT');
  await ended;
  const total = /^\s*100\.00\s+[\d.]+\s+\d+\s+(\d+)\s.*total$/m.exec(readFileSync(file, 'utf8'));
  // Without a call there is no table.
  return Number(total?.[1] ?? 0);
}

/**
 * @param {string} folder
 * @param {string} library
 */
function compile(folder, library) {
  mkdirSync(folder, { recursive: true });
  const source = fileURLToPath(new URL('native/meter.c', import.meta.url));
  // Its loops must stay loops.
  const flags = ['-O2', '-fno-builtin', '-fno-tree-loop-distribute-patterns', '-shared', '-fPIC'];
  const args = [...flags, source, '-o', library];
  execFileSync(process.env['CC'] ?? 'cc', args, { stdio: 'ignore' });
}

/** How long a tracer may take to begin. */
const ATTACH_MS = 5000;
