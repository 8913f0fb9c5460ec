/** The beginning and the end of a pipe, as promises. */

import type { BusbarError } from '../errors.js';
import { Deadline, checkWait, type WaitOptions } from './wait.js';

/** A pipe that is being connected. */
export class Opening {
  isPending = true;
  private deadline: Deadline | null = null;
  private error: BusbarError | null = null;
  private resolve: () => void = () => {};
  private reject: (error: unknown) => void = () => {};

  /**
   * Settles when the pipe is connected or cannot be; calls `giveUp` when the wait ends early, and
   * rejects with what that returns.
   */
  wait(
    options: WaitOptions,
    what: string,
    giveUp: (error: BusbarError) => BusbarError,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.error !== null) return reject(this.error);
      if (!this.isPending) return resolve();
      this.resolve = resolve;
      this.reject = reject;
      if (!checkWait(options, what)) return;
      this.deadline = new Deadline(options, what, (error) => {
        this.fail(giveUp(error));
      });
    });
  }

  succeed(): void {
    if (!this.isPending) return;
    this.isPending = false;
    this.deadline?.disarm();
    this.resolve();
  }

  fail(error: BusbarError): void {
    if (!this.isPending) return;
    this.isPending = false;
    this.error = error;
    this.deadline?.disarm();
    this.reject(error);
  }
}

/** A pipe that is being closed: what was accepted is still sent, for a while. */
export class Closing {
  readonly done: Promise<void>;
  private readonly expire: () => void;
  private resolve: () => void = () => {};
  private timer: NodeJS.Timeout | undefined;
  private endsAt = Infinity;

  /** Calls `expire` when the time is up. */
  constructor(expire: () => void) {
    this.expire = expire;
    this.done = new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  /** Allows at most `lingerMs` from now; never more than was allowed before. */
  shorten(lingerMs: number): void {
    const endsAt = performance.now() + lingerMs;
    if (endsAt >= this.endsAt) return;
    this.endsAt = endsAt;
    clearTimeout(this.timer);
    if (lingerMs === 0) this.expire();
    else this.timer = setTimeout(this.expire, lingerMs);
  }

  end(): void {
    clearTimeout(this.timer);
    this.endsAt = -Infinity;
    this.resolve();
  }
}
