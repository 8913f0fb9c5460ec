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

/** Options of waiting calls: a limit that is misspelt would be none. */
const WAIT_OPTIONS: readonly string[] = ['signal', 'timeoutMs'];

/** Options of sending. */
export const SEND_OPTIONS: readonly string[] = [
  ...WAIT_OPTIONS,
  'channel',
  'ttlMs',
  'backpressure',
  'reliable',
];

/** A signal and a timer that are armed; `disarm()` before the wait ends otherwise. */
export class Deadline {
  private readonly signal: AbortSignal | undefined;
  private readonly timer: NodeJS.Timeout | undefined;
  private readonly what: string;
  private readonly expire: (error: BusbarError) => void;

  /** Calls `expire` once, unless disarmed. `options` must have been checked. */
  constructor(options: WaitOptions, what: string, expire: (error: BusbarError) => void) {
    const { signal, timeoutMs } = options;
    this.what = what;
    this.expire = expire;
    this.signal = signal;
    if (signal !== undefined) watch(signal, this);
    if (timeoutMs !== undefined && timeoutMs !== Infinity) {
      this.timer = setTimeout(() => this.end(timedOut(what, timeoutMs)), timeoutMs);
    }
  }

  disarm(): void {
    if (this.signal !== undefined) unwatch(this.signal, this);
    clearTimeout(this.timer);
  }

  /** The signal has fired. */
  abort(): void {
    this.end(new AbortError(this.what, this.signal?.reason));
  }

  private end(error: BusbarError): void {
    this.disarm();
    this.expire(error);
  }
}

/**
 * The waits of each signal, all behind one listener: Node takes more than ten for a leak, and a
 * program may well wait for a thousand sends with one signal.
 */
interface Watched {
  readonly waits: Set<Deadline>;
  readonly onAbort: () => void;
}

const watched = new WeakMap<AbortSignal, Watched>();

function watch(signal: AbortSignal, wait: Deadline): void {
  const known = watched.get(signal);
  if (known !== undefined) {
    known.waits.add(wait);
    return;
  }
  const waits = new Set([wait]);
  const onAbort = (): void => {
    for (const each of waits) each.abort();
  };
  watched.set(signal, { waits, onAbort });
  signal.addEventListener('abort', onAbort, { once: true });
}

function unwatch(signal: AbortSignal, wait: Deadline): void {
  const known = watched.get(signal);
  if (known === undefined || !known.waits.delete(wait) || known.waits.size > 0) return;
  watched.delete(signal);
  signal.removeEventListener('abort', known.onAbort);
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
