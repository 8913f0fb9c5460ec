// @ts-check
/**
 * Peer: zeromq.js 6, as its guide uses it: awaited `send`, awaited `receive`. Push/Pull for one
 * way, Pair for round trips and hand-over; ipc and tcp between processes, inproc on one thread.
 */
import { Pair, Pull, Push } from 'zeromq';

import { nowNs } from '../machine.js';
import { makePayload, Tally } from '../payload.js';

/** @typedef {import('../transport.js').Setup} Setup */
/** @typedef {import('../transport.js').End} End */

/**
 * @param {Setup} setup
 * @returns {Promise<import('../transport.js').Server>}
 */
export async function serve(setup) {
  const socket = setup.kind === 'throughput' ? new Pull({ linger: 0 }) : new Pair({ linger: 0 });
  await socket.bind(url(setup));
  const end = new ZeromqEnd(socket, setup);
  return { accepted: async () => end };
}

/**
 * @param {Setup} setup
 * @returns {Promise<End>}
 */
export async function connect(setup) {
  const socket = setup.kind === 'throughput' ? new Push({ linger: 0 }) : new Pair({ linger: 0 });
  socket.connect(url(setup));
  return new ZeromqEnd(socket, setup);
}

/** @implements {End} */
class ZeromqEnd {
  /** @type {Push | Pull | Pair} */ #socket;
  /** @type {Buffer} */ #payload;

  /**
   * @param {Push | Pull | Pair} socket
   * @param {Setup} setup
   */
  constructor(socket, setup) {
    this.#socket = socket;
    this.#payload = makePayload(setup.size);
  }

  /** @param {number} n */
  async echo(n) {
    const socket = this.#pair;
    for (let i = 0; i < n; i++) {
      const message = single(await socket.receive());
      await socket.send(message);
    }
  }

  /**
   * @param {number} n
   * @param {Float64Array} samples
   */
  async ping(n, samples) {
    const socket = this.#pair;
    const tally = new Tally(n, this.#payload);
    for (let i = 0; i < n; i++) {
      const sentAt = performance.now();
      await socket.send(this.#payload);
      const message = single(await socket.receive());
      samples[i] = (performance.now() - sentAt) * 1e6;
      tally.add(message, 0, message.length);
    }
  }

  /** @param {number} n */
  async sink(n) {
    const socket = /** @type {Pull} */ (this.#socket);
    const tally = new Tally(n, this.#payload);
    while (!tally.done) {
      const message = single(await socket.receive());
      tally.add(message, 0, message.length);
    }
  }

  /** @param {number} n */
  async pump(n) {
    const socket = /** @type {Push} */ (this.#socket);
    for (let i = 0; i < n; i++) await socket.send(this.#payload);
  }

  /**
   * @param {number} n
   * @param {Float64Array} samples
   */
  async take(n, samples) {
    const socket = this.#pair;
    for (let i = 0; i < n; i++) {
      const message = single(await socket.receive());
      samples[i] = nowNs() - message.readDoubleLE(0);
      await socket.send(ACK);
    }
  }

  /** @param {number} n */
  async offer(n) {
    const socket = this.#pair;
    for (let i = 0; i < n; i++) {
      this.#payload.writeDoubleLE(nowNs(), 0);
      await socket.send(this.#payload);
      await socket.receive();
    }
  }

  counters() {
    return null;
  }

  async close() {
    this.#socket.close();
  }

  get #pair() {
    return /** @type {Pair} */ (this.#socket);
  }
}

/**
 * @param {Setup} setup
 * @returns {string}
 */
function url(setup) {
  return `${setup.transport}://${setup.address}`;
}

/**
 * @param {readonly Buffer[]} frames
 * @returns {Buffer}
 */
function single(frames) {
  const [message] = frames;
  if (message === undefined || frames.length > 1) throw new Error(`${frames.length} frames, not 1`);
  return message;
}

const ACK = Buffer.from([6]);
