/** A received payload that is read where the sender put it. */

/**
 * A message on loan. Above 1 KiB its bytes are the sender's memory, which the sender can use again
 * only after `release()`: release soon. A loan that is forgotten is given back when it is
 * garbage-collected.
 *
 * @example
 * ```ts
 * import { bindInproc, connectInproc } from 'busbar';
 *
 * const listener = bindInproc('loan-example');
 * const client = connectInproc('loan-example');
 * const server = await listener.accept();
 * await client.send(Buffer.alloc(100_000, 1));
 * {
 *   using loan = await server.borrow();
 *   console.log(loan.bytes.length); // 100000
 * }
 * await client.close();
 * await listener.close();
 * ```
 */
export interface Loan {
  /**
   * The payload. Must not be written to, and its memory cannot be transferred. A reference to it
   * that was kept beyond `release()` is empty, or for small payloads stays as it was.
   *
   * @throws BusbarError `ERR_LOAN_EXPIRED` (not retryable) after `release()`
   */
  readonly bytes: Buffer;

  /** The channel that the message was sent on. */
  readonly channel: number;

  /** Its name in the session of a reliable pipe, otherwise `null`; see `Message.id`. */
  readonly id: string | null;

  /**
   * Says that the program is done with the message; see `Message.ack`. It may come before or
   * after `release()`, which says nothing of the kind.
   */
  ack(): void;

  /** Gives the memory back. Further calls do nothing. */
  release(): void;

  /** As {@link Loan.release}, for `using`. */
  [Symbol.dispose](): void;
}
