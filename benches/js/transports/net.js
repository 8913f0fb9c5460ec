// @ts-check
/**
 * Peer: node:net over a unix domain socket or TCP, or node:tls over TCP, messages kept apart by a
 * length prefix. With `write: 'each'` every message is a write of its own, as most programs do it;
 * with `write: 'batched'` small ones are gathered by hand. Messages are read in place.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectSocket, createServer } from 'node:net';
import { connect as connectSecure, createServer as createSecureServer } from 'node:tls';

import { nowNs } from '../machine.js';
import { makePayload, Tally } from '../payload.js';
import { BatchWriter, FrameReader, writeMessage } from './framing.js';

/** @typedef {import('../transport.js').Setup} Setup */
/** @typedef {import('../transport.js').End} End */
/** @typedef {import('./framing.js').OnMessage} OnMessage */

/**
 * @param {Setup} setup
 * @returns {Promise<import('../transport.js').Server>}
 */
export async function serve(setup) {
  const { secrets } = setup;
  const server = secrets === null ? createServer() : createSecureServer(read(secrets));
  server.listen(target(setup));
  await once(server, 'listening');
  const event = secrets === null ? 'connection' : 'secureConnection';
  const connection = once(server, event).then(([socket]) => {
    // Unlinks the path and lets the process end with the connection.
    server.close();
    return new NetEnd(socket, setup);
  });
  return { accepted: () => connection };
}

/**
 * @param {Setup} setup
 * @returns {Promise<End>}
 */
export async function connect(setup) {
  const { secrets } = setup;
  if (secrets === null) {
    const socket = connectSocket(target(setup));
    await once(socket, 'connect');
    return new NetEnd(socket, setup);
  }
  const socket = connectSecure({ ...target(setup), ca: read(secrets).cert });
  await once(socket, 'secureConnect');
  return new NetEnd(socket, setup);
}

/** @param {import('../transport.js').Secrets} secrets */
function read({ cert, key }) {
  return { cert: readFileSync(cert), key: readFileSync(key) };
}

/**
 * @param {Setup} setup
 * @returns {{ path: string } | { host: string, port: number }}
 */
function target({ address, transport }) {
  if (transport === 'uds') return { path: address };
  const [host = '', port] = address.split(':');
  return { host, port: Number(port) };
}

/** @implements {End} */
class NetEnd {
  /** @type {import('node:net').Socket} */ #socket;
  /** @type {Buffer} */ #payload;
  /** @type {boolean} */ #batched;
  /** @type {OnMessage} */ #onMessage = unexpected;

  /**
   * @param {import('node:net').Socket} socket
   * @param {Setup} setup
   */
  constructor(socket, setup) {
    this.#socket = socket;
    socket.setNoDelay(true);
    this.#payload = makePayload(setup.size);
    this.#batched = setup.options.write === 'batched';
    const reader = new FrameReader((bytes, start, end) => this.#onMessage(bytes, start, end));
    socket.on('data', (chunk) => reader.push(chunk));
  }

  /** @param {number} n */
  echo(n) {
    let left = n;
    return this.#until((bytes, start, end) => {
      writeMessage(this.#socket, bytes.subarray(start, end));
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
      writeMessage(this.#socket, this.#payload);
    };
    const done = this.#until((bytes, start, end) => {
      samples[index++] = (performance.now() - sentAt) * 1e6;
      tally.add(bytes, start, end);
      if (!tally.done) fire();
      return tally.done;
    });
    fire();
    return done;
  }

  /** @param {number} n */
  sink(n) {
    const tally = new Tally(n, this.#payload);
    return this.#until((bytes, start, end) => {
      tally.add(bytes, start, end);
      return tally.done;
    });
  }

  /** @param {number} n */
  async pump(n) {
    const batch = this.#batched ? new BatchWriter(this.#socket) : null;
    for (let i = 0; i < n; i++) {
      const taken =
        batch === null ? writeMessage(this.#socket, this.#payload) : batch.write(this.#payload);
      if (!taken) await once(this.#socket, 'drain');
    }
    if (batch?.flush() === false) await once(this.#socket, 'drain');
  }

  /**
   * @param {number} n
   * @param {Float64Array} samples
   */
  take(n, samples) {
    let index = 0;
    return this.#until((bytes, start) => {
      samples[index++] = nowNs() - bytes.readDoubleLE(start);
      writeMessage(this.#socket, ACK);
      return index === n;
    });
  }

  /** @param {number} n */
  offer(n) {
    let left = n;
    const fire = () => {
      this.#payload.writeDoubleLE(nowNs(), 0);
      writeMessage(this.#socket, this.#payload);
    };
    const done = this.#until(() => {
      if (--left > 0) fire();
      return left === 0;
    });
    fire();
    return done;
  }

  counters() {
    return null;
  }

  async close() {
    if (this.#socket.destroyed) return;
    this.#socket.destroy();
    await once(this.#socket, 'close');
  }

  /**
   * Gives messages to `step` until it returns true.
   *
   * @param {(bytes: Buffer, start: number, end: number) => boolean} step
   * @returns {Promise<void>}
   */
  #until(step) {
    return new Promise((resolve, reject) => {
      this.#socket.once('error', reject);
      this.#onMessage = (bytes, start, end) => {
        if (!step(bytes, start, end)) return;
        this.#onMessage = unexpected;
        this.#socket.off('error', reject);
        resolve();
      };
    });
  }
}

function unexpected() {
  throw new Error('a message arrived while none was expected');
}

const ACK = Buffer.from([6]);
