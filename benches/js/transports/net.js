// @ts-check
/**
 * Peer: node:net over a unix domain socket, messages kept apart by a length prefix. With
 * `write: 'each'` every message is a write of its own, as most programs do it; with
 * `write: 'batched'` small ones are gathered by hand into blocks of 64 KiB. The parser is
 * incremental and hands out messages in place wherever they arrived whole.
 */
import { once } from 'node:events';
import { connect as connectSocket, createServer } from 'node:net';

import { nowNs } from '../machine.js';
import { makePayload, Tally } from '../payload.js';

/** @typedef {import('../transport.js').Setup} Setup */
/** @typedef {import('../transport.js').End} End */
/** @typedef {(bytes: Buffer, start: number, end: number) => void} OnMessage */

/**
 * @param {Setup} setup
 * @returns {Promise<import('../transport.js').Server>}
 */
export async function serve(setup) {
  const server = createServer();
  server.listen(setup.address);
  await once(server, 'listening');
  const connection = once(server, 'connection').then(([socket]) => {
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
  const socket = connectSocket(setup.address);
  await once(socket, 'connect');
  return new NetEnd(socket, setup);
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

/** Cuts a byte stream into the messages whose lengths it announces. */
class FrameReader {
  /** @type {OnMessage} */ #onMessage;
  /** @type {Buffer} the message, or prefix, that no chunk held whole */ #partial;
  /** @type {number} bytes of `#partial` that have arrived; 0 = none under way */ #have = 0;
  /** @type {number} total bytes `#partial` needs; grows from the prefix to the message */ #need = 0;

  /** @param {OnMessage} onMessage */
  constructor(onMessage) {
    this.#onMessage = onMessage;
    this.#partial = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  }

  /** @param {Buffer} chunk */
  push(chunk) {
    let at = this.#have > 0 ? this.#continue(chunk) : 0;
    while (chunk.length - at >= PREFIX_BYTES) {
      const end = at + PREFIX_BYTES + chunk.readUInt32LE(at);
      if (end > chunk.length) break;
      this.#onMessage(chunk, at + PREFIX_BYTES, end);
      at = end;
    }
    if (at < chunk.length) this.#keep(chunk, at);
  }

  /**
   * Feeds the partial message; gives where the chunk's own messages begin.
   *
   * @param {Buffer} chunk
   * @returns {number}
   */
  #continue(chunk) {
    let at = 0;
    while (at < chunk.length) {
      const end = Math.min(chunk.length, at + this.#need - this.#have);
      this.#have += chunk.copy(this.#partial, this.#have, at, end);
      at = end;
      if (this.#have < this.#need) return at;
      if (this.#need === PREFIX_BYTES) {
        this.#grow(PREFIX_BYTES + this.#partial.readUInt32LE(0));
        continue;
      }
      const length = this.#need;
      this.#have = 0;
      this.#onMessage(this.#partial, PREFIX_BYTES, length);
      return at;
    }
    return at;
  }

  /**
   * @param {Buffer} chunk
   * @param {number} at
   */
  #keep(chunk, at) {
    const known = chunk.length - at >= PREFIX_BYTES;
    this.#grow(known ? PREFIX_BYTES + chunk.readUInt32LE(at) : PREFIX_BYTES);
    this.#have = chunk.copy(this.#partial, 0, at);
  }

  /** @param {number} need */
  #grow(need) {
    this.#need = need;
    if (need <= this.#partial.length) return;
    const larger = Buffer.allocUnsafeSlow(need);
    this.#partial.copy(larger, 0, 0, this.#have);
    this.#partial = larger;
  }
}

/** Gathers small messages into blocks; a block is reused once the socket has taken it. */
class BatchWriter {
  /** @type {import('node:net').Socket} */ #socket;
  /** @type {Buffer[]} */ #free = [];
  /** @type {Buffer} */ #block;
  /** @type {number} */ #used = 0;

  /** @param {import('node:net').Socket} socket */
  constructor(socket) {
    this.#socket = socket;
    this.#block = this.#next();
  }

  /**
   * @param {Buffer} payload
   * @returns {boolean} false when the socket asks to wait for 'drain'
   */
  write(payload) {
    const length = PREFIX_BYTES + payload.length;
    if (length > BLOCK_BYTES) {
      this.flush();
      return writeMessage(this.#socket, payload);
    }
    const taken = this.#used + length <= BLOCK_BYTES || this.flush();
    this.#block.writeUInt32LE(payload.length, this.#used);
    this.#block.set(payload, this.#used + PREFIX_BYTES);
    this.#used += length;
    return taken;
  }

  /** @returns {boolean} */
  flush() {
    if (this.#used === 0) return true;
    const block = this.#block;
    const taken = this.#socket.write(block.subarray(0, this.#used), () => this.#free.push(block));
    this.#block = this.#next();
    this.#used = 0;
    return taken;
  }

  #next() {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
  }
}

/**
 * One message, one write: a small one is copied behind its prefix, a large one goes out with it
 * in one gathered write.
 *
 * @param {import('node:net').Socket} socket
 * @param {Buffer} payload
 * @returns {boolean} false when the socket asks to wait for 'drain'
 */
function writeMessage(socket, payload) {
  if (payload.length <= COPY_BYTES_MAX) {
    const frame = Buffer.allocUnsafe(PREFIX_BYTES + payload.length);
    frame.writeUInt32LE(payload.length, 0);
    frame.set(payload, PREFIX_BYTES);
    return socket.write(frame);
  }
  const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  prefix.writeUInt32LE(payload.length, 0);
  socket.cork();
  socket.write(prefix);
  const taken = socket.write(payload);
  socket.uncork();
  return taken;
}

function unexpected() {
  throw new Error('a message arrived while none was expected');
}

const PREFIX_BYTES = 4;
const BLOCK_BYTES = 64 * 1024;
const COPY_BYTES_MAX = 4096;
const ACK = Buffer.from([6]);
