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
  /** Messages accepted or waiting in JavaScript that the transport has not taken yet. */
  readonly messagesQueued: number;
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
] as const;

/** Those counters that count what happened, as opposed to what is. */
export type Counters = Record<(typeof STATS)[number], number>;

/** All zero. */
export function noCounters(): Counters {
  return countersOf(new Float64Array(STATS.length));
}

/** The counters of a live pipe. */
export function readCounters(native: NativePort, pipe: number): Counters {
  const values = new Float64Array(STATS.length);
  native.stats(pipe, values);
  return countersOf(values);
}

/** Adds `counters` to `sum`. */
export function addCounters(sum: Counters, counters: Counters): void {
  for (const name of STATS) sum[name] += counters[name];
}

function countersOf(values: Float64Array): Counters {
  return Object.fromEntries(STATS.map((name, i) => [name, values[i] ?? 0])) as Counters;
}
