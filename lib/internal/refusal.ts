/** Errors for messages that the core has refused. */

import { BusbarError, errorOf } from '../errors.js';
import type { SenderHost } from './sender.js';

/**
 * The error for a result below 0 of sending `length` bytes. Of what is too large it names both
 * sizes: this end's limit was looked at before, so it is the peer's.
 */
export function refusalOf(
  { port, handle }: SenderHost,
  result: number,
  what: string,
  length: number,
): BusbarError {
  const error = errorOf(result, what);
  if (error.code !== 'ERR_MESSAGE_TOO_LARGE') return error;
  const limit = port.native.messageBytesMax(handle);
  if (limit === 0 || length <= limit) return error;
  const message = `a message of ${length} bytes exceeds the ${limit} that both ends take`;
  const advice = 'send less, or raise maxMessageBytes of the peer';
  return new BusbarError(error.code, `${message}; ${advice}`);
}
