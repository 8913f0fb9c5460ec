/** Pipes of values: what is sent is encoded, what arrives is decoded, and both ends agree on it. */

import type { Batch } from './batch.js';
import {
  checkBatchesOptions,
  checkConsumeOptions,
  checkMax,
  MESSAGES_MAX,
  MESSAGES_STANDARD,
} from './internal/arguments.js';
import type { PipeCore } from './internal/core.js';
import { MappedIterator, MessageIterator } from './internal/iterator.js';
import {
  NamedValues,
  TypedMessages,
  TypedReader,
  type Decoded,
  type Expectation,
} from './internal/typed-reader.js';
import { TypedSender } from './internal/typed-sender.js';
import type { WaitOptions } from './internal/wait.js';
import type { Message } from './message.js';
import type { BatchesOptions, CloseOptions, ConsumeOptions, Pipe } from './pipe.js';
import type { SendOptions, TrySendOptions } from './pipe.js';
import type { Comparison } from './schema/compare.js';
import type { RootView } from './schema/views.js';

/** Makes values of bytes. */
export interface Decoder<T, V = RootView<T>> {
  /** The value; throws if the bytes are not one. */
  decode(bytes: Uint8Array): T;
  /** A cursor over the value in `size` of the bytes from `offset` on, to read it in place. */
  view?(bytes: Uint8Array, offset?: number, size?: number): V;
}

/** How values of one type become bytes and values again. */
export interface Codec<T, V = RootView<T>> extends Decoder<T, V> {
  /** Name of the type, for error messages. */
  readonly name: string;
  /** 64 bits that are the same only for the same type in the same version. */
  readonly hash: bigint;
  /**
   * What the peer is told of the type, once per connection: JSON, or anything that the `resolve` of
   * its codec understands.
   */
  readonly descriptor: string;
  /** The bytes of a value. */
  encode(value: T): Uint8Array;
  /**
   * Writes the bytes of a value to `target` from `offset` on; returns how many they are.
   *
   * @throws BusbarError `ERR_BUFFER_TOO_SMALL` if there is no room for them
   */
  encodeInto(value: T, target: Uint8Array, offset: number): number;
  /**
   * How the type that a peer announced differs from this one: not at all, even if its hash is this
   * one's, if there are no reasons.
   */
  compare?(descriptor: string): Pick<Comparison, 'reasons'>;
  /**
   * What reads the values of a peer with another version of the type, and that version's hash.
   *
   * @throws BusbarError `ERR_SCHEMA_MISMATCH` if nothing can
   */
  resolve?(descriptor: string): Decoder<T, V> & { readonly hash: bigint };
}

/** Options of `Pipe.typed()`. */
export interface TypedOptions {
  /**
   * The channel that carries the values, 0–65,534; each carries one type. 0. Sends may name
   * another; values of the type are read from whichever channel they come on.
   */
  readonly channel?: number;
  /**
   * Whether values of another version of the type are read, where that is possible without losing
   * or inventing anything. `false`: they are an error.
   */
  readonly resolve?: boolean;
}

/** A batch of values; valid as a {@link Batch} is. */
export interface TypedBatch<T, V = RootView<T>> {
  /** Number of values, at least 1. */
  readonly length: number;
  /** The name of message `i` in the session of a reliable pipe; see {@link Message.id}. */
  id(i: number): string | null;
  /** Says that the program is done with message `i`; see {@link Message.ack}. */
  ack(i: number): void;
  /** Value `i`, decoded. */
  at(i: number): T;
  /**
   * Value `i` in place, by the one cursor that this pipe has: it is moved by the next call.
   *
   * @throws BusbarError `ERR_INVALID_ARGUMENT` if the codec has no `view`, as those of `compile()`
   * have
   */
  view(i: number): V;
  /** Every value, decoded. */
  [Symbol.iterator](): Iterator<T>;
}

/**
 * A pipe of values. Small ones are encoded where they are sent from, without a buffer in between.
 *
 * The first send tells the peer which type the channel carries. A peer that sends another type, or
 * plain bytes, is answered by `ERR_SCHEMA_MISMATCH` when its message is read, unless the option
 * `resolve` lets the codec read that version too. The pipe itself stays as it is: it can be
 * closed, watched and used for other channels.
 *
 * @example
 * ```ts
 * import { bindInproc, connectInproc, type Codec } from 'busbar';
 *
 * const celsius: Codec<number> = {
 *   name: 'example.Celsius',
 *   hash: 1n,
 *   descriptor: '{"root":"example.Celsius"}',
 *   encode: (value) => new Uint8Array(Float64Array.of(value).buffer),
 *   encodeInto(value, target, offset) {
 *     new DataView(target.buffer, target.byteOffset).setFloat64(offset, value, true);
 *     return 8;
 *   },
 *   decode: (bytes) => new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true),
 * };
 *
 * const listener = bindInproc('typed-example');
 * const probe = connectInproc('typed-example').typed(celsius);
 * const screen = (await listener.accept()).typed(celsius);
 * await probe.send(21.5);
 * console.log(await screen.receive()); // 21.5
 * await probe.pipe.close();
 * await listener.close();
 * ```
 */
export class TypedPipe<T, V = RootView<T>> {
  /** The pipe underneath. */
  readonly pipe: Pipe;
  readonly #core: PipeCore;
  readonly #sender: TypedSender<T>;
  readonly #reader: TypedReader<T, V>;

  /** @internal Typed pipes come from `Pipe.typed()`. */
  constructor(pipe: Pipe, core: PipeCore, expected: Expectation<T, V>) {
    this.pipe = pipe;
    this.#core = core;
    this.#sender = new TypedSender(core, expected.codec, expected.channel);
    this.#reader = new TypedReader(core.types, expected);
  }

  /**
   * Sends a value, when there is room. It is encoded at once: it may change afterwards.
   *
   * @throws BusbarError (as a rejection) as `Pipe.send`, and what the codec throws
   */
  send(value: T, options?: SendOptions): Promise<void> {
    return this.#sender.send(value, options);
  }

  /**
   * Sends a value if there is room now; `false` means that it was not sent.
   *
   * @throws BusbarError as `Pipe.trySend`, and what the codec throws
   */
  trySend(value: T, options?: TrySendOptions): boolean {
    return this.#sender.trySend(value, options);
  }

  /**
   * Sends many values, in order, and resolves when all are accepted. If one cannot be encoded,
   * those before it may have been sent.
   *
   * @throws BusbarError (as a rejection) as `Pipe.sendBatch`, and what the codec throws
   */
  sendBatch(values: readonly T[], options?: SendOptions): Promise<void> {
    return this.#sender.sendBatch(values, options);
  }

  /**
   * Receives one value, when it comes.
   *
   * @throws BusbarError (as a rejection) as `Pipe.receive`, `ERR_SCHEMA_MISMATCH`, and what the
   * codec throws; the message is then gone
   */
  receive(options?: WaitOptions): Promise<T> {
    return this.#core.inbox.receive(this.#reader, options).then(valueOf);
  }

  /**
   * Receives a value if there is one now; `undefined`, which no type has as a value, if there is
   * none.
   *
   * @throws BusbarError as {@link receive}
   */
  tryReceive(): T | undefined {
    return this.#core.inbox.tryReceive(this.#reader)?.value;
  }

  /**
   * Receives the values that are there, at least one and at most `max` (1–65,536, by default
   * 1,024).
   *
   * @throws BusbarError (as a rejection) as {@link receive}; values before one that fails are given
   * out first
   */
  receiveBatch(max: number = MESSAGES_STANDARD, options?: WaitOptions): Promise<T[]> {
    try {
      checkMax(max, MESSAGES_MAX);
      return this.#core.inbox.receive(this.#messages(max), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Iterates over batches of values.
   *
   * @throws BusbarError `ERR_INVALID_ARGUMENT`; the iterator throws as {@link receiveBatch} rejects
   */
  batches(options: BatchesOptions = {}): AsyncIterableIterator<T[], undefined> {
    const { max, wait } = checkBatchesOptions(options);
    return new MessageIterator(this.#core.inbox, this.#messages(max), wait);
  }

  /**
   * Receives one value with the channel and the id of its message.
   *
   * @throws BusbarError (as a rejection) as {@link receive}; the message counts as acknowledged
   */
  receiveMessage(options?: WaitOptions): Promise<Message<T>> {
    return this.#core.inbox.receive(this.#named(), options);
  }

  /** Iterates over values with the channels and ids of their messages. */
  messages(): AsyncIterableIterator<Message<T>, undefined> {
    return new MessageIterator(this.#core.inbox, this.#named(), undefined);
  }

  /** Iterates over values. Breaking off leaves the pipe open. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    return new MappedIterator(this.#core.inbox, this.#reader, valueOf);
  }

  /** As `Pipe.flush`: what was sent goes out now and not at the end of the turn. */
  flush(): void {
    this.pipe.flush();
  }

  /**
   * Closes the pipe underneath, as `Pipe.close` does.
   *
   * @throws BusbarError (as a rejection) `ERR_INVALID_ARGUMENT` (not retryable)
   */
  close(options: CloseOptions = {}): Promise<void> {
    return this.pipe.close(options);
  }

  /** As {@link close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #named(): NamedValues<T> {
    return new NamedValues(this.#reader);
  }

  #messages(max: number): TypedMessages<T> {
    return new TypedMessages(this.#reader, max);
  }

  /**
   * Lends every batch of values to a synchronous callback, as `Pipe.consume` does.
   *
   * @throws BusbarError (as a rejection) as `Pipe.consume`, `ERR_SCHEMA_MISMATCH`, and what the
   * codec throws when a value is looked at
   */
  consume(
    callback: (batch: TypedBatch<T, V>) => void,
    options: ConsumeOptions = {},
  ): Promise<void> {
    try {
      const { max, wait } = checkConsumeOptions(callback, options);
      const reader = this.#reader;
      const inner = (batch: Batch): void => callback(new DecodedBatch(batch, reader));
      return this.#core.inbox.consume(inner, max, wait);
    } catch (error) {
      return Promise.reject(error);
    }
  }
}

class DecodedBatch<T, V> implements TypedBatch<T, V> {
  private readonly batch: Batch;
  private readonly reader: TypedReader<T, V>;

  constructor(batch: Batch, reader: TypedReader<T, V>) {
    this.batch = batch;
    this.reader = reader;
  }

  get length(): number {
    return this.batch.length;
  }

  id(i: number): string | null {
    return this.batch.id(i);
  }

  ack(i: number): void {
    this.batch.ack(i);
  }

  at(i: number): T {
    return this.reader.decode(this.batch.at(i), this.batch.channel(i));
  }

  view(i: number): V {
    return this.reader.view(this.batch, i);
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }
}

function valueOf<T>({ value }: Decoded<T>): T {
  return value;
}
