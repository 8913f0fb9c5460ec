/**
 * The sending half of a pipe that has a queue in the core.
 *
 * Every message is offered to that queue at once, because its promise says what became of it. Only
 * those that are refused and may wait are kept here, by *lane*: those of a channel with options of
 * its own, and those of all others. Lanes do not wait for each other. Announcements have a lane
 * that is served first, and no limits hold there: the values behind them may be in any other.
 */

import { BusbarError, invalidArgument, show } from '../errors.js';
import type { Backpressure } from '../qos.js';
import { ANNOUNCEMENTS } from './announcement.js';
import { WRITABLE } from './binding.js';
import { bytesOf, detached } from './bytes.js';
import { Deque } from './deque.js';
import { DONE, Outbox, type OutboxLimits } from './outbox.js';
import { Loaned, PendingSend, type Sendable } from './pending.js';
import { POLICIES, STANDARD_LANE, type LaneSettings, type QosSettings, type Terms } from './qos.js';
import { refusalOf } from './refusal.js';
import { ACCEPTED, REFUSED, Sender, type Offer, type SenderHost } from './sender.js';
import { Deadline, SEND_OPTIONS, checkWait, type WaitOptions } from './wait.js';

/** How else an attempt to place a message ends: it was dropped, and the core has counted it. */
const DROPPED = 3;
type Outcome = Offer | typeof DROPPED;

/** Stages nothing: what cannot be placed at once is not placed. */
class DirectSender extends Sender {
  override makeRoom(): boolean {
    return false;
  }

  override placeRun(_: readonly Sendable[], at: number): number {
    return at;
  }
}

interface Lane {
  readonly settings: LaneSettings;
  readonly queue: Deque<QueuedSend>;
}

/** A call that waits, and what holds for its messages. */
class QueuedSend extends PendingSend {
  terms: Terms | null = null;
  /** When its messages are of no more use, by `performance.now()`. */
  expiresAt = Infinity;
  private timer: NodeJS.Timeout | undefined;

  /** Calls `expire` once its messages are of no more use. */
  arm(ttlMs: number, expire: () => void): void {
    if (ttlMs < 0) return;
    this.expiresAt = performance.now() + ttlMs;
    this.timer = setTimeout(expire, Math.ceil(ttlMs));
  }

  override resolve(): void {
    clearTimeout(this.timer);
    super.resolve();
  }

  override reject(error: unknown): void {
    clearTimeout(this.timer);
    super.reject(error);
  }
}

export class QueuedOutbox extends Outbox {
  private readonly others: Lane;
  /** Of messages that are sent outside the session, under the terms of their channels. */
  private readonly once: Lane;
  private readonly announcements: Lane;
  /** By channel; that of the announcements comes first. */
  private readonly lanes: Map<number, Lane>;
  private pendingMessages = 0;
  /** What was accepted before the pipe had a queue. */
  private readonly previous: Outbox | null;

  constructor(
    host: SenderHost,
    limits: OutboxLimits,
    qos: QosSettings | null,
    previous: Outbox | null,
  ) {
    super(host, limits, new DirectSender(host, limits.maxMessageBytes));
    const laneOf = (settings: LaneSettings): Lane => ({ settings, queue: new Deque() });
    this.others = laneOf(qos?.standard ?? STANDARD_LANE);
    this.once = laneOf(qos?.standard ?? STANDARD_LANE);
    this.announcements = laneOf(STANDARD_LANE);
    this.lanes = new Map([[ANNOUNCEMENTS, this.announcements]]);
    for (const [channel, settings] of qos?.channels ?? []) {
      this.lanes.set(channel, laneOf(settings));
    }
    this.previous = previous;
  }

  override get queued(): number {
    return this.pendingMessages + (this.previous?.queued ?? 0);
  }

  /** Also has the core report Writable when its queue is empty, unless it is. */
  override get isIdle(): boolean {
    const { port, handle } = this.host;
    const isIdleHere = this.pendingMessages === 0 && this.previous?.hasSubmitted !== false;
    return isIdleHere && port.native.drain(handle) <= 0;
  }

  override trySend(data: Sendable, channel: number, terms: Terms | null = null): boolean {
    this.checkOpen();
    return this.offerNow(data, channel, terms) === ACCEPTED;
  }

  override send(
    data: Sendable,
    channel: number,
    options: WaitOptions | undefined,
    terms: Terms | null = null,
  ): Promise<void> {
    return this.sendAll([data], channel, options, terms, 'send()');
  }

  override sendBatch(
    messages: readonly Sendable[],
    channel: number,
    options: WaitOptions | undefined,
    terms: Terms | null = null,
  ): Promise<void> {
    if (Array.isArray(messages)) {
      return this.sendAll(messages, channel, options, terms, 'sendBatch()');
    }
    const message = `messages is ${show(messages)}; it must be an array`;
    return Promise.reject(invalidArgument(message));
  }

  override sendLoan(loan: Loaned, channel: number, wait: WaitOptions | null): Promise<void> | null {
    this.checkOpen();
    const lane = this.laneOf(channel, null);
    if (this.mayGo(lane) && this.commit(loan, channel)) return DONE;
    if (wait === null) return null;
    if (this.policyOf(channel, null) === 'fail-fast') throw noRoom('commit()');
    return this.wait([loan], channel, wait, null, 'commit()', false);
  }

  override handleWritable(): void {
    const { previous, host } = this;
    if (this.sender.isDead) return;
    previous?.handleWritable();
    for (const lane of this.lanes.values()) this.serveLane(lane);
    this.serveLane(this.others);
    this.serveLane(this.once);
    if (this.sender.isDead) return;
    if (this.pendingMessages > 0 || previous?.hasSubmitted === false) return host.want(WRITABLE);
    if (this.onIdle === null) return host.unwant(WRITABLE);
    if (this.isIdle) this.onIdle();
    else host.want(WRITABLE);
  }

  override seal(error: BusbarError): void {
    super.seal(error);
    this.previous?.seal(error);
    this.host.want(WRITABLE);
  }

  override fail(error: BusbarError): void {
    super.fail(error);
    this.previous?.fail(error);
    this.pendingMessages = 0;
    for (const { queue } of [this.others, this.once, ...this.lanes.values()]) {
      for (const pending of queue.drain()) pending.reject(error);
    }
  }

  private sendAll(
    messages: readonly Sendable[],
    channel: number,
    options: WaitOptions | undefined,
    terms: Terms | null,
    what: string,
  ): Promise<void> {
    let sent = 0;
    try {
      if (options !== undefined) checkWait(options, what, SEND_OPTIONS);
      this.checkOpen();
      while (sent < messages.length) {
        const message = messages[sent] as Sendable;
        if (this.offerNow(message, channel, terms) === REFUSED) break;
        sent++;
      }
      if (sent === messages.length) return this.accepted();
      if (this.policyOf(channel, terms) === 'fail-fast') {
        throw noRoom(what);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.wait(messages.slice(sent), channel, options, terms, what, sent > 0);
  }

  /** Offers a message unless others of its lane wait. */
  private offerNow(data: Sendable, channel: number, terms: Terms | null): Outcome {
    const bytes = typeof data === 'string' ? Buffer.from(data) : bytesOf(data);
    this.sender.checkLength(bytes.length);
    return this.mayGo(this.laneOf(channel, terms))
      ? this.offerBytes(bytes, channel, terms)
      : REFUSED;
  }

  private offerBytes(
    bytes: Uint8Array,
    channel: number,
    terms: Terms | null,
    ttlMs: number = terms?.ttlMs ?? -1,
  ): Outcome {
    const { port, handle } = this.host;
    const policy = terms?.backpressure === undefined ? -1 : POLICIES.indexOf(terms.backpressure);
    const result = port.native.sendWith(handle, channel, bytes, policy, ttlMs, isOnce(terms));
    if (result < 0) throw refusalOf(this.host, result, 'sending', bytes.length);
    return ANSWERS[result] ?? ACCEPTED;
  }

  private commit(loan: Loaned, channel: number): boolean {
    const { port, handle } = this.host;
    const result = port.native.commit(handle, loan.id, channel, loan.length);
    if (result < 0) throw refusalOf(this.host, result, 'committing a reservation', loan.length);
    return result > 0;
  }

  /** Keeps messages until there is room for them. */
  private wait(
    messages: readonly (Sendable | Loaned)[],
    channel: number,
    options: WaitOptions | undefined,
    terms: Terms | null,
    what: string,
    isRest: boolean,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const own = messages.map((it) => (typeof it === 'string' ? Buffer.from(it) : it));
      const pending = new QueuedSend(own, channel, resolve, reject);
      pending.terms = terms;
      const lane = this.laneOf(channel, terms);
      const isLimited = !isRest && lane !== this.announcements;
      const waiting = this.pendingMessages - this.announcements.queue.length;
      const refusal = isLimited ? this.overflow(own.length, waiting) : null;
      if (refusal !== null) return pending.reject(refusal);
      const giveUp = (error: BusbarError): void => {
        lane.queue.remove(pending);
        this.pendingMessages -= pending.left;
        pending.reject(error);
      };
      if (options !== undefined && checkWait(options, what, SEND_OPTIONS)) {
        pending.deadline = new Deadline(options, what, giveUp);
      }
      pending.arm(terms?.ttlMs ?? this.laneOf(channel, null).settings.ttlMs, () => {
        giveUp(expired(what));
        this.countExpired(pending);
      });
      lane.queue.push(pending);
      this.pendingMessages += own.length;
      this.host.want(WRITABLE);
    });
  }

  /** Lets the core count what has expired here. */
  private countExpired({ messages, index, channel, terms }: QueuedSend): void {
    try {
      for (const message of messages.slice(index)) {
        if (!(message instanceof Loaned)) this.offerBytes(NOTHING, channel, terms, 0);
      }
    } catch {
      // The pipe is over, which is told elsewhere.
    }
  }

  /** Places as much as possible of what waits in a lane. */
  private serveLane(lane: Lane): void {
    if (this.previous?.hasSubmitted === false) return;
    for (let pending = lane.queue.peek(); pending !== undefined; pending = lane.queue.peek()) {
      try {
        while (pending.left > 0) {
          if (pending.isDetached) throw detached();
          if (!this.offerPending(pending)) return;
          pending.index++;
          this.pendingMessages--;
        }
        lane.queue.shift();
        this.host.port.sendWaits.record(performance.now() - pending.since);
        pending.resolve();
      } catch (error) {
        // The failure of the pipe has rejected everything that waited.
        if (this.sender.isDead || (error as BusbarError).code === 'ERR_CLOSED') return;
        lane.queue.shift();
        this.pendingMessages -= pending.left;
        pending.reject(error);
      }
    }
  }

  private offerPending(pending: QueuedSend): boolean {
    const { head, channel, terms, expiresAt } = pending;
    if (head instanceof Loaned) return this.commit(head, channel);
    const ttlMs = expiresAt === Infinity ? -1 : Math.max(0, expiresAt - performance.now());
    const bytes = bytesOf(head as Exclude<Sendable, string>);
    return this.offerBytes(bytes, channel, terms, ttlMs) !== REFUSED;
  }

  private laneOf(channel: number, terms: Terms | null): Lane {
    if (isOnce(terms)) return this.once;
    return this.lanes.get(channel) ?? this.others;
  }

  private policyOf(channel: number, terms: Terms | null): Backpressure {
    return terms?.backpressure ?? this.laneOf(channel, null).settings.backpressure;
  }

  /** Whether a message need not wait for others. */
  private mayGo(lane: Lane): boolean {
    // A reservation that is older than this outbox stages there: what the core has not refused, it
    // does not ask for either.
    this.previous?.sender.flush();
    return lane.queue.length === 0 && this.previous?.hasSubmitted !== false;
  }
}

/** What the results of `sendWith` mean. */
const ANSWERS: readonly Outcome[] = [REFUSED, ACCEPTED, DROPPED];

function isOnce(terms: Terms | null): boolean {
  return terms !== null && terms.reliable === false;
}

const NOTHING = new Uint8Array(1);

function noRoom(what: string): BusbarError {
  return new BusbarError('ERR_AGAIN', `${what}: there is no room; try again later`);
}

function expired(what: string): BusbarError {
  const message = `${what}: the time to live was over before there was room`;
  return new BusbarError('ERR_EXPIRED', `${message}; raise ttlMs, or send it again`);
}
