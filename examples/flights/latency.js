// @ts-check
/**
 * Latency of single messages: one ping at a time, nothing else in the pipe. Both ends read the same
 * clock, so the way there is measured by itself and not as half of the round trip.
 */

import { createHistogram } from 'node:perf_hooks';

import { expectReply } from './messages.js';

/** @typedef {import('./conversation.js').Conversation} Conversation */
/** @typedef {import('node:perf_hooks').RecordableHistogram} RecordableHistogram */

/** @typedef {{ p50: number, p90: number, p99: number, p999: number, max: number }} Percentiles */

/**
 * Percentiles in microseconds, and what this end of the pipe did meanwhile: how often it went to
 * sleep, was woken by the other end, and had to wake the other end. Without these numbers a latency
 * says little: waking a sleeper costs more than all the rest.
 *
 * @typedef {{
 *   samples: number, oneWayMicros: Percentiles, roundTripMicros: Percentiles,
 *   parks: number, wakes: number, bells: number,
 * }} Latency
 */

/**
 * Sends `samples` pings, after a tenth as many that do not count.
 *
 * @param {Conversation} conversation
 * @param {number} samples
 * @returns {Promise<Latency>}
 */
export async function measureLatency({ requests, replies }, samples) {
  const { pipe } = requests;
  const oneWay = createHistogram(HISTOGRAM);
  const roundTrip = createHistogram(HISTOGRAM);
  let before = pipe.stats();
  for (let sample = -Math.ceil(samples / 10); sample < samples; sample += 1) {
    if (sample === 0) before = pipe.stats();
    const ping = { sent: process.hrtime.bigint() };
    if (!requests.trySend({ kind: 'Ping', value: ping })) {
      throw new Error('an idle pipe had no room for a ping');
    }
    pipe.flush();
    const { sent, received } = expectReply(await replies.receive(), 'Pong');
    const now = process.hrtime.bigint();
    if (sample < 0) continue;
    oneWay.record(received - sent);
    roundTrip.record(now - sent);
  }
  const after = pipe.stats();
  return {
    samples,
    oneWayMicros: percentiles(oneWay),
    roundTripMicros: percentiles(roundTrip),
    parks: after.parks - before.parks,
    wakes: after.wakes - before.wakes,
    bells: after.bells - before.bells,
  };
}

/**
 * @param {RecordableHistogram} histogram
 * @returns {Percentiles}
 */
function percentiles(histogram) {
  return {
    p50: histogram.percentile(50) / 1000,
    p90: histogram.percentile(90) / 1000,
    p99: histogram.percentile(99) / 1000,
    p999: histogram.percentile(99.9) / 1000,
    max: histogram.max / 1000,
  };
}

/** Nanoseconds from 1 ns to 100 s to three significant figures: an HDR histogram. */
const HISTOGRAM = Object.freeze({ lowest: 1, highest: 100_000_000_000, figures: 3 });
