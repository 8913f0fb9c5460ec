/** Values on their way out: encoded where they are sent from, if they are small. */

import { BusbarError } from '../errors.js';
import type { Codec } from '../typed.js';
import type { PipeCore } from './core.js';
import type { Outbox } from './outbox.js';
import type { SendOptions, TrySendOptions } from '../pipe.js';
import { channelOf } from './arguments.js';
import { checkNames } from './checks.js';
import { termsOf } from './qos.js';
import { INLINE_MAX, recordBytes } from './record.js';
import { checkWait, SEND_OPTIONS, TRY_SEND_OPTIONS } from './wait.js';

type Encoder<T> = Omit<Codec<T>, 'view' | 'resolve'>;

export class TypedSender<T> {
  private readonly core: PipeCore;
  private readonly codec: Encoder<T>;
  private readonly channel: number;

  constructor(core: PipeCore, codec: Encoder<T>, channel: number) {
    this.core = core;
    this.codec = codec;
    this.channel = channel;
  }

  trySend(value: T, options: TrySendOptions | undefined): boolean {
    const { core } = this;
    const channel = this.channelOf(options);
    if (options !== undefined) {
      checkNames(options, TRY_SEND_OPTIONS);
      const terms = termsOf(options);
      if (terms !== null) {
        const outbox = this.queued(channel);
        return outbox.trySend(this.codec.encode(value), channel, terms);
      }
    }
    const { outbox } = core;
    outbox.checkOpen();
    core.types.announce(channel, this.codec);
    if (!outbox.isReady) return false;
    const bytes = this.place(value, channel);
    return bytes === null || outbox.trySend(bytes, channel);
  }

  send(value: T, options: SendOptions | undefined): Promise<void> {
    const { outbox } = this.core;
    try {
      const channel = this.channelOf(options);
      if (options !== undefined) {
        checkWait(options, 'send()', SEND_OPTIONS);
        const terms = termsOf(options);
        if (terms !== null) {
          const bytes = this.codec.encode(value);
          return this.queued(channel).send(bytes, channel, options, terms);
        }
      }
      outbox.checkOpen();
      this.core.types.announce(channel, this.codec);
      const bytes = outbox.isReady ? this.place(value, channel) : this.codec.encode(value);
      if (bytes !== null) return outbox.send(bytes, channel, options);
      outbox.sender.restart();
      return outbox.accepted();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  sendBatch(values: readonly T[], options: SendOptions | undefined): Promise<void> {
    const { outbox } = this.core;
    try {
      const channel = this.channelOf(options);
      if (options !== undefined) {
        checkWait(options, 'sendBatch()', SEND_OPTIONS);
        const terms = termsOf(options);
        if (terms !== null) {
          const all = values.map((value) => this.codec.encode(value));
          return this.queued(channel).sendBatch(all, channel, options, terms);
        }
      }
      outbox.checkOpen();
      this.core.types.announce(channel, this.codec);
      let i = 0;
      let odd: Uint8Array | null = null;
      while (i < values.length && odd === null && outbox.isReady) {
        odd = this.place(values[i++] as T, channel);
      }
      const rest = values.slice(i).map((value) => this.codec.encode(value));
      if (odd !== null) rest.unshift(odd);
      if (rest.length === 0) return outbox.accepted();
      const isRest = rest.length < values.length;
      return outbox.sendBatch(rest, channel, options, null, isRest);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Where a value goes; the channel of this pipe unless the call names one. */
  private channelOf(options: TrySendOptions | undefined): number {
    return options?.channel === undefined ? this.channel : channelOf(options);
  }

  /** What sends messages with terms of their own; the peer knows what comes on `channel`. */
  private queued(channel: number): Outbox {
    this.core.outbox.checkOpen();
    this.core.types.announce(channel, this.codec);
    return this.core.queuedOutbox();
  }

  /**
   * Encodes a value straight into staging and adds it to what will be sent. Gives its bytes instead
   * if they have to be sent in another way. The staging buffer is reserved meanwhile, because a
   * codec may call getters of the value, and those may send.
   */
  private place(value: T, channel: number): Uint8Array | null {
    const { codec } = this;
    const { sender } = this.core.outbox;
    const { staging } = sender;
    if (!staging.isReservable || !sender.makeRoom(ROOM)) return codec.encode(value);
    const at = staging.open(this);
    const { bytes } = staging;
    let length: number;
    try {
      length = codec.encodeInto(value, bytes, at);
    } catch (error) {
      staging.forget(this);
      if (!isTooSmall(error)) throw error;
      return codec.encode(value);
    }
    if (length <= INLINE_MAX && staging.holds(this) && this.core.outbox.isReady) {
      sender.commitStaged(length, channel);
      return null;
    }
    staging.forget(this);
    // The place is used by others from now on.
    return Uint8Array.prototype.slice.call(bytes, at, at + length);
  }
}

/** Room that is made for a value; a larger one may find more. */
const ROOM: number = recordBytes(INLINE_MAX);

function isTooSmall(error: unknown): boolean {
  return error instanceof BusbarError && error.code === 'ERR_BUFFER_TOO_SMALL';
}
