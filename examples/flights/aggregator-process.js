// @ts-check
/**
 * The aggregator as its parent sees it: started, watched, and never left behind.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export class AggregatorProcess {
  #child;
  /** How it ended, as half a sentence; never rejects. @type {Promise<string>} */
  #ended;

  /**
   * @param {string} address where it shall dial
   * @param {string} wait
   */
  constructor(address, wait) {
    this.#child = spawn(process.execPath, [PROGRAM, address, wait], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    this.#ended = once(this.#child, 'exit').then(
      ([code, signal]) => (signal ? `was killed by ${signal}` : `exited with code ${code}`),
      (error) => `did not start: ${error.message}`,
    );
  }

  get pid() {
    return this.#child.pid;
  }

  /**
   * Rejects when the process ends; never resolves. To be raced against work that needs it alive.
   *
   * @returns {Promise<never>}
   */
  async died() {
    throw new Error(`the aggregator ${await this.#ended} before it was done`);
  }

  /**
   * Waits for the process to end by itself.
   *
   * @param {number} timeoutMs
   * @returns {Promise<string | undefined>} how it ended; undefined if it still runs
   */
  async waitForEnd(timeoutMs) {
    const timer = new AbortController();
    const late = delay(timeoutMs, undefined, { signal: timer.signal }).catch(() => undefined);
    try {
      return await Promise.race([this.#ended, late]);
    } finally {
      timer.abort();
    }
  }

  /**
   * Rejects unless the process ends by itself, in time and with exit code 0.
   *
   * @param {number} timeoutMs
   */
  async expectSuccess(timeoutMs) {
    const end = await this.waitForEnd(timeoutMs);
    if (end === undefined) throw new Error(`the aggregator runs on ${timeoutMs} ms after the end`);
    if (this.#child.exitCode !== 0) throw new Error(`the aggregator ${end} after its work`);
  }

  /** Ends the process if it has not ended. */
  async kill() {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

const PROGRAM = fileURLToPath(new URL('aggregator.js', import.meta.url));
