/**
 * The receiving half of a pipe: pulls batches out of the core for whoever wants messages.
 *
 * Either one consumer gets borrowed batches, or waiters (receive, iterators, borrow) are served in
 * order. The core is asked to report Readable while somebody waits, and until a report finds
 * nobody. After the pipe has ended, what had arrived is still given out.
 */

import { BusbarError, invalidArgument } from '../errors.js';
import type { Loan } from '../loan.js';
import { BatchView } from './batch.js';
import { READABLE, isLeased } from './binding.js';
import { CHUNK_BYTES, sliceOf } from './chunk.js';
import { Consumer, type BatchCallback } from './consumer.js';
import { Deque } from './deque.js';
import { copyLarge, lendLarge } from './large.js';
import { LoanView } from './loan.js';
import { BATCH_MAX, type Port } from './port.js';
import { Prefetch, ROOM_MIN } from './prefetch.js';
import { Deadline, checkWait, type WaitOptions } from './wait.js';
import { Waiter, type Grade, type Source } from './waiter.js';

/** What an inbox needs of its pipe. */
export interface InboxHost {
  readonly port: Port;
  readonly handle: number;
  want(bit: number): void;
  unwant(bit: number): void;
  /** The pipe has ended and nothing is left in the core. */
  drained(): void;
}

/** Why nothing more will arrive. */
export interface End {
  readonly error: BusbarError;
  readonly clean: boolean;
}

export class Inbox implements Source {
  private readonly host: InboxHost;
  private readonly prefetch = new Prefetch();
  private readonly waiters = new Deque<Waiter<unknown>>();
  private consumer: Consumer | null = null;
  private end: End | null = null;
  private empty = false;
  /** Most messages to take at once; small while large ones come, which are copied at once. */
  private appetite = APPETITE_MIN;

  constructor(host: InboxHost) {
    this.host = host;
  }

  /** Whether `error` only says that the pipe has ended in an orderly way. */
  isOrderlyEnd(error: unknown): boolean {
    return this.end !== null && this.end.clean && this.end.error === error;
  }

  /** The next value if it is there at once and nobody waits already. */
  take<T>(grade: Grade<T>): T | null {
    if (this.consumer !== null) throw busy(grade.what);
    return this.waiters.length === 0 ? grade.read(this) : null;
  }

  /** As {@link Inbox.take}; throws when nothing will ever come. */
  tryReceive<T>(grade: Grade<T>): T | null {
    const value = this.take(grade);
    if (value === null && this.end !== null) throw this.end.error;
    return value;
  }

  /** The next value, when it comes. */
  receive<T>(grade: Grade<T>, options: WaitOptions | undefined): Promise<T> {
    try {
      if (options !== undefined) checkWait(options, grade.what);
      const value = this.take(grade);
      if (value !== null) return Promise.resolve(value);
    } catch (error) {
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.wait(new Waiter(grade, resolve, reject), options);
    });
  }

  /** Queues a waiter; it is rejected at once if nothing will come, or too many wait. */
  wait<T>(waiter: Waiter<T>, options: WaitOptions | undefined): void {
    const queued = waiter as Waiter<unknown>;
    if (this.end !== null) return queued.reject(this.end.error);
    if (this.waiters.length >= WAITERS_MAX) return queued.reject(tooMany());
    if (options !== undefined && checkWait(options, waiter.grade.what)) {
      queued.deadline = new Deadline(options, waiter.grade.what, (error) => {
        this.waiters.remove(queued);
        queued.reject(error);
      });
    }
    this.waiters.push(queued);
    this.host.want(READABLE);
  }

  /** Takes a waiter out, unserved. */
  cancel<T>(waiter: Waiter<T>): void {
    this.waiters.remove(waiter as Waiter<unknown>);
    waiter.deadline?.disarm();
  }

  /** Gives batches to `callback` until the pipe ends. */
  consume(callback: BatchCallback, max: number, options: WaitOptions | undefined): Promise<void> {
    try {
      if (options !== undefined) checkWait(options, 'consume()');
      if (this.consumer !== null || this.waiters.length > 0) throw busy('consume()');
    } catch (error) {
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      const consumer = new Consumer(callback, max, resolve, reject);
      this.consumer = consumer;
      if (options?.signal !== undefined) {
        consumer.deadline = new Deadline(options, 'consume()', (error) => this.stop(consumer, error));
      }
      this.host.want(READABLE);
      // What was fetched before is not announced again, and a callback is never called from here.
      if (this.prefetch.length > 0 || this.end !== null) process.nextTick(() => this.resume(consumer));
    });
  }

  handleReadable(): void {
    if (this.consumer !== null) {
      this.pull(this.consumer);
    } else if (this.waiters.length > 0) {
      this.serveWaiters();
    } else {
      this.host.unwant(READABLE);
    }
  }

  /** Nothing more will arrive; what had arrived is given out first. */
  finish(end: End): void {
    if (this.end !== null) return;
    this.end = end;
    if (this.consumer !== null) return this.resume(this.consumer);
    this.serveWaiters();
    for (const waiter of this.waiters.drain()) waiter.reject(end.error);
    // Most often nothing is left, and then the pipe's memory need not wait for anybody.
    if (this.prefetch.length === 0) this.refill();
  }

  /** Nothing more is to be given out: this end has closed. */
  discard(end: End): void {
    const { error } = (this.end ??= end);
    this.empty = true;
    this.prefetch.clear();
    for (const waiter of this.waiters.drain()) waiter.reject(error);
    if (this.consumer !== null) this.conclude(this.consumer);
  }

  readMessage(): Buffer | null {
    if (this.prefetch.length === 0 && !this.refill()) return null;
    return this.prefetch.take();
  }

  readLoan(): Loan | null {
    if (this.prefetch.length > 0) return this.prefetch.takeLoan();
    if (this.empty) return null;
    const { port, handle } = this.host;
    const { chunk, slots } = port;
    chunk.ensure(ROOM_MIN);
    if (port.receive(handle, chunk.bytes, chunk.used, 1) <= 0) {
      this.foundNothing();
      return null;
    }
    const [offset, length, meta] = slots as unknown as [number, number, number];
    if (isLeased(meta)) return lendLarge(port, offset, length, meta & 0xffff);
    const at = chunk.used + offset;
    chunk.used = (at + length + 7) & ~7;
    return new LoanView(sliceOf(chunk.memory, at, length), meta & 0xffff, null, 0);
  }

  readMessages(max: number): Buffer[] | null {
    const messages: Buffer[] = [];
    while (messages.length < max && this.prefetch.length > 0) messages.push(this.prefetch.take());
    if (messages.length === 0 && !this.empty) {
      while (messages.length < max && this.readChunk(messages, max));
      if (messages.length === 0) this.foundNothing();
    }
    return messages.length > 0 ? messages : null;
  }

  /** Adds what one native call gives; `true` if there may be more. */
  private readChunk(messages: Buffer[], max: number): boolean {
    const { port, handle } = this.host;
    const { chunk, slots } = port;
    chunk.ensure(ROOM_MIN);
    const { memory, used: base } = chunk;
    const wanted = Math.min(max - messages.length, this.appetite);
    const first = messages.length;
    const count = port.receive(handle, chunk.bytes, base, wanted);
    let end = base;
    let leased = false;
    for (let at = 0; at < 3 * count; at += 3) {
      if (isLeased(slots[at + 2] as number)) {
        leased = true;
        messages.push(NOTHING);
      } else {
        const start = base + (slots[at] as number);
        const length = slots[at + 1] as number;
        messages.push(sliceOf(memory, start, length));
        end = start + length;
      }
    }
    chunk.used = (end + 7) & ~7;
    this.learn(count, leased);
    if (leased) {
      this.copyLeased(messages, first, count);
      return false;
    }
    // Fewer than wanted, though there was room: that was all.
    return count > 0 && (count === wanted || CHUNK_BYTES - chunk.used < ROOM_MIN);
  }

  private copyLeased(messages: Buffer[], first: number, count: number): void {
    const { port } = this.host;
    for (let i = 0; i < count; i++) {
      const [offset, length, meta] = port.slots.subarray(3 * i) as unknown as number[];
      if (isLeased(meta as number)) {
        messages[first + i] = copyLarge(port, offset as number, length as number);
      }
    }
  }

  private refill(): boolean {
    if (this.empty) return false;
    const { port, handle } = this.host;
    const count = this.prefetch.fill(port, handle, this.appetite);
    this.learn(count, this.prefetch.hasLarge);
    if (count === 0) this.foundNothing();
    return count > 0;
  }

  private learn(count: number, large: boolean): void {
    if (large) this.appetite = APPETITE_MIN;
    else if (count === this.appetite) this.appetite = Math.min(this.appetite * 8, BATCH_MAX);
  }

  private foundNothing(): void {
    if (this.end === null || this.empty) return;
    this.empty = true;
    this.host.drained();
  }

  private serveWaiters(): void {
    while (this.waiters.peek()?.serve(this) === true) this.waiters.shift();
  }

  /** Gives the consumer what can be had without waiting for another report. */
  private resume(consumer: Consumer): void {
    if (this.consumer !== consumer) return;
    if (this.end === null) {
      this.pull(consumer);
      return;
    }
    while (this.consumer === consumer && this.pull(consumer));
    if (this.consumer === consumer) this.conclude(consumer);
  }

  /** Gives the consumer one batch; `false` if there is none. */
  private pull(consumer: Consumer): boolean {
    const { port, handle } = this.host;
    if (this.prefetch.length > 0) {
      this.deliver(consumer, this.prefetch.takeBatch(port));
      return true;
    }
    if (this.empty) return false;
    const arena = port.enterArena();
    try {
      const count = port.receive(handle, arena, 0, consumer.max);
      if (count <= 0) {
        this.foundNothing();
        return false;
      }
      const batch = new BatchView(port, arena, port.slots, count, null);
      port.active = batch;
      this.deliver(consumer, batch);
      return true;
    } finally {
      port.leaveArena();
    }
  }

  private deliver(consumer: Consumer, batch: BatchView): void {
    const failure = consumer.deliver(batch);
    if (failure !== null && this.consumer === consumer) this.stop(consumer, failure.cause);
  }

  private stop(consumer: Consumer, error: unknown): void {
    this.consumer = null;
    consumer.reject(error);
  }

  private conclude(consumer: Consumer): void {
    this.consumer = null;
    const end = this.end as End;
    if (end.clean) consumer.resolve();
    else consumer.reject(end.error);
  }
}

/** Most calls that may wait for messages of one pipe. */
export const WAITERS_MAX = 1024;

const APPETITE_MIN = 8;

const NOTHING = Buffer.alloc(0);

function busy(what: string): BusbarError {
  const message = `${what} cannot be used while consume() or another reader is at work on the pipe`;
  return invalidArgument(message);
}

function tooMany(): BusbarError {
  const message = `${WAITERS_MAX} calls wait for messages of this pipe already; await some first`;
  return new BusbarError('ERR_AGAIN', message);
}
