/** A batch of borrowed messages, as `consume()` hands it out. */

import type { Loan } from './loan.js';

/**
 * Messages in reused memory. Everything here is valid until the callback that got the batch
 * returns; then each use throws `ERR_BATCH_EXPIRED` (not retryable), and views made by
 * {@link Batch.at} show other messages. An index that is not below {@link Batch.length} throws
 * `ERR_INVALID_ARGUMENT`.
 *
 * The fastest way to read is `bytes` with `offset(i)` and `size(i)`, which makes no object per
 * message; `at(i)` is for convenience.
 *
 * @example
 * ```ts
 * import { bindInproc, connectInproc } from 'busbar';
 *
 * const listener = bindInproc('batch-example');
 * const client = connectInproc('batch-example');
 * const server = await listener.accept();
 *
 * let sum = 0;
 * const done = server.consume((batch) => {
 *   for (let i = 0; i < batch.length; i++) sum += batch.bytes.readUInt32LE(batch.offset(i));
 * });
 * await client.sendBatch([Buffer.from([1, 0, 0, 0]), Buffer.from([2, 0, 0, 0])]);
 * await client.close();
 * await done;
 * console.log(sum); // 3
 * await listener.close();
 * ```
 */
export interface Batch {
  /** Number of messages, at least 1. */
  readonly length: number;

  /** The memory that the messages with an offset lie in. Must not be transferred. */
  readonly bytes: Buffer;

  /**
   * Where message `i` begins in `bytes`, a multiple of 8; -1 for a message that is elsewhere, as
   * those above 16 KiB always and those above 1 KiB sometimes are: use {@link Batch.at}.
   */
  offset(i: number): number;

  /** Bytes of message `i`. */
  size(i: number): number;

  /** The channel that message `i` was sent on. */
  channel(i: number): number;

  /** The name of message `i` in the session of a reliable pipe; see `Message.id`. */
  id(i: number): string | null;

  /** Says that the program is done with message `i`; see `Message.ack`. */
  ack(i: number): void;

  /** Message `i` in place. Must not be written to. */
  at(i: number): Buffer;

  /** Keeps message `i` beyond the callback: on loan if it is large, otherwise as a copy. */
  take(i: number): Loan;

  /** Every message in place, as {@link Batch.at} gives it. */
  [Symbol.iterator](): Iterator<Buffer>;
}
