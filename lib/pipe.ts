/** A pipe: messages in both directions, to one peer. */

import { EventEmitter } from 'node:events';
import { inspect, type InspectOptions } from 'node:util';

import type { Batch } from './batch.js';
import { invalidArgument, show, type BusbarError } from './errors.js';
import {
  channelOf,
  checkBatchesOptions,
  checkCloseOptions,
  checkCodec,
  checkConsumeOptions,
  checkMax,
  checkResolve,
  MESSAGES_MAX,
  MESSAGES_STANDARD,
} from './internal/arguments.js';
import type { PipeCore } from './internal/core.js';
import { MessageIterator } from './internal/iterator.js';
import { NAMED } from './internal/message.js';
import type { Peer } from './internal/peer.js';
import { checkNames } from './internal/checks.js';
import type { Sendable } from './internal/pending.js';
import { termsOf } from './internal/qos.js';
import { reserve } from './internal/reservation.js';
import { TRY_SEND_OPTIONS, type WaitOptions } from './internal/wait.js';
import { LOAN, MESSAGE, Messages } from './internal/waiter.js';
import type { Loan } from './loan.js';
import type { Message } from './message.js';
import type { Backpressure } from './qos.js';
import { registry, type RegisteredTypes } from './registry.js';
import type { Reservation } from './reservation.js';
import type { CloseReason, ConnectionState } from './state.js';
import type { PipeStats } from './stats.js';
import { TypedPipe, type Codec, type TypedOptions } from './typed.js';

/** Options of sending. */
export interface SendOptions extends TrySendOptions, WaitOptions {}

/** Options of sending without waiting. */
export interface TrySendOptions extends ReserveOptions {
  /** For how long the message is of use, in milliseconds; then it is dropped instead of sent. */
  readonly ttlMs?: number;
  /**
   * `false`: on a reliable pipe the message is sent outside the session, at most once, as on
   * `lossyChannels`; it does not wait for what is not acknowledged. `true`: as for its channel.
   */
  readonly reliable?: boolean;
  /** What becomes of the message if there is no room for it; as for its channel by default. */
  readonly backpressure?: Backpressure;
}

/** Options of reserving memory to write a message into. */
export interface ReserveOptions {
  /**
   * A number that goes with the message, 0–65,534; 0 by default. `consume()`, `borrow()`,
   * `messages()` and `receiveMessage()` show it, the other ways to receive do not.
   */
  readonly channel?: number;
}

/** Options of `Pipe.consume()`. */
export interface ConsumeOptions extends WaitOptions {
  /** Most messages per batch, 1–4,096. 4,096. */
  readonly max?: number;
}

/** Options of `Pipe.batches()`. */
export interface BatchesOptions extends WaitOptions {
  /** Most messages per batch, 1–65,536. 1,024. */
  readonly max?: number;
}

/** Options of `Pipe.close()`. */
export interface CloseOptions {
  /** How long to go on sending what was accepted, in milliseconds. 30,000. */
  readonly lingerMs?: number;
  /** What the peer is told: a text of up to 1,024 bytes, or a number and a text. */
  readonly reason?: string | { readonly status?: number; readonly text?: string };
}

/** Events of a pipe. */
export interface PipeEvents {
  /** The connection state changed; changes to `DISCONNECTED` and `CLOSED` come with the reason. */
  state: [state: ConnectionState, previous: ConnectionState, reason?: CloseReason];
  /**
   * The pipe has failed, lost accepted messages, or lost its connection, which is being replaced.
   * Without a listener it is logged instead.
   */
  error: [error: BusbarError];
  /** The pipe is over. Messages that had arrived can still be received. */
  close: [reason: CloseReason];
}

/**
 * One end of a connection. Messages arrive whole, once, and in the order in which they were sent.
 *
 * There are three ways to receive, from convenient to fast: `for await` and `receive()` give owned
 * Buffers; `batches()` gives many of them at a time; `consume()` lends batches that are valid
 * during a callback. Reading and sending end with `ERR_CLOSED` after an orderly close (iterators
 * just end), and with the failure's code, such as `ERR_CONNECTION_LOST`, otherwise.
 *
 * @example
 * ```ts
 * import { dial, listen } from 'busbar';
 *
 * const listener = await listen('shm://pipe-example');
 * listener.on('pipe', async (server) => {
 *   try {
 *     for await (const message of server) await server.send(`you said ${message}`);
 *   } catch (error) {
 *     console.error(error); // the client is gone; others are not
 *   }
 * });
 *
 * const pipe = await dial('shm://pipe-example');
 * await pipe.send('hello');
 * console.log(String(await pipe.receive())); // you said hello
 * await pipe.close();
 * await listener.close();
 * ```
 */
export class Pipe extends EventEmitter<PipeEvents> {
  readonly #core: PipeCore;

  /** @internal Pipes come from `dial()`, `connectInproc()` and listeners. */
  constructor(core: PipeCore) {
    super();
    this.#core = core;
    const emitter: EventEmitter = this;
    core.face = emitter;
    emitter.on('newListener', refuseMessages);
  }

  /** The address that was dialed or listened at. */
  get address(): string {
    return this.#core.address;
  }

  /** Where the connection stands. */
  get state(): ConnectionState {
    return this.#core.state;
  }

  /** Who is at the other end; `null` for this process. */
  get peer(): Peer | null {
    return this.#core.peer;
  }

  /**
   * Names the connection: a session and the number of the connection in it, such as `9f…e1/2`. The
   * same at both ends, but for inproc; another after each reconnect. `null` before the first.
   */
  get connectionId(): string | null {
    return this.#core.connectionId;
  }

  /** Why the pipe is over; `null` while it is not. */
  get reason(): CloseReason | null {
    return this.#core.reason;
  }

  /**
   * Sends a message, when there is room: a resolved promise means that it was accepted, not that
   * the peer has it. A text is sent as UTF-8.
   *
   * Up to 1 KiB the bytes are copied at once, unless the transport is full. A buffer that is
   * larger, or has to wait, must not be changed until the promise settles.
   *
   * @throws BusbarError (as a rejection) `ERR_CLOSED`, `ERR_CONNECTION_LOST` (retryable on a new
   * pipe), `ERR_AGAIN` (retryable: `maxPendingSends` messages wait already), `ERR_TIMED_OUT`
   * (retryable), `ABORT_ERR`, `ERR_MESSAGE_TOO_LARGE`, `ERR_BUFFER_DETACHED`,
   * `ERR_INVALID_ARGUMENT` (also for bytes on a channel that carries values of `typed()`)
   */
  send(data: Sendable, options?: SendOptions): Promise<void> {
    const core = this.#core;
    if (options === undefined && !core.types.isTyped) return core.outbox.send(data, 0, undefined);
    try {
      const terms = options === undefined ? null : termsOf(options);
      const outbox = terms === null ? core.outbox : core.queuedOutbox();
      return outbox.send(data, untyped(core, options), options, terms);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Sends a message if there is room now; `false` means that nothing was sent.
   *
   * @throws BusbarError as {@link Pipe.send} rejects, but never for waiting;
   * `ERR_MESSAGE_TOO_LARGE` also for what is larger than both `ringBytes` and `slabBytes`, which
   * only `send()` can send, while the peer reads
   */
  trySend(data: Sendable, options?: TrySendOptions): boolean {
    const core = this.#core;
    if (options === undefined && !core.types.isTyped) return core.outbox.trySend(data, 0);
    const terms = options === undefined ? null : termsOf(options);
    if (options !== undefined) checkNames(options, TRY_SEND_OPTIONS);
    const outbox = terms === null ? core.outbox : core.queuedOutbox();
    return outbox.trySend(data, untyped(core, options), terms);
  }

  /**
   * Sends many messages, in order, and resolves when all are accepted. Buffers must not be changed
   * until then. If one cannot be sent the promise rejects; those before it were sent, those after
   * it were not. While the transport is full the batch counts with each of its messages against
   * `maxPendingSends`, but may always wait alone.
   *
   * @throws BusbarError (as a rejection) as {@link Pipe.send}
   */
  sendBatch(messages: readonly Sendable[], options?: SendOptions): Promise<void> {
    try {
      const core = this.#core;
      const terms = options === undefined ? null : termsOf(options);
      const outbox = terms === null ? core.outbox : core.queuedOutbox();
      return outbox.sendBatch(messages, untyped(core, options), options, terms);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Gives memory to write a message of up to `length` bytes into; see {@link Reservation}.
   *
   * @throws BusbarError `ERR_INVALID_ARGUMENT`, `ERR_MESSAGE_TOO_LARGE`, `ERR_CLOSED`
   */
  reserve(length: number, options?: ReserveOptions): Reservation {
    if (options !== undefined) checkNames(options, RESERVE_OPTIONS);
    return reserve(this.#core.outbox, length, untyped(this.#core, options));
  }

  /**
   * Hands over now what would be handed over at the end of this turn of the event loop: to the
   * peer, or, on streams, to the system, for as far as there is room.
   */
  flush(): void {
    this.#core.flush();
  }

  /**
   * Receives one message, when it comes. The Buffer is the caller's to keep. Up to 1,024 calls may
   * wait, and are served in order.
   *
   * @throws BusbarError (as a rejection) `ERR_CLOSED`, `ERR_CONNECTION_LOST` (retryable on a new
   * pipe), `ERR_TIMED_OUT` (retryable), `ABORT_ERR`, `ERR_AGAIN` (retryable: too many calls wait),
   * `ERR_INVALID_ARGUMENT` (also while `consume()` is at work)
   */
  receive(options?: WaitOptions): Promise<Buffer> {
    return this.#core.inbox.receive(MESSAGE, options);
  }

  /**
   * Receives one message if it is there now, otherwise `null`.
   *
   * @throws BusbarError as {@link Pipe.receive} rejects, but never for waiting
   */
  tryReceive(): Buffer | null {
    return this.#core.inbox.tryReceive(MESSAGE);
  }

  /**
   * Receives what is there, at least one and at most `max` messages (1–65,536, by default 1,024).
   *
   * @throws BusbarError (as a rejection) as {@link Pipe.receive}
   */
  receiveBatch(max: number = MESSAGES_STANDARD, options?: WaitOptions): Promise<Buffer[]> {
    try {
      checkMax(max, MESSAGES_MAX);
      return this.#core.inbox.receive(new Messages(max), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Receives one message with its channel and its id; see {@link Message}.
   *
   * @throws BusbarError (as a rejection) as {@link Pipe.receive}
   */
  receiveMessage(options?: WaitOptions): Promise<Message> {
    return this.#core.inbox.receive(NAMED, options);
  }

  /** Iterates over messages with their channels and ids; otherwise as the pipe itself. */
  messages(): AsyncIterableIterator<Message, undefined> {
    return new MessageIterator(this.#core.inbox, NAMED, undefined);
  }

  /** Iterates over messages, each the caller's to keep. Breaking off leaves the pipe open. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Buffer, undefined> {
    return new MessageIterator(this.#core.inbox, MESSAGE, undefined);
  }

  /**
   * Iterates over batches of messages, each the caller's to keep.
   *
   * @throws BusbarError `ERR_INVALID_ARGUMENT`; the iterator throws as {@link Pipe.receive} rejects
   */
  batches(options: BatchesOptions = {}): AsyncIterableIterator<Buffer[], undefined> {
    const { max, wait } = checkBatchesOptions(options);
    return new MessageIterator(this.#core.inbox, new Messages(max), wait);
  }

  /**
   * Lends every batch of messages to a synchronous callback; see {@link Batch}. Resolves when the
   * pipe is closed in an orderly way. If the callback throws, consuming ends with that error and
   * the pipe stays open; what remained of the batch is lost.
   *
   * @throws BusbarError (as a rejection) `ERR_CONNECTION_LOST` (retryable on a new pipe) or another
   * failure of the pipe, `ABORT_ERR`, `ERR_INVALID_ARGUMENT` (also for a second reader)
   */
  consume(callback: (batch: Batch) => void, options: ConsumeOptions = {}): Promise<void> {
    try {
      const { max, wait } = checkConsumeOptions(callback, options);
      return this.#core.inbox.consume(callback, max, wait);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Receives one message in place; see {@link Loan}. Messages up to 1 KiB are copied.
   *
   * @throws BusbarError (as a rejection) as {@link Pipe.receive}
   */
  borrow(options?: WaitOptions): Promise<Loan> {
    return this.#core.inbox.receive(LOAN, options);
  }

  /**
   * The same pipe as a sequence of values instead of bytes; see {@link TypedPipe}. The type is a
   * codec, or the name of a registered type.
   *
   * @throws BusbarError `ERR_INVALID_ARGUMENT`; for a name, as `registry.lookup`
   */
  typed<K extends keyof RegisteredTypes>(
    name: K,
    options?: TypedOptions,
  ): TypedPipe<RegisteredTypes[K]>;
  typed<T>(name: string, options?: TypedOptions): TypedPipe<T>;
  typed<T, V>(codec: Codec<T, V>, options?: TypedOptions): TypedPipe<T, V>;
  typed<T, V>(type: Codec<T, V> | string, options: TypedOptions = {}): TypedPipe<T, V> {
    checkNames(options, ['channel', 'resolve']);
    const codec = typeof type === 'string' ? registry.lookup<T>(type) : type;
    const expected = { codec: checkCodec(codec as Codec<T, V>), channel: channelOf(options) };
    return new TypedPipe(this, this.#core, { ...expected, resolve: checkResolve(options) });
  }

  /**
   * Closes the pipe. What was accepted is still handed over, for up to `lingerMs` while the peer
   * is slow, or while a pipe that reconnects has no connection; the peer can receive all that was
   * handed over, then learns the reason. Waiting calls end with `ERR_CLOSED`, iterators and
   * `consume()` just end, and messages not yet received are dropped. Further calls return the same
   * promise and can only shorten the lingering.
   *
   * @throws BusbarError (as a rejection) `ERR_INVALID_ARGUMENT` (not retryable)
   */
  close(options: CloseOptions = {}): Promise<void> {
    try {
      const { lingerMs, status, text } = checkCloseOptions(options);
      return this.#core.close(lingerMs, status, text);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As {@link Pipe.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Keeps the event loop alive while the pipe is open; so it is by default. */
  ref(): this {
    this.#core.ref();
    return this;
  }

  /**
   * Lets the process end although the pipe is open. Waits with a time limit, and closing while
   * messages are under way, keep it until they are over.
   */
  unref(): this {
    this.#core.unref();
    return this;
  }

  /** What has passed through this pipe, and what waits in it. */
  stats(): PipeStats {
    return this.#core.stats();
  }
}

// What `console.log()` shows.
Object.defineProperty(Pipe.prototype, inspect.custom, {
  value(this: Pipe, _depth: number, options: InspectOptions): string {
    const { address, state, peer } = this;
    return `Pipe ${inspect({ address, state, peer }, options)}`;
  },
});

const RESERVE_OPTIONS = ['channel'];

/** Other libraries push messages by these events; here a listener for them would wait for ever. */
function refuseMessages(event: string | symbol): void {
  if (event !== 'message' && event !== 'data') return;
  const instead = 'ask for messages, by `for await`, receive() or consume()';
  throw invalidArgument(`a pipe has no event ${show(event)}; ${instead}`);
}

/** The channel that bytes are to go by, on which there must be no values. */
function untyped(core: PipeCore, options: { readonly channel?: number } | undefined): number {
  const channel = options === undefined ? 0 : channelOf(options);
  if (core.types.isTyped) core.types.checkUntyped(channel);
  return channel;
}
