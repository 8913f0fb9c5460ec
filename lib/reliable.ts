/** Reliable pipes: what a user may choose of their sessions. */

import { invalidArgument, show } from './errors.js';
import { ANNOUNCEMENTS } from './internal/announcement.js';
import type { NativeListenOptions, NativePipeOptions } from './internal/binding.js';
import { choice, chosen, integer, type Rules, type Values } from './internal/rules.js';

/** When a reliable message counts as delivered; see {@link ReliableOptions.ack}. */
export type Acknowledgement = 'processed' | 'received' | 'explicit';

/** What holds for reliable messages; see {@link PipeOptions.reliable}. */
export interface ReliableOptions {
  /**
   * What this end's acknowledgement of a message means: `'processed'`, that the program is done
   * with it, which it says by asking for the next one (the next step of an iterator, the next
   * `receive()`, the return of the callback of `consume()`) or by closing; `'explicit'`, that the
   * program is done with it, which it says by `ack()` of the message, its loan or its batch;
   * `'received'`, that it has arrived. With `'explicit'`, ways to receive that have no `ack()` are
   * refused with `ERR_INVALID_ARGUMENT`: use `messages()`, `receiveMessage()`, `borrow()` or
   * `consume()`. `'processed'`.
   */
  readonly ack?: Acknowledgement;
  /** Messages of a channel that may be unacknowledged before senders wait, 1–65,536. 1,024. */
  readonly windowMessages?: number;
  /** Payload bytes of those, 1–2^40; a message alone may be larger. 4 MiB. */
  readonly windowBytes?: number;
  /**
   * For how long the session is kept without a connection, in milliseconds, 1–4,294,967,295; the
   * shorter of both ends holds. Then the pipe ends with `ERR_SESSION_LOST`. 30,000.
   */
  readonly sessionTimeoutMs?: number;
  /**
   * How often a message is sent, over one connection after the other, before it is given up with
   * `ERR_DELIVERY_FAILED`, 1–4,294,967,295. 16.
   */
  readonly maxDeliveryAttempts?: number;
  /**
   * For how long, in milliseconds, nothing may come over a connection while an acknowledgement is
   * awaited, before the peer is asked whether it is there, 100–4,294,967,295; longer where answers
   * take longer, as RFC 6298 estimates it. Three questions without an answer, each waiting twice as
   * long as the last, and the connection is lost and replaced: after 8 times as long in all. A peer
   * whose event loop is blocked for longer answers nothing either. A dialer that hears nothing for
   * a quarter of `sessionTimeoutMs` asks as well, whatever it awaits. 1,000.
   */
  readonly probeAfterMs?: number;
  /**
   * Channels on which this end sends outside the session, 0–65,534, at most 256: what is only worth
   * something at once. Such a message is sent at most once and lost with its connection, and the
   * window has room for it always. `[]`.
   */
  readonly lossyChannels?: readonly number[];
}

/** The same for a listener, which keeps the sessions of many. */
export interface ListenerReliableOptions extends ReliableOptions {
  /**
   * Sessions without a connection that are kept, each for its time, 0–1,000,000. With one more, the
   * oldest is lost. 1,024.
   */
  readonly maxSessions?: number;
  /** Payload bytes that those hold together, likewise, 0–2^40. 64 MiB. */
  readonly maxSessionBytes?: number;
}

type NativeSession = Pick<
  NativePipeOptions,
  | 'sessionTimeoutMs'
  | 'windowMessages'
  | 'windowBytes'
  | 'ack'
  | 'maxDeliveryAttempts'
  | 'probeAfterMs'
  | 'lossyChannels'
>;

const MIB = 1024 * 1024;
const ACKS: readonly Acknowledgement[] = ['processed', 'received', 'explicit'];
const UINT_MAX = 2 ** 32 - 1;
const LOSSY_MAX = 256;

const SESSION: Rules = {
  ack: choice('processed', ACKS),
  windowMessages: integer(1024, 1, 65_536),
  windowBytes: integer(4 * MIB, 1, 2 ** 40),
  sessionTimeoutMs: integer(30_000, 1, UINT_MAX),
  maxDeliveryAttempts: integer(16, 1, UINT_MAX),
  probeAfterMs: integer(1000, 100, UINT_MAX),
  lossyChannels: { standard: [], check: checkLossy },
};

const SESSIONS: Rules = {
  ...SESSION,
  maxSessions: integer(1024, 0, 1_000_000),
  maxSessionBytes: integer(64 * MIB, 0, 2 ** 40),
};

function checkLossy(name: string, value: unknown): void {
  const isChannel = (it: unknown) =>
    Number.isInteger(it) && (it as number) >= 0 && (it as number) < ANNOUNCEMENTS;
  if (Array.isArray(value) && value.length <= LOSSY_MAX && value.every(isChannel)) return;
  const accepted = `an array of at most ${LOSSY_MAX} channels, 0 to ${ANNOUNCEMENTS - 1}`;
  throw invalidArgument(`reliable.${name} is ${show(value)}; it must be ${accepted}`);
}

/** What the core is told of the sessions of a pipe. */
export function sessionOf(given: unknown): NativeSession {
  return nativeOf(chosen('reliable', given, SESSION));
}

/** What the core is told of the sessions of a listener. */
export function sessionsOf(
  given: unknown,
): NativeSession & Pick<NativeListenOptions, 'maxSessions' | 'maxSessionBytes'> {
  const values = chosen('reliable', given, SESSIONS);
  if (values === null) return nativeOf(null);
  const { maxSessions, maxSessionBytes } = values;
  return {
    ...nativeOf(values),
    maxSessions: maxSessions as number,
    maxSessionBytes: maxSessionBytes as number,
  };
}

function nativeOf(values: Values | null): NativeSession {
  if (values === null) return { sessionTimeoutMs: 0 };
  return {
    sessionTimeoutMs: values['sessionTimeoutMs'] as number,
    windowMessages: values['windowMessages'] as number,
    windowBytes: values['windowBytes'] as number,
    ack: ACKS.indexOf(values['ack'] as Acknowledgement),
    maxDeliveryAttempts: values['maxDeliveryAttempts'] as number,
    probeAfterMs: values['probeAfterMs'] as number,
    lossyChannels: values['lossyChannels'] as readonly number[],
  };
}
