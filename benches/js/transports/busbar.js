// @ts-check
/**
 * Busbar itself, through its public API only: every grade of receiving (awaited messages, owned
 * batches, borrowed views, offsets read in place, loans) and every form of sending.
 *
 * It is imported by path: what is measured is this checkout, never a copy that was installed.
 */
import { dial, listen } from '../../../index.js';

import { nowNs } from '../machine.js';
import { makePayload, Tally } from '../payload.js';

/** @typedef {import('../transport.js').Setup} Setup */
/** @typedef {import('../transport.js').End} End */
/** @typedef {import('../../../index.js').Pipe} Pipe */
/** @typedef {import('../../../index.js').Batch} Batch */
/** @typedef {(bytes: Uint8Array, start: number, end: number) => void} OnMessage */

/**
 * @param {Setup} setup
 * @returns {Promise<import('../transport.js').Server>}
 */
export async function serve(setup) {
  const listener = await listen(url(setup), options(setup));
  const accepted = async () => {
    const pipe = await listener.accept();
    await listener.close();
    return new BusbarEnd(pipe, setup);
  };
  return { accepted };
}

/**
 * @param {Setup} setup
 * @returns {Promise<End>}
 */
export async function connect(setup) {
  return new BusbarEnd(await dial(url(setup), options(setup)), setup);
}

/** @implements {End} */
class BusbarEnd {
  /** @type {Pipe} */ #pipe;
  /** @type {string} */ #receive;
  /** @type {string} */ #send;
  /** @type {Buffer} */ #payload;
  /** @type {OnMessage} */ #onMessage = unexpected;
  /** Whether messages are given out as views of their own. */ #wantsViews = false;
  /** @type {Promise<void> | null} resolves when the pipe closes */ #consuming = null;

  /**
   * @param {Pipe} pipe
   * @param {Setup} setup
   */
  constructor(pipe, setup) {
    this.#pipe = pipe;
    this.#receive = setup.options['receive'] ?? 'next';
    this.#send = setup.options['send'] ?? 'try';
    this.#payload = makePayload(setup.size);
  }

  /** @param {number} n */
  async echo(n) {
    if (this.#receive === 'cursor') {
      let left = n;
      this.#wantsViews = true;
      return this.#until((view) => {
        this.#post(view);
        return --left === 0;
      });
    }
    for (let i = 0; i < n; i++) this.#post(await this.#pipe.receive());
  }

  /**
   * @param {number} n
   * @param {Float64Array} samples
   */
  async ping(n, samples) {
    const tally = new Tally(n, this.#payload);
    if (this.#receive === 'cursor') return this.#pingInCallback(tally, samples);
    // One look at the clock a round: a second one would be a good part of what is measured.
    let sentAt = performance.now();
    for (let i = 0; i < n; i++) {
      this.#post(this.#payload);
      const message = await this.#pipe.receive();
      const now = performance.now();
      samples[i] = (now - sentAt) * 1e6;
      sentAt = now;
      tally.add(message, 0, message.length);
    }
  }

  /** @param {number} n */
  async sink(n) {
    const tally = new Tally(n, this.#payload);
    if (this.#receive !== 'owned') {
      return this.#until((bytes, start, end) => {
        tally.add(bytes, start, end);
        return tally.done;
      });
    }
    for await (const messages of this.#pipe.batches()) {
      for (const message of messages) tally.add(message, 0, message.length);
      if (tally.done) return;
    }
  }

  /** @param {number} n */
  async pump(n) {
    switch (this.#send) {
      case 'send':
        await this.#pumpSend(n);
        break;
      case 'batch':
        await this.#pumpBatch(n);
        break;
      case 'reserve':
        await this.#pumpReserve(n);
        break;
      default:
        await this.#pumpTry(n);
    }
    this.#pipe.flush();
  }

  /**
   * @param {number} n
   * @param {Float64Array} samples
   */
  async take(n, samples) {
    for (let i = 0; i < n; i++) {
      if (this.#receive === 'loan') {
        const loan = await this.#pipe.borrow();
        samples[i] = nowNs() - stampOf(loan.bytes);
        loan.release();
      } else {
        const message = await this.#pipe.receive();
        samples[i] = nowNs() - stampOf(message);
      }
      this.#post(ACK);
    }
  }

  /** @param {number} n */
  async offer(n) {
    const { length } = this.#payload;
    for (let i = 0; i < n; i++) {
      if (this.#send === 'reserve') {
        const reservation = this.#pipe.reserve(length);
        stamp(reservation.bytes);
        if (!reservation.tryCommit()) await reservation.commit();
        this.#pipe.flush();
      } else {
        stamp(this.#payload);
        this.#post(this.#payload);
      }
      await this.#pipe.receive();
    }
  }

  counters() {
    const { parks, bells, wakes } = this.#pipe.stats();
    return { parks, bells, wakes };
  }

  async close() {
    await this.#pipe.close();
    await this.#consuming;
  }

  /**
   * Round trips without a promise: each answer sends the next question.
   *
   * @param {Tally} tally
   * @param {Float64Array} samples
   */
  #pingInCallback(tally, samples) {
    let sentAt = performance.now();
    let index = 0;
    const done = this.#until((bytes, start, end) => {
      const now = performance.now();
      samples[index++] = (now - sentAt) * 1e6;
      sentAt = now;
      tally.add(bytes, start, end);
      if (!tally.done) this.#post(this.#payload);
      return tally.done;
    });
    this.#post(this.#payload);
    return done;
  }

  /** @param {number} n */
  async #pumpSend(n) {
    let last = Promise.resolve();
    for (let i = 0; i < n; i++) {
      last = this.#pipe.send(this.#payload);
      // A send that has to wait holds its message, so a loop must not run ahead without bound.
      if (i % SENDS_AHEAD === 0) await last;
    }
    await last;
  }

  /** @param {number} n */
  async #pumpTry(n) {
    for (let i = 0; i < n; i++) {
      if (!this.#pipe.trySend(this.#payload)) await this.#pipe.send(this.#payload);
    }
  }

  /** @param {number} n */
  async #pumpBatch(n) {
    const most = Math.max(1, Math.min(1024, Math.floor(BATCH_BYTES / this.#payload.length)));
    const messages = Array.from({ length: most }, () => this.#payload);
    let left = n;
    for (; left >= most; left -= most) await this.#pipe.sendBatch(messages);
    await this.#pipe.sendBatch(messages.slice(0, left));
  }

  /** @param {number} n */
  async #pumpReserve(n) {
    for (let i = 0; i < n; i++) {
      const reservation = this.#pipe.reserve(this.#payload.length);
      reservation.bytes.set(this.#payload);
      if (!reservation.tryCommit()) await reservation.commit();
    }
  }

  /**
   * Sends one message now. With one message under way there is always room.
   *
   * @param {Uint8Array} message
   */
  #post(message) {
    if (!this.#pipe.trySend(message)) throw new Error('no room for a single message');
    this.#pipe.flush();
  }

  /**
   * Gives messages to `step` until it returns true.
   *
   * @param {(bytes: Uint8Array, start: number, end: number) => boolean} step
   * @returns {Promise<void>}
   */
  #until(step) {
    return new Promise((resolve, reject) => {
      this.#onMessage = (bytes, start, end) => {
        if (!step(bytes, start, end)) return;
        this.#onMessage = unexpected;
        resolve();
      };
      const consuming = (this.#consuming ??= this.#consume());
      consuming.catch(reject);
    });
  }

  /** One consume for the life of the pipe; jobs come and go in `#onMessage`. */
  #consume() {
    return this.#pipe.consume(
      this.#receive === 'borrowed' || this.#wantsViews
        ? (batch) => {
            for (let i = 0; i < batch.length; i++) {
              const view = batch.at(i);
              this.#onMessage(view, 0, view.length);
            }
          }
        : (batch) => {
            const { bytes, length } = batch;
            for (let i = 0; i < length; i++) {
              const start = batch.offset(i);
              if (start < 0) throw new Error('the cursor grade reads inline messages only');
              this.#onMessage(bytes, start, start + batch.size(i));
            }
          },
    );
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
 * @param {Setup} setup
 * @returns {import('../../../index.js').DialOptions & import('../../../index.js').ListenOptions}
 */
function options(setup) {
  const wait = setup.options['wait'] ?? 'balanced';
  // Room for two of the largest messages, so that one can be filled while another is read.
  const slabBytes = Math.max(16 << 20, setup.size * 4);
  return {
    wait: /** @type {'park' | 'balanced' | 'low-latency' | 'busy'} */ (wait),
    slabBytes,
    ...(setup.secrets !== null && { tls: { ...setup.secrets, ca: setup.secrets.cert } }),
  };
}

/** @param {Uint8Array} bytes */
function stamp(bytes) {
  new DataView(bytes.buffer, bytes.byteOffset).setFloat64(0, nowNs(), true);
}

/**
 * @param {Uint8Array} bytes
 * @returns {number}
 */
function stampOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true);
}

function unexpected() {
  throw new Error('a message arrived while none was expected');
}

const ACK = Buffer.from([6]);
const SENDS_AHEAD = 256;
const BATCH_BYTES = 256 * 1024;
