/** Metrics as text, for Prometheus to scrape. */

import { metrics, type Latency, type Metrics } from './metrics.js';
import type { ConnectionState } from './state.js';
import { STATES } from './state.js';

/**
 * The metrics of this thread in the text format that Prometheus reads (`Content-Type: text/plain;
 * version=0.0.4`). Counters go on when pipes close. Workers have their own.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http';
 *
 * import { prometheus } from 'busbar';
 *
 * const server = createServer((_, response) => {
 *   response.setHeader('content-type', 'text/plain; version=0.0.4').end(prometheus());
 * });
 * server.listen(0, '127.0.0.1', () => server.close());
 * ```
 */
export function prometheus(): string {
  const now = metrics();
  const lines: string[] = [];
  for (const { name, type, help, samples } of FAMILIES) {
    lines.push(`# HELP busbar_${name} ${help}`, `# TYPE busbar_${name} ${type}`);
    for (const [labels, value] of samples(now)) lines.push(`busbar_${name}${labels} ${value}`);
  }
  writeHistogram(lines, 'send_wait_seconds', 'How long sends waited for room.', now.sendWaits);
  writeHistogram(lines, 'dial_seconds', 'How long connecting took.', now.dials);
  return `${lines.join('\n')}\n`;
}

interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  /** Labels and value of each sample. */
  readonly samples: (from: Metrics) => (readonly [labels: string, value: number])[];
}

/** A value for each direction. */
function byDirection(sent: keyof Metrics, received: keyof Metrics): Family['samples'] {
  return (from) => [
    ['{direction="send"}', from[sent] as number],
    ['{direction="receive"}', from[received] as number],
  ];
}

/** One value. */
function plain(key: keyof Metrics): Family['samples'] {
  return (from) => [['', from[key] as number]];
}

function drops(from: Metrics): (readonly [string, number])[] {
  const labels = (direction: string, cause: string) =>
    `{direction="${direction}",cause="${cause}"}`;
  return [
    [labels('send', 'new'), from.sendsDroppedNew],
    [labels('send', 'old'), from.sendsDroppedOld],
    [labels('send', 'expired'), from.sendsExpired],
    [labels('send', 'lost'), from.sendsLost],
    [labels('receive', 'new'), from.receivesDroppedNew],
    [labels('receive', 'old'), from.receivesDroppedOld],
    [labels('receive', 'expired'), from.receivesExpired],
    [labels('resend', 'expired'), from.resendsExpired],
  ];
}

function states(from: Metrics): (readonly [string, number])[] {
  const count = (state: ConnectionState) => from.byPipe.filter((it) => it.state === state).length;
  return STATES.map((state) => [`{state="${state}"}`, count(state)]);
}

const FAMILIES: readonly Family[] = [
  counter('messages_total', 'Messages.', byDirection('messagesSent', 'messagesReceived')),
  counter('bytes_total', 'Payload bytes.', byDirection('bytesSent', 'bytesReceived')),
  counter('messages_dropped_total', 'Messages dropped, by cause.', drops),
  counter('deliveries_failed_total', 'Reliable messages given up.', plain('deliveriesFailed')),
  counter('duplicates_total', 'Reliable messages that came twice.', plain('duplicates')),
  counter('loans_total', 'Messages without a copy.', byDirection('loansSent', 'loansReceived')),
  counter('messages_fragmented_total', 'Messages sent in parts.', plain('fragmented')),
  counter('bells_total', 'Times a peer was woken.', plain('bells')),
  counter('parks_total', 'Times this end went to sleep.', plain('parks')),
  counter('wakes_total', 'Times a peer woke this end.', plain('wakes')),
  counter('socket_reads_total', 'Reads from sockets.', plain('reads')),
  counter('socket_writes_total', 'Writes to sockets.', plain('writes')),
  counter('pipes_opened_total', 'Pipes ever opened.', plain('pipesOpened')),
  counter('pipes_closed_total', 'Pipes that are gone.', plain('pipesClosed')),
  counter('turns_total', 'Times the core called into JavaScript.', plain('turns')),
  counter(
    'serialization_downgrades_total',
    'Values converted for want of a writer.',
    plain('serializationDowngrades'),
  ),
  gauge('pipes', 'Pipes by state.', states),
  gauge('listeners', 'Open listeners.', plain('listeners')),
  gauge('messages_waiting', 'Messages in queues.', byDirection('messagesQueued', 'messagesReady')),
  gauge('bytes_waiting', 'Payload bytes in queues.', byDirection('bytesQueued', 'bytesReady')),
  gauge(
    'messages_unconfirmed',
    'Reliable messages not acknowledged.',
    plain('messagesUnconfirmed'),
  ),
];

function counter(name: string, help: string, samples: Family['samples']): Family {
  return { name, type: 'counter', help, samples };
}

function gauge(name: string, help: string, samples: Family['samples']): Family {
  return { name, type: 'gauge', help, samples };
}

function writeHistogram(lines: string[], name: string, help: string, latency: Latency): void {
  lines.push(`# HELP busbar_${name} ${help}`, `# TYPE busbar_${name} histogram`);
  for (const { upToSeconds, count } of latency.buckets) {
    lines.push(`busbar_${name}_bucket{le="${upToSeconds}"} ${count}`);
  }
  lines.push(
    `busbar_${name}_bucket{le="+Inf"} ${latency.count}`,
    `busbar_${name}_sum ${latency.sumSeconds}`,
    `busbar_${name}_count ${latency.count}`,
  );
}
