/** Counters of one pipe, in the order in which the core hands them out. */

import type { NativePort } from './internal/binding.js';

/** Counters of one pipe since it was connected, and what waits in it now. */
export interface PipeStats {
  /** Messages handed to the transport. */
  readonly messagesSent: number;
  /** Payload bytes of those. */
  readonly bytesSent: number;
  /** Messages taken from the transport. */
  readonly messagesReceived: number;
  /** Payload bytes of those. */
  readonly bytesReceived: number;
  /** Messages that went out without a copy of the payload. */
  readonly loansSent: number;
  /** Messages that came in through the sender's slab, whether they were copied out or borrowed. */
  readonly loansReceived: number;
  /** Messages that had to be cut up: no slab memory was free, or they exceed a frame. */
  readonly fragmented: number;
  /** Times the peer had to be woken: one system call each. */
  readonly bells: number;
  /** Times this end went to sleep. */
  readonly parks: number;
  /** Times the peer woke this end. */
  readonly wakes: number;
  /** Reads from the pipe's socket: one system call each. 0 where there is none. */
  readonly reads: number;
  /** Writes to the pipe's socket: one system call each. 0 where there is none. */
  readonly writes: number;
  /** Connections that replaced a lost one. */
  readonly reconnects: number;
  /**
   * Messages that were accepted and still waited to be written when the connection was lost. What
   * had been written may be lost as well; nobody can tell.
   */
  readonly messagesLost: number;
  /** Messages of which a part came and then nothing for `reassemblyTimeoutMs`. */
  readonly reassembliesExpired: number;
  /** Messages dropped at sending, by `'drop-new'`: there was no room for them. */
  readonly sendsDroppedNew: number;
  /** Messages dropped at sending, by `'drop-old'`: newer ones took their place. */
  readonly sendsDroppedOld: number;
  /** Messages dropped at sending because their time to live was over. */
  readonly sendsExpired: number;
  /** Messages that were accepted, waited, and were lost with the connection. */
  readonly sendsLost: number;
  /** Messages dropped at receiving, by `'drop-new'`. */
  readonly receivesDroppedNew: number;
  /** Messages dropped at receiving, by `'drop-old'`. */
  readonly receivesDroppedOld: number;
  /** Messages dropped at receiving because their time to live was over. */
  readonly receivesExpired: number;
  /**
   * Reliable messages that were accepted and whose time to live was over when they could be sent,
   * or sent again after a connection was lost.
   */
  readonly resendsExpired: number;
  /** Reliable messages that were given up after `maxDeliveryAttempts`. */
  readonly deliveriesFailed: number;
  /** Reliable messages that came twice and were received once. */
  readonly duplicates: number;
  /** Messages accepted, or waiting to be, that the transport has not taken yet. */
  readonly messagesQueued: number;
  /** Payload bytes of those in the pipe's queue, if it has one. */
  readonly bytesQueued: number;
  /** Messages taken from the transport that wait to be received, if the pipe has marks for them. */
  readonly messagesReady: number;
  /** Payload bytes of those. */
  readonly bytesReady: number;
  /**
   * Reliable messages that were accepted and that the peer has not acknowledged. Of a pipe that is
   * over, as at its end: the peer may have processed them or not.
   */
  readonly messagesUnconfirmed: number;
}

/** Names of the counters, in the order of the native array. */
export const STATS = [
  'messagesSent',
  'bytesSent',
  'messagesReceived',
  'bytesReceived',
  'loansSent',
  'loansReceived',
  'fragmented',
  'bells',
  'parks',
  'wakes',
  'reads',
  'writes',
  'reconnects',
  'messagesLost',
  'reassembliesExpired',
  'sendsDroppedNew',
  'sendsDroppedOld',
  'sendsExpired',
  'sendsLost',
  'receivesDroppedNew',
  'receivesDroppedOld',
  'receivesExpired',
  'resendsExpired',
  'deliveriesFailed',
  'duplicates',
] as const;

/** Those counters that count what was dropped or lost. */
export const DROPS = [
  'sendsDroppedNew',
  'sendsDroppedOld',
  'sendsExpired',
  'sendsLost',
  'receivesDroppedNew',
  'receivesDroppedOld',
  'receivesExpired',
  'resendsExpired',
] as const;

/** Why a message was dropped or lost. */
export type DropCause = (typeof DROPS)[number];

/** Names of the gauges, which follow the counters in the native array. */
export const GAUGES = [
  'messagesQueued',
  'bytesQueued',
  'messagesReady',
  'bytesReady',
  'messagesUnconfirmed',
] as const;

/** What waits in a pipe now. */
export type Gauges = Record<(typeof GAUGES)[number], number>;

/** Those counters that count what happened, as opposed to what is. */
export type Counters = Record<(typeof STATS)[number], number>;

/** All zero. */
export function noCounters(): Counters {
  return countersOf(new Float64Array(STATS.length));
}

/** The counters and gauges of a live pipe. */
export function readStats(native: NativePort, pipe: number): Counters & Gauges {
  const values = new Float64Array(STATS.length + GAUGES.length);
  native.stats(pipe, values);
  return { ...countersOf(values), ...gaugesOf(values.subarray(STATS.length)) };
}

/** Nothing waits. */
export function noGauges(): Gauges {
  return gaugesOf(new Float64Array(GAUGES.length));
}

/** Adds `counters` to `sum`. */
export function addCounters(sum: Counters, counters: Readonly<Counters>): void {
  for (const name of STATS) sum[name] += counters[name];
}

function countersOf(values: Float64Array): Counters {
  return Object.fromEntries(STATS.map((name, i) => [name, values[i] ?? 0])) as Counters;
}

function gaugesOf(values: Float64Array): Gauges {
  return Object.fromEntries(GAUGES.map((name, i) => [name, values[i] ?? 0])) as Gauges;
}
