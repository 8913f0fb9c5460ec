// @ts-check
/**
 * The second process: dials the address it is given, aggregates every flight that arrives, answers
 * pings and marks on the way and sends the aggregate back at the end.
 *
 *     node aggregator.js ADDRESS WAIT
 *
 * Exits 0 when the stream came to its end and the other side closed the pipe; anything else is a
 * message on stderr and exit code 1. It cannot outlive its parent: the pipe closes with it.
 */

import { dial } from 'busbar';

import { FlightAggregator } from './aggregate.js';
import { encodeAck, encodePong, encodeResult } from './control.js';
import { FLIGHT_BYTES, Kind } from './record.js';

/** @typedef {import('busbar').Batch} Batch */
/** @typedef {import('busbar').Pipe} Pipe */

/** What the aggregator knows, and how it takes in one batch of messages. */
class Session {
  #pipe;
  #aggregator = new FlightAggregator();
  /** @type {DataView} */
  #view = new DataView(new ArrayBuffer(0));
  #ended = false;

  /** @param {Pipe} pipe */
  constructor(pipe) {
    this.#pipe = pipe;
  }

  /** Whether the end of the stream has been seen and answered. */
  get ended() {
    return this.#ended;
  }

  /** @param {Batch} batch */
  handleBatch(batch) {
    const view = this.#viewOf(batch.bytes);
    for (let i = 0; i < batch.length; i += 1) {
      const at = batch.offset(i);
      const size = batch.size(i);
      // A message above 1 KiB is not in `bytes`: its offset is -1. None of ours is.
      const kind = at >= 0 && size > 0 ? view.getUint8(at) : 0;
      if (kind === Kind.FLIGHT && size === FLIGHT_BYTES) this.#aggregator.add(view, at);
      else this.#handleControl(kind, view, at, size);
    }
  }

  /**
   * @param {number} kind
   * @param {DataView} view
   * @param {number} at
   * @param {number} size
   */
  #handleControl(kind, view, at, size) {
    switch (kind) {
      case Kind.PING:
        return this.#answer(encodePong(view, at));
      case Kind.MARK:
        return this.#answer(encodeAck(this.#aggregator.flights));
      case Kind.END:
        this.#ended = true;
        return this.#answer(encodeResult(this.#aggregator.result()));
      default:
        throw new Error(`a message of ${size} bytes and kind ${kind} is none of this program's`);
    }
  }

  /**
   * The parent waits for each answer before it asks again, so there is always room for one.
   *
   * @param {Uint8Array} bytes
   */
  #answer(bytes) {
    if (!this.#pipe.trySend(bytes)) throw new Error('an idle pipe had no room for an answer');
    this.#pipe.flush();
  }

  /**
   * Batches come in the same arena again and again: one DataView serves as long as it does.
   *
   * @param {Uint8Array} bytes
   */
  #viewOf(bytes) {
    const { buffer, byteOffset, byteLength } = bytes;
    const view = this.#view;
    if (
      view.buffer !== buffer ||
      view.byteOffset !== byteOffset ||
      view.byteLength !== byteLength
    ) {
      this.#view = new DataView(buffer, byteOffset, byteLength);
    }
    return this.#view;
  }
}

/**
 * @param {string} address
 * @param {import('./options.js').WaitMode} wait
 */
async function main(address, wait) {
  const pipe = await dial(address, { wait });
  try {
    const session = new Session(pipe);
    await pipe.consume((batch) => session.handleBatch(batch));
    if (!session.ended) throw new Error('the pipe was closed before the end of the stream');
  } finally {
    await pipe.close();
  }
}

const [address = '', wait = 'balanced'] = process.argv.slice(2);
try {
  await main(address, /** @type {import('./options.js').WaitMode} */ (wait));
} catch (error) {
  console.error(`flights aggregator: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
