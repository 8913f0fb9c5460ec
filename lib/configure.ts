/** Settings of a whole thread, which are made before its first pipe. */

import { BusbarError, invalidArgument, show } from './errors.js';
import { checkIo, chooseIo, openedPort } from './internal/environment.js';

/**
 * Who reads and writes sockets, keeps heartbeats and reconnects:
 *
 * - `'loop'`: the event loop, between callbacks. Nothing is nearer to the program, and nothing
 *   happens while a callback runs.
 * - `'thread'`: a native thread beside it. Peers are heard and answered, queues are written and
 *   connections are made while the program is busy; each message takes a hop between threads.
 */
export type IoMode = 'loop' | 'thread';

/** Settings of this thread: the main thread, or one worker. */
export interface EnvironmentOptions {
  /**
   * Who drives the pipes of this thread. `'loop'` by default, or what the environment variable
   * `BUSBAR_DRIVE` says.
   */
  readonly io?: IoMode;
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
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument(`options is ${show(options)}; it must be an object`);
  }
  const { io } = options;
  if (io === undefined) return;
  checkIo(io, 'io');
  const port = openedPort();
  if (port !== null && port.io !== io) {
    const message = `io is '${port.io}' since the first pipe of this thread; choose before it`;
    throw new BusbarError('ERR_INVALID_STATE', message);
  }
  chooseIo(io);
}
