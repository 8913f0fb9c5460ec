/**
 * Puts messages where they go out, at once or not at all: small ones into staging, which is
 * submitted every so many, when full, or at the end of the turn; large ones to the core.
 */

import { BusbarError } from '../errors.js';
import { WRITABLE } from './binding.js';
import { bytesOf, detached } from './bytes.js';
import type { Loaned, Sendable } from './pending.js';
import type { Flushable, Port } from './port.js';
import { INLINE_MAX, recordBytes } from './record.js';
import { refusalOf } from './refusal.js';
import { Staging } from './staging.js';

/** What a sender needs of its pipe. */
export interface SenderHost {
  readonly port: Port;
  readonly handle: number;
  want(bit: number): void;
  unwant(bit: number): void;
  /** Accepted messages are lost, and no call is left to say so. */
  report(error: BusbarError): void;
}

/** Not now, and nothing has happened. */
export const REFUSED = 0;
/** Not now, but the core may have sent a part: offer the same again, or abandon it. */
export const BEGUN = 1;
/** Sent, or as good as sent. */
export const ACCEPTED = 2;
/** How an attempt to place a message ended. */
export type Offer = typeof REFUSED | typeof BEGUN | typeof ACCEPTED;

export class Sender implements Flushable {
  dirty = false;
  /** Whether the core has refused something and not reported Writable since. */
  isBlocked = false;
  /** Whether nothing can be sent any more. */
  isDead = false;
  readonly staging: Staging = new Staging();
  readonly host: SenderHost;
  private readonly maxMessageBytes: number;
  /** Records after which the next submit is due. */
  private publishEvery = PUBLISH_EVERY;

  constructor(host: SenderHost, maxMessageBytes: number) {
    this.host = host;
    this.maxMessageBytes = maxMessageBytes;
  }

  /** Submits what is staged. */
  flush(): void {
    const { staging, host } = this;
    if (staging.isEmpty || this.isBlocked || this.isDead) return;
    const { start, end, bytes } = staging;
    if (bytes.length === 0) return this.lose(detached());
    const taken = host.port.submit(host.handle, bytes, start, end);
    if (taken < 0) return this.handleSubmitError(taken);
    staging.taken(taken);
    if (taken < end - start) this.block();
    else if (this.dirty) host.port.untouch(this);
  }

  /** The core has room again. */
  unblock(): void {
    this.isBlocked = false;
    this.flush();
  }

  /** Nothing can be sent any more; what is staged is lost. */
  kill(): void {
    this.isDead = true;
    this.staging.reset();
  }

  /** Throws unless a message of `length` bytes may be sent. */
  checkLength(length: number): void {
    const limit = this.maxMessageBytes;
    if (length <= limit) return;
    const message = `a message of ${length} bytes exceeds maxMessageBytes, which is ${limit}`;
    const advice = 'send less, or raise it on both ends';
    throw new BusbarError('ERR_MESSAGE_TOO_LARGE', `${message}; ${advice}`);
  }

  /** Makes room for a record of `size` bytes in staging; `false` if there is none. */
  makeRoom(size: number): boolean {
    if (this.staging.fits(size)) return true;
    this.flush();
    return !this.isBlocked && !this.isDead && this.staging.fits(size);
  }

  /** Adds the record of a reservation that lies in staging. */
  commitStaged(length: number, channel: number): void {
    this.staging.commit(length, channel);
    this.staged();
  }

  /** Submits what is staged at the end of a turn. */
  endTurn(): void {
    this.restart();
    this.flush();
  }

  /** Lets the next run be as short as the first of a turn. */
  restart(): void {
    this.publishEvery = PUBLISH_EVERY;
  }

  /** Places a message of any kind. */
  place(data: Sendable, channel: number): Offer {
    if (typeof data === 'string') return this.placeText(data, channel);
    const bytes = bytesOf(data);
    const { length } = bytes;
    if (length <= INLINE_MAX) return this.placeSmall(bytes, length, channel);
    return this.placeLarge(bytes, channel);
  }

  /** Places a message of up to INLINE_MAX bytes. */
  placeSmall(data: Uint8Array, length: number, channel: number): Offer {
    const { staging } = this;
    if (!staging.fits(recordBytes(length)) && !this.makeRoom(recordBytes(length))) return REFUSED;
    staging.put(data, length, channel);
    this.staged();
    return ACCEPTED;
  }

  /** Stages small messages from `at` on, while there is nothing to it; returns where it stopped. */
  placeRun(messages: readonly Sendable[], at: number, channel: number): number {
    let i = this.staging.putRun(messages, at, channel);
    while (i < messages.length && isSmall(messages[i]) && this.makeRoom(LARGEST_BYTES)) {
      i = this.staging.putRun(messages, i, channel);
    }
    if (i > at) this.staged();
    return i;
  }

  /** Hands a loan over; `false` if it can not be now. */
  placeLoan(loan: Loaned, channel: number): boolean {
    this.flush();
    if (!this.staging.isEmpty) return false;
    const { port, handle } = this.host;
    const result = port.native.commit(handle, loan.id, channel, loan.length);
    if (result < 0) throw refusalOf(this.host, result, 'committing a reservation', loan.length);
    if (result === 0) this.block();
    return result > 0;
  }

  private placeText(text: string, channel: number): Offer {
    const most = text.length * UTF8_BYTES_MAX;
    if (most > INLINE_MAX) return this.place(Buffer.from(text), channel);
    if (!this.makeRoom(recordBytes(most))) return REFUSED;
    this.staging.putText(text, channel);
    this.staged();
    return ACCEPTED;
  }

  private placeLarge(bytes: Uint8Array, channel: number): Offer {
    this.checkLength(bytes.length);
    this.flush();
    if (!this.staging.isEmpty) return REFUSED;
    const { port, handle } = this.host;
    port.sends++;
    const result = port.native.send(handle, channel, bytes);
    if (result > 0) return ACCEPTED;
    if (result < 0) throw refusalOf(this.host, result, 'sending', bytes.length);
    this.block();
    return BEGUN;
  }

  private staged(): void {
    if (this.staging.records >= this.publishEvery) this.publish();
    else if (!this.dirty) this.host.port.touch(this);
  }

  /** Submits in the middle of a turn. A turn that goes on for long submits ever more at a time. */
  private publish(): void {
    if (this.publishEvery < PUBLISH_EVERY_MAX) this.publishEvery *= 2;
    this.flush();
  }

  private block(): void {
    this.isBlocked = true;
    this.host.want(WRITABLE);
  }

  private handleSubmitError(result: number): void {
    const error = refusalOf(this.host, result, 'sending', this.staging.firstLength);
    if (error.code === 'ERR_AGAIN') this.block();
    else if (OF_A_MESSAGE.has(error.code)) this.skip(error);
    // Somebody wrote over staged records, through a reservation that was committed.
    else if (error.code === 'ERR_INVALID_ARGUMENT') this.lose(error);
    else this.end();
  }

  /** The first message can never be sent; those behind it go on when the core asks for them. */
  private skip(cause: BusbarError): void {
    this.staging.skip();
    this.block();
    const message = `an accepted message is lost: ${cause.message}`;
    this.host.report(new BusbarError(cause.code, message, { cause }));
  }

  /** The peer is gone. Who sends from now on waits for the core to report why, which it will. */
  private end(): void {
    this.kill();
    this.isBlocked = true;
  }

  private lose(cause: BusbarError): void {
    const lost = this.staging.reset();
    const message = `${lost} accepted messages are lost, as their memory was taken away`;
    this.host.report(new BusbarError('ERR_BUFFER_DETACHED', message, { cause }));
  }
}

/** Whether a message is bytes that are staged as they are. */
function isSmall(data: unknown): boolean {
  return data instanceof Uint8Array && data.length > 0 && data.length <= INLINE_MAX;
}

/** What the core says of the first message alone. */
const OF_A_MESSAGE: ReadonlySet<string> = new Set([
  'ERR_CHANNELS_EXHAUSTED',
  'ERR_MESSAGE_TOO_LARGE',
]);

/** Bytes of the largest record. */
const LARGEST_BYTES: number = recordBytes(INLINE_MAX);

/** Records after which the first run of a turn is submitted: soon, for the peer to begin. */
const PUBLISH_EVERY = 16;

/** Records of later runs at most: beyond, a native call no longer shows in the cost of a record. */
const PUBLISH_EVERY_MAX = 256;

const UTF8_BYTES_MAX = 3;
