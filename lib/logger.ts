/** Where background happenings are told that no call can report. Silent until a logger is set. */

import { invalidArgument, show } from './errors.js';

/** How important a log entry is, most important first. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

/** One happening. */
export interface LogEntry {
  /** How important it is. */
  readonly level: LogLevel;
  /** What happened, in one sentence. */
  readonly message: string;
  /** The error code, where there is one. */
  readonly code?: string;
  /** Number of the pipe within this thread, where it is about one. */
  readonly pipe?: number;
  /** Address of the listener, where it is about one. */
  readonly address?: string;
  /** The error itself, where there is one. */
  readonly error?: unknown;
}

/** Receives log entries. */
export type Logger = (entry: LogEntry) => void;

/**
 * Sets who is told of background happenings: failures of pipes without an `'error'` listener,
 * connection attempts that failed, connections turned away. One logger per thread; `null` is
 * silence, the default.
 *
 * @param logger - called with each entry; what it throws becomes an uncaught exception
 * @param level - the least important level to tell, `'info'` by default
 * @throws BusbarError `ERR_INVALID_ARGUMENT` (not retryable)
 *
 * @example
 * ```ts
 * import { setLogger } from 'busbar';
 *
 * setLogger(({ level, message }) => console.error(`[busbar] ${level}: ${message}`), 'warn');
 * ```
 */
export function setLogger(logger: Logger | null, level: LogLevel = 'info'): void {
  if (logger !== null && typeof logger !== 'function') {
    throw invalidArgument(`logger is ${show(logger)}; it must be a function or null`);
  }
  const rank = LEVELS.indexOf(level);
  if (rank < 0) {
    throw invalidArgument(`level is ${show(level)}; it must be one of ${LEVELS.join(', ')}`);
  }
  current = logger;
  currentRank = rank;
  if (logger !== null) tellRank(rank);
}

/** Tells the logger, if it wants to know. */
export function log(
  level: LogLevel,
  message: string,
  details?: Omit<LogEntry, 'level' | 'message'>,
): void {
  if (current === null || LEVELS.indexOf(level) > currentRank) return;
  try {
    current({ level, message, ...details });
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}

/**
 * Has `listener` told of the least important level that is wanted, now and whenever it changes.
 *
 * @internal
 */
export function onLogLevel(listener: (rank: number) => void): void {
  tellRank = listener;
  if (current !== null) listener(currentRank);
}

let tellRank: (rank: number) => void = () => undefined;

const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];

let current: Logger | null = null;
let currentRank = 0;
