/** Quality of service: what users may choose of it. */

/** What becomes of a message for which there is no room. */
export type Backpressure = 'block' | 'drop-new' | 'drop-old' | 'fail-fast';

/** What becomes of a received message for which there is no room. */
export type ReceiveBackpressure = 'block' | 'drop-new' | 'drop-old';

/** How fast messages may pass: token buckets. What is absent is not limited. */
export interface RateOptions {
  /** Messages per second, 1–1,000,000,000. */
  readonly messagesPerSecond?: number;
  /** Messages that may pass at once after a pause. A tenth of a second's. */
  readonly messagesBurst?: number;
  /** Payload bytes per second, 1–1,000,000,000,000. */
  readonly bytesPerSecond?: number;
  /**
   * Bytes that may pass at once after a pause. A tenth of a second's. A message that is larger
   * passes when nothing has for long enough.
   */
  readonly bytesBurst?: number;
}

/** How the messages of one channel are sent. */
export interface ChannelOptions {
  /** Messages that may wait, 0–16,777,216; 0 is unlimited. 1,024. */
  readonly sendHighWaterMarkMessages?: number;
  /**
   * Payload bytes that may wait, 0–2⁴⁰; 0 is unlimited. 16 MiB. Where nothing waits, a message of
   * any size may.
   */
  readonly sendHighWaterMarkBytes?: number;
  /**
   * What becomes of a message above the mark: `'block'` waits for room, `'drop-new'` drops it,
   * `'drop-old'` drops the oldest that wait, `'fail-fast'` refuses it with `ERR_AGAIN`. `'block'`.
   */
  readonly backpressure?: Backpressure;
  /** For how long a message is of use, in milliseconds; older ones are dropped. For ever. */
  readonly ttlMs?: number;
  /** Channels of a higher priority go first, always: 0–255. 0. */
  readonly priority?: number;
  /** Share of a channel among those of its priority: 1–65,535. 1. */
  readonly weight?: number;
}

/**
 * Options of queues between a program and the transport. A pipe has such a queue only if one of
 * them is given; see the README for what it costs.
 */
export interface QosOptions {
  /** As {@link ChannelOptions.sendHighWaterMarkMessages}, for channels without options. */
  readonly sendHighWaterMarkMessages?: number;
  /** As {@link ChannelOptions.sendHighWaterMarkBytes}, for channels without options. */
  readonly sendHighWaterMarkBytes?: number;
  /** As {@link ChannelOptions.backpressure}, for channels without options. */
  readonly backpressure?: Backpressure;
  /** As {@link ChannelOptions.ttlMs}, for channels without options. */
  readonly ttlMs?: number;
  /**
   * Channels with a queue of their own, by number, at most 256. A full one does not hold up the
   * others. What is absent is as for channels without options; those have priority 0 and weight 1.
   */
  readonly channels?: Readonly<Record<number, ChannelOptions>>;
  /** How fast this end may send. */
  readonly sendRate?: RateOptions;
  /** How fast this end receives; the rest waits with the peer. */
  readonly receiveRate?: RateOptions;
  /** Messages taken from the transport before they are asked for, 0–16,777,216; 0 is unlimited. */
  readonly receiveHighWaterMarkMessages?: number;
  /** Payload bytes of those, 0–2⁴⁰; 0 is unlimited. No further message is taken from here on. */
  readonly receiveHighWaterMarkBytes?: number;
  /**
   * What becomes of messages above these marks: `'block'` leaves them to the transport and so to
   * the peer, `'drop-new'` and `'drop-old'` drop. `'block'`.
   */
  readonly receiveBackpressure?: ReceiveBackpressure;
}

/** Rates of all pipes of a listener together. */
export interface ListenerRates {
  /** How fast all accepted pipes together may send. */
  readonly totalSendRate?: RateOptions;
  /** How fast all accepted pipes together receive. */
  readonly totalReceiveRate?: RateOptions;
}
