/**
 * The sending half of a pipe: small messages are staged and go out many at a time, large ones one by
 * one, all in the order of the calls.
 *
 * | | small message | large message |
 * |---|---|---|
 * | ready | staged; submitted every so many, when full, or at the end of the turn | offered to the core |
 * | not ready: the core has refused something | waits | waits |
 *
 * What waits is offered again, in order, when the core reports Writable.
 */

import { BusbarError, errorOf, invalidArgument, show } from '../errors.js';
import { WRITABLE } from './binding.js';
import { bytesOf, detached } from './bytes.js';
import { Deque } from './deque.js';
import { Loaned, PendingSend, type Sendable } from './pending.js';
import type { Flushable, Port } from './port.js';
import { INLINE_MAX, recordBytes } from './record.js';
import { Staging } from './staging.js';
import { Deadline, checkWait, type WaitOptions } from './wait.js';

/** What an outbox needs of its pipe. */
export interface OutboxHost {
  readonly port: Port;
  readonly handle: number;
  want(bit: number): void;
  unwant(bit: number): void;
  /** Accepted messages are lost, and no call is left to say so. */
  report(error: BusbarError): void;
}

/** Limits of an outbox. */
export interface OutboxLimits {
  readonly maxMessageBytes: number;
  readonly sendHighWaterMark: number;
}

/** How an offer ended. Not now, and nothing has happened. */
const REFUSED = 0;
/** Not now, but the core may have sent a part: offer the same again, or abandon it. */
const BEGUN = 1;
const ACCEPTED = 2;
type Offer = typeof REFUSED | typeof BEGUN | typeof ACCEPTED;

export class Outbox implements Flushable {
  dirty = false;
  readonly staging: Staging = new Staging();
  readonly host: OutboxHost;
  /** Called once everything accepted has been submitted. */
  onIdle: (() => void) | null = null;
  /** Whether a message may be placed now: nothing waits, and nothing says otherwise. */
  isReady = true;

  /** Records after which the next submit is due. */
  private publishEvery = PUBLISH_EVERY;
  private readonly limits: OutboxLimits;
  private readonly queue = new Deque<PendingSend>();
  /** Messages in `queue`. */
  private waiting = 0;
  /** Whether the core has refused something and not reported Writable since. */
  private blocked = false;
  /** Why no message is accepted any more. */
  private refusal: BusbarError | null = null;
  /** Whether what was accepted cannot be sent any more either. */
  private dead = false;

  constructor(host: OutboxHost, limits: OutboxLimits) {
    this.host = host;
    this.limits = limits;
  }

  /** Messages that the core has not taken. */
  get queued(): number {
    return this.staging.count + this.waiting;
  }

  /** Whether everything accepted has been submitted. */
  get isIdle(): boolean {
    return this.queue.length === 0 && this.staging.isEmpty;
  }

  /** Sends now or not at all. */
  trySend(data: Sendable, channel: number): boolean {
    const offer = this.offer(data, channel);
    if (offer === BEGUN) this.host.port.native.abandon(this.host.handle);
    return offer === ACCEPTED;
  }

  /** Sends now or when there is room. */
  send(data: Sendable, channel: number, options: WaitOptions | undefined): Promise<void> {
    let offer: Offer;
    try {
      if (options !== undefined) checkWait(options, 'send()');
      offer = this.offer(data, channel);
    } catch (error) {
      return Promise.reject(error);
    }
    // Those who await this may never end the turn: the next message is published as soon as the first.
    this.publishEvery = PUBLISH_EVERY;
    if (offer === ACCEPTED) return DONE;
    return this.enqueue([data], channel, offer, options, 'send()');
  }

  /** Sends as many as possible now, the rest when there is room. */
  sendBatch(
    messages: readonly Sendable[],
    channel: number,
    options: WaitOptions | undefined,
  ): Promise<void> {
    let offer: Offer = ACCEPTED;
    let sent = 0;
    try {
      if (!Array.isArray(messages)) {
        throw invalidArgument(`messages is ${show(messages)}; it must be an array`);
      }
      if (options !== undefined) checkWait(options, 'sendBatch()');
      while (sent < messages.length) {
        sent = this.placeRun(messages, sent, channel);
        if (sent === messages.length) break;
        offer = this.offer(messages[sent] as Sendable, channel);
        if (offer !== ACCEPTED) break;
        sent++;
      }
    } catch (error) {
      return Promise.reject(error);
    }
    if (offer === ACCEPTED) return DONE;
    return this.enqueue(messages.slice(sent), channel, offer, options, 'sendBatch()');
  }

  /** Sends a loan now, or when there is room if it may wait; `null` if it may not and there is none. */
  sendLoan(loan: Loaned, channel: number, mayWait: boolean): Promise<void> | null {
    this.checkOpen();
    if (this.isReady && this.placeLoan(loan, channel)) return DONE;
    return mayWait ? this.enqueue([loan], channel, REFUSED, undefined, 'commit()') : null;
  }

  /** Adds the record of a reservation that lies in staging. */
  commitStaged(length: number, channel: number): void {
    this.staging.commit(length, channel);
    this.staged();
  }

  /** Submits what is staged at the end of a turn. */
  endTurn(): void {
    this.publishEvery = PUBLISH_EVERY;
    this.flush();
  }

  /** Submits what is staged. */
  flush(): void {
    const { staging, host } = this;
    if (staging.isEmpty || this.blocked || this.dead) return;
    const { start, end, bytes } = staging;
    if (bytes.length === 0) return this.lose(detached());
    const taken = host.port.native.submit(host.handle, bytes, start, end);
    if (taken < 0) return this.handleSubmitError(taken);
    staging.taken(taken);
    if (taken < end - start) this.block();
  }

  handleWritable(): void {
    if (this.dead) return;
    this.blocked = false;
    this.flush();
    while (!this.blocked && this.queue.length > 0) this.serve(this.queue.peek() as PendingSend);
    this.flush();
    if (this.blocked) return;
    this.host.unwant(WRITABLE);
    this.isReady = this.refusal === null;
    if (this.isIdle) this.onIdle?.();
  }

  /** Refuses what comes; what was accepted is still sent. */
  seal(error: BusbarError): void {
    this.refusal = error;
    this.isReady = false;
    this.flush();
  }

  /** Refuses what comes and what waits. What is staged is lost. */
  fail(error: BusbarError): void {
    this.refusal = error;
    this.isReady = false;
    this.dead = true;
    this.staging.reset();
    this.waiting = 0;
    for (const pending of this.queue.drain()) pending.reject(error);
  }

  /** Throws if no message is accepted any more. */
  checkOpen(): void {
    if (this.refusal !== null) throw this.refusal;
  }

  /** Throws unless a message of `length` bytes may be sent. */
  checkLength(length: number): void {
    const limit = this.limits.maxMessageBytes;
    if (length <= limit) return;
    const message = `a message of ${length} bytes exceeds maxMessageBytes, which is ${limit}`;
    throw new BusbarError('ERR_MESSAGE_TOO_LARGE', `${message}; send less, or raise it on both ends`);
  }

  /** Makes room for a record of `size` bytes in staging; `false` if there is none. */
  makeRoom(size: number): boolean {
    if (this.staging.fits(size)) return true;
    this.flush();
    return !this.blocked && this.staging.fits(size);
  }

  /** Places a message, unless it must wait for others. */
  private offer(data: Sendable, channel: number): Offer {
    if (this.isReady && data instanceof Uint8Array) {
      const length = data.length;
      if (length > 0 && length <= INLINE_MAX) return this.placeSmall(data, length, channel);
    }
    this.checkOpen();
    if (this.isReady) return this.place(data, channel);
    // Only what can be sent may wait.
    if (typeof data !== 'string') this.checkLength(bytesOf(data).length);
    return REFUSED;
  }

  private place(data: Sendable, channel: number): Offer {
    if (typeof data === 'string') return this.placeText(data, channel);
    const bytes = bytesOf(data);
    const { length } = bytes;
    if (length <= INLINE_MAX) return this.placeSmall(bytes, length, channel);
    return this.placeLarge(bytes, channel);
  }

  private placeSmall(data: Uint8Array, length: number, channel: number): Offer {
    const { staging } = this;
    if (!staging.fits(recordBytes(length)) && !this.makeRoom(recordBytes(length))) return REFUSED;
    staging.put(data, length, channel);
    this.staged();
    return ACCEPTED;
  }

  /** Stages small messages from `at` on, while there is nothing to it; returns where it stopped. */
  private placeRun(messages: readonly Sendable[], at: number, channel: number): number {
    if (!this.isReady) return at;
    const { staging } = this;
    let i = at;
    for (; i < messages.length; i++) {
      const data = messages[i];
      if (!(data instanceof Uint8Array)) break;
      const { length } = data;
      if (length === 0 || length > INLINE_MAX) break;
      const size = recordBytes(length);
      if (!staging.fits(size) && !this.makeRoom(size)) break;
      staging.put(data, length, channel);
    }
    if (i > at) this.staged();
    return i;
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
    const result = this.host.port.native.send(this.host.handle, channel, bytes);
    if (result > 0) return ACCEPTED;
    if (result < 0) throw errorOf(result, 'sending');
    this.block();
    return BEGUN;
  }

  private placeLoan(loan: Loaned, channel: number): boolean {
    this.flush();
    if (!this.staging.isEmpty) return false;
    const { port, handle } = this.host;
    const result = port.native.commit(handle, loan.id, channel, loan.length);
    if (result < 0) throw errorOf(result, 'committing a reservation');
    if (result === 0) this.block();
    return result > 0;
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
    this.blocked = true;
    this.isReady = false;
    this.host.want(WRITABLE);
  }

  private enqueue(
    messages: readonly (Sendable | Loaned)[],
    channel: number,
    offer: Offer,
    options: WaitOptions | undefined,
    what: string,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const own = messages.map(ownText);
      const pending = new PendingSend(own, channel, resolve, reject);
      pending.begun = offer === BEGUN;
      const refusal = this.refusal ?? this.overflow(own.length);
      if (refusal !== null) return this.giveUp(pending, refusal);
      if (options !== undefined && checkWait(options, what)) {
        pending.deadline = new Deadline(options, what, (error) => {
          this.queue.remove(pending);
          this.waiting -= pending.left;
          this.giveUp(pending, error);
        });
      }
      this.isReady = false;
      this.queue.push(pending);
      this.waiting += own.length;
    });
  }

  /** Why `count` more messages must not wait. A batch may always wait alone. */
  private overflow(count: number): BusbarError | null {
    const limit = this.limits.sendHighWaterMark;
    if (this.waiting + count <= limit || (this.waiting === 0 && limit > 0)) return null;
    const message = `${this.waiting} messages wait already and sendHighWaterMark is ${limit}`;
    return new BusbarError('ERR_AGAIN', `${message}; await earlier sends first, or raise it`);
  }

  private giveUp(pending: PendingSend, error: BusbarError): void {
    if (pending.begun) this.host.port.native.abandon(this.host.handle);
    pending.reject(error);
  }

  /** Places as much as possible of what waits first. */
  private serve(pending: PendingSend): void {
    try {
      while (pending.left > 0) {
        if (pending.isDetached) throw detached();
        const head = pending.head;
        const offer =
          head instanceof Loaned
            ? this.placeLoan(head, pending.channel) ? ACCEPTED : REFUSED
            : this.place(head, pending.channel);
        if (this.dead) return;
        pending.begun = offer === BEGUN;
        if (offer !== ACCEPTED) return;
        pending.index++;
        this.waiting--;
      }
      this.queue.shift();
      pending.resolve();
    } catch (error) {
      this.queue.shift();
      this.waiting -= pending.left;
      this.giveUp(pending, error as BusbarError);
    }
  }

  private handleSubmitError(result: number): void {
    const error = errorOf(result, 'sending');
    if (error.code === 'ERR_AGAIN') this.block();
    // Somebody wrote over staged records, through a reservation that was committed.
    else if (error.code === 'ERR_INVALID_ARGUMENT') this.lose(error);
    else this.fail(error);
  }

  private lose(cause: BusbarError): void {
    const lost = this.staging.reset();
    const message = `${lost} accepted messages are lost, as their memory was taken away`;
    this.host.report(new BusbarError('ERR_BUFFER_DETACHED', message, { cause }));
  }
}

/** One promise for all sends that need not wait. */
const DONE: Promise<void> = Promise.resolve();

/** Records after which the first run of a turn is submitted: soon, for the peer to begin. */
const PUBLISH_EVERY = 16;

/** Records of later runs at most: beyond, the native call no longer shows in the cost of a record. */
const PUBLISH_EVERY_MAX = 256;

const UTF8_BYTES_MAX = 3;

/** A text is immutable anyway; encoding it once is cheaper than at every offer. */
function ownText<T>(message: T): T | Buffer {
  return typeof message === 'string' ? Buffer.from(message) : message;
}
