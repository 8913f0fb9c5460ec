/** Counters and gauges of this thread: all its pipes, live and closed. */

import { openedPort } from './internal/environment.js';
import { native } from './internal/native.js';
import { addCounters, noCounters, type Counters } from './stats.js';

/** What has happened in this thread, and what is open now. */
export interface Metrics extends Readonly<Counters> {
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
  const sum = noCounters();
  const downgrades = native.listDowngrades().map(({ count }) => count);
  const serializationDowngrades = downgrades.reduce((total, count) => total + count, 0);
  const port = openedPort();
  if (port === null) {
    const none = { pipes: 0, listeners: 0, pipesOpened: 0, pipesClosed: 0, turns: 0 };
    return { ...sum, ...none, serializationDowngrades, wakeKind: null };
  }
  addCounters(sum, port.past);
  const live = port.livePipes();
  for (const pipe of live) addCounters(sum, pipe.counters());
  return {
    ...sum,
    pipes: live.length,
    listeners: port.liveListeners(),
    pipesOpened: port.pipesOpened,
    pipesClosed: port.pipesClosed,
    serializationDowngrades,
    turns: port.turns,
    wakeKind: port.native.wakeKind() as Metrics['wakeKind'],
  };
}
