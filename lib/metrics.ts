/** Counters and gauges of this thread: all its pipes, live and closed. */

import type { IoMode } from './configure.js';
import { openedPort } from './internal/environment.js';
import { Histogram } from './internal/histogram.js';
import { native } from './internal/native.js';
import type { ConnectionState } from './state.js';
import {
  addCounters,
  GAUGES,
  noCounters,
  noGauges,
  type Counters,
  type Gauges,
  type PipeStats,
} from './stats.js';

/** One pipe among the metrics. */
export interface PipeMetrics extends PipeStats {
  /** Its number within this thread, as log entries have it. */
  readonly pipe: number;
  /** The address that was dialed or listened at. */
  readonly address: string;
  /** Where the connection stands. */
  readonly state: ConnectionState;
}

/** How long something took. */
export interface Latency {
  /** How often it happened. */
  readonly count: number;
  /** Seconds it took in all. */
  readonly sumSeconds: number;
  /** How often it took up to so many seconds: powers of two, from a microsecond to a minute. */
  readonly buckets: readonly { readonly upToSeconds: number; readonly count: number }[];
}

/** What has happened in this thread, and what is open now. */
export interface Metrics extends Readonly<Counters>, Readonly<Gauges> {
  /** Each pipe that is open now, or holds messages that were not received yet. */
  readonly byPipe: readonly PipeMetrics[];
  /** How long sends waited that had to, because there was no room. */
  readonly sendWaits: Latency;
  /** How long connecting took. */
  readonly dials: Latency;
  /** Pipes that are open now, or hold messages that were not received yet. */
  readonly pipes: number;
  /** Listeners that are open now. */
  readonly listeners: number;
  /** Pipes ever opened. */
  readonly pipesOpened: number;
  /** Of those, how many are gone. */
  readonly pipesClosed: number;
  /** Values converted, in the whole process, for want of a writer of the format asked for. */
  readonly serializationDowngrades: number;
  /** Times the core called into JavaScript. */
  readonly turns: number;
  /** Who reads and writes sockets and keeps time: the event loop, or an I/O thread. */
  readonly io: IoMode | null;
  /** How the event loop is woken: by polling a descriptor, or from a helper thread. */
  readonly wakeKind: 'uv_poll' | 'threadsafe-function' | null;
}

/**
 * A snapshot of the counters of this thread. Workers have their own.
 *
 * @example
 * ```ts
 * import { metrics } from 'busbar';
 *
 * const { pipes, messagesSent, wakes } = metrics();
 * console.log({ pipes, messagesSent, wakes });
 * ```
 */
export function metrics(): Metrics {
  const sum = { ...noCounters(), ...noGauges() };
  const downgrades = native.listDowngrades().map(({ count }) => count);
  const serializationDowngrades = downgrades.reduce((total, count) => total + count, 0);
  const port = openedPort();
  if (port === null) {
    const none = { pipes: 0, listeners: 0, pipesOpened: 0, pipesClosed: 0, turns: 0 };
    const [sendWaits, dials] = [new Histogram().snapshot(), new Histogram().snapshot()];
    const nothing = { byPipe: [], sendWaits, dials };
    return { ...sum, ...none, ...nothing, serializationDowngrades, io: null, wakeKind: null };
  }
  addCounters(sum, port.past);
  const byPipe = port.livePipes().map((pipe) => pipe.metrics());
  for (const pipe of byPipe) {
    addCounters(sum, pipe);
    for (const name of GAUGES) sum[name] += pipe[name];
  }
  return {
    ...sum,
    byPipe,
    sendWaits: port.sendWaits.snapshot(),
    dials: port.dials.snapshot(),
    pipes: byPipe.length,
    listeners: port.liveListeners(),
    pipesOpened: port.pipesOpened,
    pipesClosed: port.pipesClosed,
    serializationDowngrades,
    turns: port.turns,
    io: port.io,
    wakeKind: port.native.wakeKind() as Metrics['wakeKind'],
  };
}
