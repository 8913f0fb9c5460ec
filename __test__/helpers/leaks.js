/** What a process holds: descriptors, shared mappings, threads, files. For tests and fixtures. */

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** @typedef {{ fds: number, mappings: number, threads: number, files: string[] }} Holdings */

/** @returns {Holdings} What this process holds now, and what lies around for all. */
export function holdings() {
  return { fds: fds(), mappings: mappings(), threads: threads(), files: files() };
}

const COUNTS = /** @type {const} */ (['fds', 'mappings', 'threads']);

/** Open descriptors. */
export function fds() {
  return readdirSync('/proc/self/fd').length;
}

/** Mappings of segments, own and received. */
export function mappings() {
  return readFileSync('/proc/self/maps', 'utf8').split('memfd:busbar').length - 1;
}

/** Threads of this process. */
export function threads() {
  return readdirSync('/proc/self/task').length;
}

/**
 * Threads of this process with this name.
 *
 * @param {string} name
 * @returns {string[]} Their numbers.
 */
export function threadsNamed(name) {
  const of = (/** @type {string} */ thread) => `/proc/self/task/${thread}/comm`;
  return readdirSync('/proc/self/task').filter((thread) => {
    return existsSync(of(thread)) && readFileSync(of(thread), 'utf8').trim() === name;
  });
}

/** Names in /dev/shm. */
export function files() {
  return existsSync('/dev/shm') ? readdirSync('/dev/shm').sort() : [];
}

/**
 * Waits until the process holds no more than it did; what is released by other threads or the
 * garbage collector takes a moment. Returns what is held in the end.
 *
 * @param {Holdings} before
 * @returns {Promise<Holdings>}
 */
export async function settled(before, deadlineMs = 10_000) {
  const until = Date.now() + deadlineMs;
  for (;;) {
    const now = holdings();
    const holdsMore = COUNTS.some((what) => now[what] > before[what]);
    if (!holdsMore || Date.now() > until) return now;
    globalThis.gc?.();
    await sleep(20);
  }
}
