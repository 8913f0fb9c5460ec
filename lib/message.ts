/** A received message with all that is known of it. */

/**
 * A message that the caller keeps, as `messages()` and `receiveMessage()` give it.
 *
 * A reliable pipe gives each message of its session once. Only a sender that has lost its session
 * (one of the two processes has ended) and sends again what was not acknowledged can make a message
 * be processed twice, and the two then have different ids. Make processing idempotent where that
 * matters: give what must not happen twice a key of its own in the payload, and use `id` for what
 * is kept of one session, such as a log or a queue that is drained later.
 *
 * @example
 * ```ts
 * import { dial, listen } from 'busbar';
 *
 * const options = { reliable: { ack: 'explicit' } } as const;
 * const listener = await listen('tcp://127.0.0.1:0', options);
 * const [server, client] = await Promise.all([
 *   listener.accept(),
 *   dial(listener.address, options),
 * ]);
 * await client.send('deposit 10', { channel: 3 });
 * for await (const message of server.messages()) {
 *   console.log(String(message.data), message.channel); // deposit 10 3
 *   console.log(message.id?.endsWith('/d/3/0')); // true: the dialer's first on channel 3
 *   message.ack(); // now, and not before, the client may forget it
 *   break;
 * }
 * await client.close();
 * await listener.close();
 * ```
 */
export interface Message<T = Buffer> {
  /** The payload. */
  readonly data: T;
  /** The channel that it was sent on. */
  readonly channel: number;
  /**
   * Its name: the session, who has sent it (`d`, the dialer, or `l`, the listener), the channel and
   * its number there, such as `00ff…/d/3/42`. No other message has the same. `null` on a pipe that
   * is not reliable, and for messages that were sent outside the session.
   */
  readonly id: string | null;
  /**
   * Says that the program is done with the message, so that the sender may forget it. Needed with
   * `ack: 'explicit'`; allowed, as often as one likes and in any order, everywhere.
   */
  ack(): void;
}
