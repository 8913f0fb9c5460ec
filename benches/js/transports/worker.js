// @ts-check
/**
 * Peer: postMessage over a MessageChannel, between two threads or on one. Messages are cloned, as
 * anybody gets who does not give the sender's buffer away. postMessage never says "enough", so the
 * one-way job keeps a window of messages under way and the sink grants more.
 */
import { makePayload, Tally } from '../payload.js';

/** @typedef {import('../transport.js').Setup} Setup */
/** @typedef {import('../transport.js').End} End */

/**
 * @param {Setup} setup
 * @returns {Promise<import('../transport.js').Server>}
 */
export async function serve(setup) {
  const end = new PortEnd(setup);
  return { accepted: async () => end };
}

/**
 * @param {Setup} setup
 * @returns {Promise<End>}
 */
export async function connect(setup) {
  return new PortEnd(setup);
}

/** @implements {End} */
class PortEnd {
  /** @type {import('node:worker_threads').MessagePort} */ #port;
  /** @type {Uint8Array} */ #payload;
  /** @type {(message: Uint8Array) => void} */ #onMessage = unexpected;

  /** @param {Setup} setup */
  constructor(setup) {
    if (setup.port === undefined) throw new Error('MessageChannel needs both ends in a process');
    this.#port = setup.port;
    this.#payload = new Uint8Array(makePayload(setup.size));
    this.#port.on('message', (message) => this.#onMessage(message));
  }

  /** @param {number} n */
  echo(n) {
    let left = n;
    return this.#until((message) => {
      this.#port.postMessage(message);
      return --left === 0;
    });
  }

  /**
   * @param {number} n
   * @param {Float64Array} samples
   */
  ping(n, samples) {
    const tally = new Tally(n, this.#payload);
    let sentAt = 0;
    let index = 0;
    const fire = () => {
      sentAt = performance.now();
      this.#port.postMessage(this.#payload);
    };
    const done = this.#until((message) => {
      samples[index++] = (performance.now() - sentAt) * 1e6;
      tally.add(message, 0, message.length);
      if (!tally.done) fire();
      return tally.done;
    });
    fire();
    return done;
  }

  /** @param {number} n */
  sink(n) {
    const tally = new Tally(n, this.#payload);
    const grant = Math.max(1, window(this.#payload.length) >> 1);
    let ungranted = 0;
    return this.#until((message) => {
      tally.add(message, 0, message.length);
      if (++ungranted === grant) {
        ungranted = 0;
        this.#port.postMessage(grant);
      }
      return tally.done;
    });
  }

  /** @param {number} n */
  async pump(n) {
    let credit = window(this.#payload.length);
    let resume = () => {};
    // Grants are numbers; the last ones may arrive when the job is over.
    this.#onMessage = (grant) => {
      credit += Number(grant);
      resume();
    };
    for (let i = 0; i < n; i++) {
      while (credit === 0) await new Promise((resolve) => (resume = () => resolve(undefined)));
      credit--;
      this.#port.postMessage(this.#payload);
    }
  }

  /** @returns {Promise<void>} */
  async take() {
    throw new Error('MessageChannel has no hand-over case');
  }

  /** @returns {Promise<void>} */
  async offer() {
    throw new Error('MessageChannel has no hand-over case');
  }

  counters() {
    return null;
  }

  async close() {
    this.#port.close();
  }

  /**
   * Gives messages to `step` until it returns true.
   *
   * @param {(message: Uint8Array) => boolean} step
   * @returns {Promise<void>}
   */
  #until(step) {
    return new Promise((resolve) => {
      this.#onMessage = (message) => {
        if (!step(message)) return;
        this.#onMessage = unexpected;
        resolve();
      };
    });
  }
}

/**
 * Messages that may be under way: at most 1024, at most 8 MiB, at least 2.
 *
 * @param {number} size
 * @returns {number}
 */
function window(size) {
  return Math.max(2, Math.min(1024, Math.floor((8 << 20) / size)));
}

function unexpected() {
  throw new Error('a message arrived while none was expected');
}
