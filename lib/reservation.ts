/** Memory to write a message into before it is sent. */

import type { WaitOptions } from './internal/wait.js';

/**
 * A message being written in place. Up to 1 KiB its bytes lie where messages are collected for
 * sending; above, in shared memory that is handed to the peer without a copy, as far as there is
 * some.
 *
 * A reservation takes its place in the order of messages when it is committed, and several may be
 * open at once. Its bytes must not be touched after `commit()`. If they were transferred away
 * before, the commit fails with `ERR_BUFFER_DETACHED` (not retryable).
 *
 * @example
 * ```ts
 * import { bindInproc, connectInproc } from 'busbar';
 *
 * const listener = bindInproc('reserve-example');
 * const client = connectInproc('reserve-example');
 * const server = await listener.accept();
 *
 * const reservation = client.reserve(64);
 * reservation.bytes.writeDoubleLE(42.5, 0);
 * await reservation.commit(8);
 * console.log((await server.receive()).readDoubleLE(0)); // 42.5
 * await client.close();
 * await listener.close();
 * ```
 */
export interface Reservation {
  /** The memory. What was in it before is undefined: write every byte that is committed. */
  readonly bytes: Buffer;

  /**
   * Sends the first `length` bytes, all by default. Settles like `Pipe.send()`; if the wait for
   * room is given up, nothing is sent and the memory is given back.
   *
   * @throws BusbarError (as a rejection) `ERR_INVALID_ARGUMENT` for a bad length,
   * `ERR_LOAN_EXPIRED` for a reservation that is settled, `ERR_BUFFER_DETACHED`, `ERR_CLOSED`,
   * `ERR_AGAIN` (retryable: too many wait), `ABORT_ERR`, `ERR_TIMED_OUT` (retryable)
   */
  commit(length?: number, options?: WaitOptions): Promise<void>;

  /**
   * As {@link Reservation.commit}, but never waits: `false` means that there is no room now and
   * the reservation is still open.
   */
  tryCommit(length?: number): boolean;

  /** Gives the memory back unsent. Further calls, and calls after a commit, do nothing. */
  discard(): void;
}
