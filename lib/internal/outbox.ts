/**
 * The sending half of a pipe: small messages are staged and go out many at a time, large ones one by
 * one, all in the order of the calls.
 *
 * | | small message | large message |
 * |---|---|---|
 * | ready | staged; submitted every 16, when full, or at the end of the turn | offered to the core |
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

/** How an offer ended. */
const enum Offer {
  /** Not now, and nothing has happened. */
  Refused,
  /** Not now, but the core may have sent a part: offer the same again, or abandon it. */
  Begun,
  Accepted,
}

export class Outbox implements Flushable {
  dirty = false;
  readonly staging: Staging = new Staging();
  /** Called once everything accepted has been submitted. */
  onIdle: (() => void) | null = null;
  readonly host: OutboxHost;
  private readonly limits: OutboxLimits;
  private readonly queue = new Deque<PendingSend>();
  /** Messages in `queue`. */
  private waiting = 0;
  /** Whether a message may be offered past the queue: it is empty and nothing was refused. */
  private ready = true;
  private closed: BusbarError | null = null;

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

  /** Whether a message would be accepted past the queue, were there room. */
  get isReady(): boolean {
    return this.ready && this.closed === null;
  }

  /** Sends now or not at all. */
  trySend(data: Sendable, channel: number): boolean {
    const offer = this.offer(data, channel);
    if (offer === Offer.Begun) this.host.port.native.abandon(this.host.handle);
    return offer === Offer.Accepted;
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
    if (offer === Offer.Accepted) return ACCEPTED;
    return this.enqueue([ownText(data)], channel, offer === Offer.Begun, options, 'send()');
  }

  /** Sends as many as possible now, the rest when there is room. */
  sendBatch(
    messages: readonly Sendable[],
    channel: number,
    options: WaitOptions | undefined,
  ): Promise<void> {
    let offer: Offer = Offer.Accepted;
    let sent = 0;
    try {
      if (!Array.isArray(messages)) {
        throw invalidArgument(`messages is ${show(messages)}; it must be an array`);
      }
      if (options !== undefined) checkWait(options, 'sendBatch()');
      for (; sent < messages.length; sent++) {
        offer = this.offer(messages[sent] as Sendable, channel);
        if (offer !== Offer.Accepted) break;
      }
    } catch (error) {
      return Promise.reject(error);
    }
    if (offer === Offer.Accepted) return ACCEPTED;
    const rest = messages.slice(sent).map(ownText);
    return this.enqueue(rest, channel, offer === Offer.Begun, options, 'sendBatch()');
  }

  /** Sends a loan now or when there is room; `null` if it can not be now and must not wait. */
  sendLoan(loan: Loaned, channel: number, mayWait: boolean): Promise<void> | null {
    if (this.closed !== null) return Promise.reject(this.closed);
    if (this.offerLoan(loan, channel)) return ACCEPTED;
    return mayWait ? this.enqueue([loan], channel, false, undefined, 'commit()') : null;
  }

  /** Submits what is staged. */
  flush(): void {
    const { staging, host } = this;
    if (staging.isEmpty || this.closed !== null) return;
    if (staging.bytes.length === 0) return this.staleStaging();
    const { start, end } = staging;
    const taken = host.port.native.submit(host.handle, staging.bytes, start, end);
    if (taken < 0) return this.broken(errorOf(taken, 'sending'));
    staging.taken(taken);
    if (taken < end - start) this.block();
  }

  handleWritable(): void {
    if (this.closed !== null) return;
    this.ready = true;
    this.flush();
    while (this.ready && this.queue.length > 0) this.serve(this.queue.peek() as PendingSend);
    this.flush();
    if (!this.ready) return;
    this.host.unwant(WRITABLE);
    if (this.onIdle !== null && this.isIdle) this.onIdle();
  }

  /** Refuses what waits and what comes. Staged messages are lost. */
  fail(error: BusbarError): void {
    if (this.closed !== null) return;
    this.closed = error;
    this.ready = false;
    this.staging.reset();
    this.waiting = 0;
    for (const pending of this.queue.drain()) pending.reject(error);
  }

  /** Refuses what comes; what was accepted is still sent. */
  seal(error: BusbarError): void {
    this.sealed = error;
    this.flush();
  }

  /** Adds the record of a reservation that lies in staging. */
  commitStaged(length: number, channel: number): void {
    this.staging.commit(length, channel);
    this.staged();
  }

  /** Throws unless a message of `length` bytes may be sent. */
  checkLength(length: number): void {
    const limit = this.limits.maxMessageBytes;
    if (length <= limit) return;
    const message = `a message of ${length} bytes exceeds maxMessageBytes, which is ${limit}`;
    throw new BusbarError('ERR_MESSAGE_TOO_LARGE', `${message}; send less, or raise it on both ends`);
  }
}
