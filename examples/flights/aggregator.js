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
import { replyCodec, requestCodec } from './messages.js';

/** @typedef {import('busbar').TypedBatch<Request>} RequestBatch */
/** @typedef {import('busbar').TypedPipe<Reply>} Replies */
/** @typedef {import('./messages.js').Reply} Reply */
/** @typedef {import('./messages.js').Request} Request */

/** What the aggregator knows, and how it takes in one batch of messages. */
class Session {
  #replies;
  #aggregator = new FlightAggregator();
  #ended = false;

  /** @param {Replies} replies */
  constructor(replies) {
    this.#replies = replies;
  }

  /** Whether the end of the stream has been seen and answered. */
  get ended() {
    return this.#ended;
  }

  /** @param {RequestBatch} batch */
  handleBatch(batch) {
    for (let i = 0; i < batch.length; i += 1) {
      // A cursor, moved from message to message: nothing is made for a flight.
      const request = batch.view(i);
      if (request.kind === 'Flight') this.#aggregator.add(request.value);
      else this.#answer(this.#reply(request));
    }
  }

  /**
   * @param {Exclude<import('busbar').RootView<Request>, { kind: 'Flight' }>} request
   * @returns {Reply}
   */
  #reply(request) {
    switch (request.kind) {
      case 'Ping':
        return {
          kind: 'Pong',
          value: { sent: request.value.sent, received: process.hrtime.bigint() },
        };
      case 'Mark':
        return { kind: 'Ack', value: { flights: this.#aggregator.flights } };
      case 'End':
        this.#ended = true;
        return { kind: 'Result', value: { aggregate: this.#aggregator.result() } };
    }
  }

  /**
   * The parent waits for each answer before it asks again, so there is always room for one.
   *
   * @param {Reply} reply
   */
  #answer(reply) {
    if (!this.#replies.trySend(reply)) throw new Error('an idle pipe had no room for an answer');
    this.#replies.pipe.flush();
  }
}

/**
 * @param {string} address
 * @param {import('./options.js').WaitMode} wait
 */
async function main(address, wait) {
  const pipe = await dial(address, { wait });
  try {
    const session = new Session(pipe.typed(replyCodec));
    await pipe.typed(requestCodec).consume((batch) => session.handleBatch(batch));
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
