/** Settings of a whole thread, which are made before its first pipe. */

import { BusbarError, invalidArgument, show } from './errors.js';
import { checkNames } from './internal/checks.js';
import {
  checkIo,
  chooseBackend,
  chooseIo,
  environmentPort,
  openedPort,
} from './internal/environment.js';

/**
 * Who reads and writes sockets, keeps heartbeats and reconnects:
 *
 * - `'loop'`: the event loop, between callbacks. Nothing is nearer to the program, and nothing
 *   happens while a callback runs.
 * - `'thread'`: a native thread beside it. Peers are heard and answered, queues are written and
 *   connections are made while the program is busy; each message takes a hop between threads.
 */
export type IoMode = 'loop' | 'thread';

/**
 * How sockets are reached:
 *
 * - `'poll'`: the system's poll set (epoll, kqueue). Everywhere.
 * - `'uring'`: io_uring, on Linux from about 6.1, where no sandbox forbids it. Fewer system calls
 *   where there are many pipes: what came has been received already, and what all of them send in
 *   a turn is one call.
 */
export type Backend = 'poll' | 'uring';

/** Settings of this thread: the main thread, or one worker. */
export interface EnvironmentOptions {
  /**
   * Who drives the pipes of this thread. `'loop'` by default, or what the environment variable
   * `BUSBAR_DRIVE` says.
   */
  readonly io?: IoMode;
  /**
   * How the pipes of this thread reach their sockets. `'auto'` is io_uring where a self-test finds
   * that it works, and the poll set elsewhere; `'uring'` where it does not work is
   * `ERR_NOT_SUPPORTED` at the first pipe or listener. `'poll'` by default, or what the environment
   * variable `BUSBAR_IO` says.
   */
  readonly backend?: Backend | 'auto';
}

/**
 * Chooses how Busbar works in this thread. To be called before its first pipe or listener; workers
 * have settings of their own.
 *
 * @throws BusbarError `ERR_INVALID_ARGUMENT`, `ERR_INVALID_STATE` once a pipe or listener has been
 * opened and the setting is another (neither retryable)
 *
 * @example
 * ```ts
 * import { configure, metrics } from 'busbar';
 *
 * configure({ io: 'thread' });
 * console.log(metrics().io); // null before the first pipe, then 'thread'
 * ```
 */
export function configure(options: EnvironmentOptions): void {
  checkNames(options, ['io', 'backend']);
  const { io, backend: wanted } = options;
  if (io !== undefined) checkIo(io, 'io');
  if (wanted !== undefined && !BACKENDS.has(wanted)) {
    throw invalidArgument(`backend is ${show(wanted)}; it must be 'auto', 'poll' or 'uring'`);
  }
  const port = openedPort();
  if (port !== null) {
    if (io !== undefined) checkSame('io', port.io, io);
    if (wanted !== undefined && wanted !== 'auto') {
      checkSame('backend', port.native.backend(), wanted);
    }
  }
  if (io !== undefined) chooseIo(io);
  if (wanted !== undefined) chooseBackend(wanted);
}

/**
 * How this thread reaches sockets: `'uring'` or `'poll'`. Settles it, as a first pipe does.
 *
 * @throws BusbarError `ERR_NOT_SUPPORTED` if what was chosen does not work here (not retryable)
 *
 * @example
 * ```ts
 * import { backend } from 'busbar';
 *
 * console.log(backend()); // 'poll', unless BUSBAR_IO or configure() say otherwise
 * ```
 */
export function backend(): Backend {
  return environmentPort().native.backend() as Backend;
}

const BACKENDS: ReadonlySet<Backend | 'auto'> = new Set(['auto', 'poll', 'uring']);

function checkSame(name: string, actual: string, wanted: string): void {
  if (actual === wanted) return;
  const message = `${name} is '${actual}' since the first pipe of this thread; choose before it`;
  throw new BusbarError('ERR_INVALID_STATE', message);
}
