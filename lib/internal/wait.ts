/** What ends a wait early: a signal or a time limit. */

import { AbortError, BusbarError, invalidArgument, show } from '../errors.js';
import { checkNames } from './checks.js';

/** What every waiting call takes. */
export interface WaitOptions {
  /** Gives up the wait with an `AbortError`. */
  readonly signal?: AbortSignal;
  /** Gives up the wait with `ERR_TIMED_OUT` after so many milliseconds. No limit by default. */
  readonly timeoutMs?: number;
}

/** Options of waiting calls, and of those that may wait: a misspelt limit would be none. */
const WAIT_OPTIONS: readonly string[] = ['signal', 'timeoutMs', 'channel', 'max'];

/** Options of sending. */
export const SEND_OPTIONS: readonly string[] = [
  ...WAIT_OPTIONS,
  'ttlMs',
  'backpressure',
  'reliable',
];

/** A signal and a timer that are armed; `disarm()` before the wait ends otherwise. */
export class Deadline {
  private readonly signal: AbortSignal | undefined;
  private readonly timer: NodeJS.Timeout | undefined;
  private readonly onAbort: () => void;

  /** Calls `expire` once, unless disarmed. `options` must have been checked. */
  constructor(options: WaitOptions, what: string, expire: (error: BusbarError) => void) {
    const { signal, timeoutMs } = options;
    this.onAbort = () => {
      this.disarm();
      expire(new AbortError(what, signal?.reason));
    };
    signal?.addEventListener('abort', this.onAbort, { once: true });
    this.signal = signal;
    if (timeoutMs !== undefined && timeoutMs !== Infinity) {
      this.timer = setTimeout(() => {
        this.disarm();
        expire(timedOut(what, timeoutMs));
      }, timeoutMs);
    }
  }

  disarm(): void {
    this.signal?.removeEventListener('abort', this.onAbort);
    clearTimeout(this.timer);
  }
}

/** Checks wait options; throws if the signal has already fired. Returns whether there are any. */
export function checkWait(
  options: WaitOptions | undefined,
  what: string,
  known: readonly string[] = WAIT_OPTIONS,
): options is WaitOptions {
  if (options === undefined) return false;
  checkNames(options, known);
  const { signal, timeoutMs } = options;
  if (signal !== undefined) {
    checkSignal(signal);
    if (signal.aborted) throw new AbortError(what, signal.reason);
  }
  if (timeoutMs !== undefined) checkTimeout(timeoutMs);
  return signal !== undefined || timeoutMs !== undefined;
}

/** Throws unless `value` is a signal. */
export function checkSignal(value: unknown): asserts value is AbortSignal {
  // By shape: a signal may come from another realm.
  const { aborted, addEventListener } = (value ?? {}) as Partial<AbortSignal>;
  if (typeof aborted === 'boolean' && typeof addEventListener === 'function') return;
  throw invalidArgument(`signal is ${show(value)}; it must be an AbortSignal`);
}

/** Throws unless `value` is a time limit. */
export function checkTimeout(value: unknown): asserts value is number {
  if (value === Infinity) return;
  if (typeof value === 'number' && value >= 0 && value <= TIMEOUT_MS_MAX) return;
  const range = `milliseconds, 0 to ${TIMEOUT_MS_MAX}, or Infinity`;
  throw invalidArgument(`timeoutMs is ${show(value)}; it must be ${range}`);
}

function timedOut(what: string, timeoutMs: number): BusbarError {
  const message = `${what} did not finish within ${timeoutMs} ms; try again, or raise timeoutMs`;
  return new BusbarError('ERR_TIMED_OUT', message);
}

const TIMEOUT_MS_MAX = 2 ** 31 - 1;
