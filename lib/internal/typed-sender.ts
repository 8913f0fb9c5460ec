/** Values on their way out: encoded where they are sent from, if they are small. */

import { BusbarError } from '../errors.js';
import type { Codec } from '../typed.js';
import type { PipeCore } from './core.js';
import { INLINE_MAX, recordBytes } from './record.js';
import { checkWait, type WaitOptions } from './wait.js';

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

  trySend(value: T): boolean {
    const { outbox } = this.core;
    outbox.checkOpen();
    this.core.types.announce(this.channel, this.codec);
    if (!outbox.isReady) return false;
    const bytes = this.place(value);
    return bytes === null || outbox.trySend(bytes, this.channel);
  }

  send(value: T, options: WaitOptions | undefined): Promise<void> {
    const { outbox } = this.core;
    try {
      if (options !== undefined) checkWait(options, 'send()');
      outbox.checkOpen();
      this.core.types.announce(this.channel, this.codec);
      const bytes = outbox.isReady ? this.place(value) : this.codec.encode(value);
      if (bytes !== null) return outbox.send(bytes, this.channel, options);
      outbox.sender.restart();
      return outbox.accepted();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  sendBatch(values: readonly T[], options: WaitOptions | undefined): Promise<void> {
    const { outbox } = this.core;
    try {
      if (options !== undefined) checkWait(options, 'sendBatch()');
      outbox.checkOpen();
      this.core.types.announce(this.channel, this.codec);
      let i = 0;
      let odd: Uint8Array | null = null;
      while (i < values.length && odd === null && outbox.isReady) {
        odd = this.place(values[i++] as T);
      }
      const rest = values.slice(i).map((value) => this.codec.encode(value));
      if (odd !== null) rest.unshift(odd);
      if (rest.length === 0) return outbox.accepted();
      return outbox.sendBatch(rest, this.channel, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Encodes a value straight into staging and adds it to what will be sent. Gives its bytes instead
   * if they have to be sent in another way. The staging buffer is reserved meanwhile, because a
   * codec may call getters of the value, and those may send.
   */
  private place(value: T): Uint8Array | null {
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
      sender.commitStaged(length, this.channel);
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
