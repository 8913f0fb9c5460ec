// @ts-check
/**
 * Length-prefixed messages on a byte stream, as fast as JavaScript does it by hand: an incremental
 * reader that hands out messages in place wherever they arrived whole, a writer of one message a
 * write, and one that gathers small messages into blocks of 64 KiB.
 */

/** @typedef {(bytes: Buffer, start: number, end: number) => void} OnMessage */

/** Cuts a byte stream into the messages whose lengths it announces. */
export class FrameReader {
  /** @type {OnMessage} */ #onMessage;
  /** @type {Buffer} the message, or prefix, that no chunk held whole */ #partial;
  /** @type {number} bytes of `#partial` that have arrived; 0 = none under way */ #have = 0;
  /** @type {number} bytes `#partial` waits for: first the prefix, then all */ #need = 0;

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
export class BatchWriter {
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
export function writeMessage(socket, payload) {
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

const PREFIX_BYTES = 4;
const BLOCK_BYTES = 64 * 1024;
const COPY_BYTES_MAX = 4096;
