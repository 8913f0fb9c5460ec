/**
 * The receiving half of a pipe: pulls batches out of the core for whoever wants messages.
 *
 * Either one consumer gets borrowed batches, or waiters (receive, iterators, borrow) are served in
 * order. The core is asked to report Readable while somebody waits, and until a report finds
 * nobody. After the pipe has ended, what had arrived is still given out.
 */

import { BusbarError, invalidArgument } from '../errors.js';
import { BatchView } from './batch.js';
import { READABLE } from './binding.js';
import { Consumer, type BatchCallback } from './consumer.js';
import { Deque } from './deque.js';
import { Reader, type ReaderHost } from './reader.js';
import { Deadline, checkWait, type WaitOptions } from './wait.js';
import { Waiter, type Grade } from './waiter.js';

/** What an inbox needs of its pipe. */
export interface InboxHost extends ReaderHost {
  want(bit: number): void;
  unwant(bit: number): void;
  /** The program is done with all messages but `left`, which it has not got yet. */
  processed(left: number): void;
}

/** Why nothing more will arrive. */
export interface End {
  readonly error: BusbarError;
  readonly clean: boolean;
}

export class Inbox {
  private readonly host: InboxHost;
  private readonly reader: Reader;
  private readonly waiters = new Deque<Waiter<unknown>>();
  private consumer: Consumer | null = null;
  private end: End | null = null;

  /** `isExact`: nothing is taken from the core before it is asked for. */
  constructor(host: InboxHost, isExact = false) {
    this.host = host;
    this.reader = new Reader(host, isExact);
  }

  /** Whether `error` only says that the pipe has ended in an orderly way. */
  isOrderlyEnd(error: unknown): boolean {
    return this.end !== null && this.end.clean && this.end.error === error;
  }

  /** The next value if there is likely to be one at once, and nobody waits already. */
  take<T>(grade: Grade<T>): T | null {
    if (this.consumer !== null) throw busy(grade.what);
    this.acknowledge();
    return this.waiters.length > 0 || this.reader.shouldWait() ? null : grade.read(this.reader);
  }

  /** The next value if there is one and nobody waits already; throws when none will ever come. */
  tryReceive<T>(grade: Grade<T>): T | null {
    if (this.consumer !== null) throw busy(grade.what);
    this.acknowledge();
    const value = this.waiters.length > 0 ? null : grade.read(this.reader);
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
      if (options !== undefined && checkWait(options, 'consume()')) {
        consumer.deadline = new Deadline(options, 'consume()', (error) => {
          this.stop(consumer, error);
        });
      }
      this.host.want(READABLE);
      // What was fetched before is not announced again, and a callback is never called from here.
      const isReady = this.reader.hasFetched || this.end !== null;
      if (isReady) process.nextTick(() => this.resume(consumer));
    });
  }

  /** Messages taken out of the core that the program has not got. */
  get unread(): number {
    return this.reader.fetched;
  }

  /** The program is done with what it has got. What is discarded at the end, it never got. */
  acknowledge(): void {
    if (this.end === null) this.host.processed(this.unread);
  }

  handleReadable(): void {
    this.reader.handleReadable();
    if (this.consumer !== null) {
      this.converse(this.consumer);
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
    this.reader.isEnded = true;
    if (this.consumer !== null) this.resume(this.consumer);
    else this.serveWaiters();
    for (const waiter of this.waiters.drain()) waiter.reject(end.error);
    this.reader.drain();
  }

  /** Nothing more is to be given out: this end has closed. */
  discard(end: End): void {
    const { error } = (this.end ??= end);
    this.reader.discard();
    for (const waiter of this.waiters.drain()) waiter.reject(error);
    if (this.consumer !== null) this.conclude(this.consumer);
  }

  private serveWaiters(): void {
    while (this.waiters.peek()?.serve(this.reader) === true) this.waiters.shift();
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

  /** Gives the consumer a batch, and further ones while it answers and is answered at once. */
  private converse(consumer: Consumer): void {
    const { port, spins } = this.host;
    for (let left = CONVERSE_MAX; left > 0; left--) {
      const { sends } = port;
      if (!this.pull(consumer) || !spins || this.consumer !== consumer) return;
      port.flush();
      if (port.sends === sends) return;
      port.lookAhead();
    }
  }

  /** Gives the consumer one batch; `false` if there is none. */
  private pull(consumer: Consumer): boolean {
    const { port, handle } = this.host;
    if (this.reader.hasFetched) {
      this.deliver(consumer, this.reader.takeFetched(consumer.max));
      return true;
    }
    if (this.reader.isEmpty) return false;
    const arena = port.enterArena();
    try {
      const count = port.receive(handle, arena.bytes, 0, consumer.max);
      this.host.fetched(count);
      if (count <= 0) {
        this.reader.foundNothing();
        return false;
      }
      const batch = new BatchView(port, arena, port.slots, count, null, this.host.receipts);
      port.active = batch;
      this.deliver(consumer, batch);
      return true;
    } finally {
      port.leaveArena();
    }
  }

  private deliver(consumer: Consumer, batch: BatchView): void {
    const failure = consumer.deliver(batch);
    if (failure === null) this.acknowledge();
    else if (this.consumer === consumer) this.stop(consumer, failure.cause);
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

/** Batches that a consumer gets at once, so that the event loop has its turn. */
const CONVERSE_MAX = 32;

function busy(what: string): BusbarError {
  const message = `${what} cannot be used while consume() or another reader is at work on the pipe`;
  return invalidArgument(message);
}

function tooMany(): BusbarError {
  const message = `${WAITERS_MAX} calls wait for messages of this pipe already; await some first`;
  return new BusbarError('ERR_AGAIN', message);
}
