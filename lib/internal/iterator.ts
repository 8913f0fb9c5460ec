/** Async iteration over messages or batches of them, without a generator's cost per message. */

import type { Inbox } from './inbox.js';
import { checkWait, type WaitOptions } from './wait.js';
import { Waiter, type Grade } from './waiter.js';

/**
 * Ends after an orderly close, throws after a failure. `return()` ends a pending `next()`; messages
 * that were not yet given out stay with the pipe.
 */
export class MessageIterator<T> implements AsyncIterableIterator<T, undefined> {
  private readonly inbox: Inbox;
  private readonly grade: Grade<T>;
  private readonly options: WaitOptions | undefined;
  private over = false;
  /** Those `next()` calls that wait, and how to end each. */
  private readonly pending = new Map<Waiter<T>, () => void>();

  constructor(inbox: Inbox, grade: Grade<T>, options: WaitOptions | undefined) {
    this.inbox = inbox;
    this.grade = grade;
    this.options = options;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.over) return Promise.resolve(DONE);
    try {
      if (this.options !== undefined) checkWait(this.options, this.grade.what);
      const value = this.inbox.take(this.grade);
      if (value !== null) return Promise.resolve({ done: false, value });
    } catch (error) {
      this.over = true;
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter<T> = new Waiter(
        this.grade,
        (value) => {
          this.pending.delete(waiter);
          resolve({ done: false, value });
        },
        (error) => {
          this.pending.delete(waiter);
          const ended = this.over || this.inbox.isOrderlyEnd(error);
          this.over = true;
          if (ended) resolve(DONE);
          else reject(error);
        },
      );
      this.pending.set(waiter, () => resolve(DONE));
      try {
        this.inbox.wait(waiter, this.options);
      } catch (error) {
        waiter.reject(error);
      }
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.over = true;
    for (const [waiter, end] of this.pending) {
      this.inbox.cancel(waiter);
      end();
    }
    this.pending.clear();
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** Iterates over what `map` makes of each value. */
export class MappedIterator<S, T> implements AsyncIterableIterator<T, undefined> {
  private readonly inner: MessageIterator<S>;
  private readonly map: (result: IteratorResult<S, undefined>) => IteratorResult<T, undefined>;

  constructor(inbox: Inbox, grade: Grade<S>, map: (value: S) => T) {
    this.inner = new MessageIterator(inbox, grade, undefined);
    this.map = (result) => {
      return result.done === true ? result : { done: false, value: map(result.value) };
    };
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return this.inner.next().then(this.map);
  }

  return(): Promise<IteratorResult<T, undefined>> {
    return this.inner.return().then(this.map);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

const DONE: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined });
