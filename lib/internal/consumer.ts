/** The callback of `consume()` and the promise that tells when it is over. */

import type { Batch } from '../batch.js';
import { invalidArgument } from '../errors.js';
import type { BatchView } from './batch.js';
import type { Deadline } from './wait.js';

/** Gets each batch; must be done with it when it returns. */
export type BatchCallback = (batch: Batch) => void;

/** What is wrong with a consumer; wrapped, since anything can be thrown. */
export interface Failure {
  readonly cause: unknown;
}

export class Consumer {
  deadline: Deadline | null = null;
  readonly max: number;
  private readonly callback: (batch: Batch) => unknown;
  private readonly done: () => void;
  private readonly fail: (error: unknown) => void;

  constructor(
    callback: BatchCallback,
    max: number,
    resolve: () => void,
    reject: (error: unknown) => void,
  ) {
    this.callback = callback;
    this.max = max;
    this.done = resolve;
    this.fail = reject;
  }

  /** Calls back with a batch and ends the batch. Returns why there must be no further call. */
  deliver(batch: BatchView): Failure | null {
    try {
      const result = this.callback(batch);
      return isThenable(result) ? { cause: asynchronous(result) } : null;
    } catch (cause) {
      return { cause };
    } finally {
      batch.expire();
    }
  }

  resolve(): void {
    this.deadline?.disarm();
    this.done();
  }

  reject(error: unknown): void {
    this.deadline?.disarm();
    this.fail(error);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value;
}

function asynchronous(result: PromiseLike<unknown>): Error {
  // It will most likely fail on the expired batch; that failure is a consequence of this one.
  Promise.resolve(result).catch(() => {});
  return invalidArgument(
    'the callback of consume() returned a promise; it must be synchronous, as the batch is gone ' +
      'when it returns: use batches() to await in between',
  );
}
