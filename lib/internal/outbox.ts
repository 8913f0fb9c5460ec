/**
 * The sending half of a pipe: messages are placed by a {@link Sender}, or wait in a queue while the
 * core has no room, all in the order of the calls.
 *
 * What waits is placed, first to last, when the core reports Writable.
 */

import { BusbarError, invalidArgument, show } from '../errors.js';
import { WRITABLE } from './binding.js';
import { bytesOf, detached } from './bytes.js';
import { Deque } from './deque.js';
import { Loaned, PendingSend, type Sendable } from './pending.js';
import type { Terms } from './qos.js';
import { INLINE_MAX } from './record.js';
import { ACCEPTED, BEGUN, REFUSED, Sender, type Offer, type SenderHost } from './sender.js';
import { Deadline, SEND_OPTIONS, checkWait, type WaitOptions } from './wait.js';

/** Limits of an outbox. */
export interface OutboxLimits {
  readonly maxMessageBytes: number;
  readonly maxPendingSends: number;
}

export class Outbox {
  readonly sender: Sender;
  /** Called once {@link Outbox.isIdle} is true. */
  onIdle: (() => void) | null = null;

  protected readonly host: SenderHost;
  private readonly maxPending: number;
  private readonly queue = new Deque<PendingSend>();
  /** Messages in `queue`. */
  private waiting = 0;
  /** Why no message is accepted any more. */
  private refusal: BusbarError | null = null;
  /** Sends that did not have to wait, since one did. */
  private unbroken = 0;
  /** Whether the queue is empty and nothing is refused. */
  private isOpen = true;

  constructor(
    host: SenderHost,
    limits: OutboxLimits,
    sender: Sender = new Sender(host, limits.maxMessageBytes),
  ) {
    this.host = host;
    this.sender = sender;
    this.maxPending = limits.maxPendingSends;
  }

  /** Whether a message may be placed now: nothing waits, and nothing says otherwise. */
  get isReady(): boolean {
    return this.isOpen && !this.sender.isBlocked;
  }

  /** Messages that the core has not taken. */
  get queued(): number {
    return this.sender.staging.count + this.waiting;
  }

  /** Whether everything accepted has been submitted. */
  get hasSubmitted(): boolean {
    return this.queue.length === 0 && this.sender.staging.isEmpty;
  }

  /** Whether nothing accepted waits any more. */
  get isIdle(): boolean {
    return this.hasSubmitted;
  }

  /** Sends now or not at all. */
  trySend(data: Sendable, channel: number, _terms: Terms | null = null): boolean {
    const offer = this.offer(data, channel);
    if (offer === BEGUN && this.host.port.native.abandon(this.host.handle)) throw neverAtOnce();
    return offer === ACCEPTED;
  }

  /** Sends now or when there is room. */
  send(
    data: Sendable,
    channel: number,
    options: WaitOptions | undefined,
    _terms: Terms | null = null,
  ): Promise<void> {
    let offer: Offer;
    try {
      if (options !== undefined) checkWait(options, 'send()', SEND_OPTIONS);
      offer = this.offer(data, channel);
    } catch (error) {
      return Promise.reject(error);
    }
    // Those who await this may never end the turn: do not collect more than at its beginning.
    this.sender.restart();
    if (offer === ACCEPTED) return this.accepted();
    return this.enqueue([data], channel, offer, options, 'send()');
  }

  /**
   * Sends as many as possible now, the rest when there is room. `isRest` says that they are the
   * rest of a batch themselves.
   */
  sendBatch(
    messages: readonly Sendable[],
    channel: number,
    options: WaitOptions | undefined,
    _terms: Terms | null = null,
    isRest = false,
  ): Promise<void> {
    let offer: Offer = ACCEPTED;
    let sent = 0;
    try {
      if (!Array.isArray(messages)) {
        throw invalidArgument(`messages is ${show(messages)}; it must be an array`);
      }
      if (options !== undefined) checkWait(options, 'sendBatch()', SEND_OPTIONS);
    } catch (error) {
      return Promise.reject(error);
    }
    try {
      while (sent < messages.length) {
        if (this.isReady) sent = this.sender.placeRun(messages, sent, channel);
        if (sent === messages.length) break;
        offer = this.offer(messages[sent] as Sendable, channel);
        if (offer !== ACCEPTED) break;
        sent++;
      }
    } catch (error) {
      return Promise.reject(atIndex(error, sent));
    }
    if (offer === ACCEPTED) return this.accepted();
    const rest = messages.slice(sent);
    return this.enqueue(rest, channel, offer, options, 'sendBatch()', isRest || sent > 0);
  }

  /** What a call gives that did not have to wait. */
  accepted(): Promise<void> {
    return ++this.unbroken < UNBROKEN_MAX ? DONE : this.pause();
  }

  /** Sends a loan now, or when there is room if it may wait; otherwise gives `null`. */
  sendLoan(loan: Loaned, channel: number, wait: WaitOptions | null): Promise<void> | null {
    this.checkOpen();
    if (this.isReady && this.sender.placeLoan(loan, channel)) return DONE;
    return wait === null ? null : this.enqueue([loan], channel, REFUSED, wait, 'commit()');
  }

  handleWritable(): void {
    const { sender, queue } = this;
    if (sender.isDead) return;
    sender.unblock();
    while (!sender.isBlocked && queue.length > 0) this.serve(queue.peek() as PendingSend);
    sender.flush();
    if (sender.isBlocked) return;
    this.host.unwant(WRITABLE);
    this.isOpen = this.refusal === null;
    if (this.onIdle !== null && this.isIdle) this.onIdle();
  }

  /** Refuses what comes; what was accepted is still sent. */
  seal(error: BusbarError): void {
    this.refusal = error;
    this.isOpen = false;
    this.sender.flush();
  }

  /** Refuses what comes and what waits. What is staged is lost. */
  fail(error: BusbarError): void {
    this.refusal = error;
    this.isOpen = false;
    this.sender.kill();
    this.waiting = 0;
    for (const pending of this.queue.drain()) pending.reject(error);
  }

  /** Throws if no message is accepted any more. */
  checkOpen(): void {
    if (this.refusal !== null) throw this.refusal;
  }

  /** Places a message, unless it must wait for others. */
  private offer(data: Sendable, channel: number): Offer {
    if (this.isReady && data instanceof Uint8Array) {
      const length = data.length;
      if (length > 0 && length <= INLINE_MAX) return this.sender.placeSmall(data, length, channel);
    }
    this.checkOpen();
    if (this.isReady) return this.sender.place(data, channel);
    // Only what can be sent may wait.
    if (typeof data !== 'string') this.sender.checkLength(bytesOf(data).length);
    return REFUSED;
  }

  private enqueue(
    messages: readonly (Sendable | Loaned)[],
    channel: number,
    offer: Offer,
    options: WaitOptions | undefined,
    what: string,
    isRest = false,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const own = messages.map(ownText);
      const pending = new PendingSend(own, channel, resolve, reject);
      pending.begun = offer === BEGUN;
      const refusal = this.refusal ?? (isRest ? null : this.overflow(own.length, this.waiting));
      if (refusal !== null) return this.giveUp(pending, refusal);
      if (options !== undefined && checkWait(options, what, SEND_OPTIONS)) {
        pending.deadline = new Deadline(options, what, (error) => {
          this.queue.remove(pending);
          this.waiting -= pending.left;
          this.giveUp(pending, error);
          if (this.onIdle !== null && this.isIdle) this.onIdle();
        });
      }
      this.isOpen = false;
      this.queue.push(pending);
      this.waiting += own.length;
    });
  }

  /**
   * Why `count` more messages must not wait where `waiting` do. A batch may wait alone, whatever
   * its size; the rest of a batch that was sent in part may always, since a retry would send that
   * part twice.
   */
  protected overflow(count: number, waiting: number): BusbarError | null {
    const limit = this.maxPending;
    if (waiting + count <= limit || (waiting === 0 && limit > 0)) return null;
    const message = `${waiting} messages wait already and maxPendingSends is ${limit}`;
    return new BusbarError('ERR_AGAIN', `${message}; await earlier sends first, or raise it`);
  }

  /** Lets the event loop turn, for programs that await one send after the other for ever. */
  private pause(): Promise<void> {
    this.unbroken = 0;
    return new Promise((resolve) => {
      setImmediate(resolve);
    });
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
            ? this.sender.placeLoan(head, pending.channel)
              ? ACCEPTED
              : REFUSED
            : this.sender.place(head, pending.channel);
        if (this.sender.isDead) return;
        pending.begun = offer === BEGUN;
        if (offer !== ACCEPTED) return;
        pending.index++;
        this.waiting--;
      }
      this.queue.shift();
      this.host.port.sendWaits.record(performance.now() - pending.since);
      pending.resolve();
    } catch (error) {
      // The failure of the pipe has rejected everything that waited.
      if (this.sender.isDead) return;
      this.queue.shift();
      this.waiting -= pending.left;
      this.giveUp(pending, error as BusbarError);
    }
  }
}

/** Sends in a row that need not wait: some milliseconds of them. */
const UNBROKEN_MAX = 4096;

/** One promise for all sends that need not wait. */
export const DONE: Promise<void> = Promise.resolve();

/** Says which of several messages cannot be sent. */
function atIndex(error: unknown, index: number): unknown {
  if (!(error instanceof BusbarError) || error.code !== 'ERR_INVALID_ARGUMENT') return error;
  return invalidArgument(`message ${index} of the batch: ${error.message}`);
}

function neverAtOnce(): BusbarError {
  const message = 'the message is larger than ringBytes and slabBytes, so it cannot go out at once';
  return new BusbarError('ERR_MESSAGE_TOO_LARGE', `${message}; use send(), or raise slabBytes`);
}

/** A text is immutable anyway; encoding it once is cheaper than at every offer. */
function ownText<T>(message: T): T | Buffer {
  return typeof message === 'string' ? Buffer.from(message) : message;
}
