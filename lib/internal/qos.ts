/** Quality of service as the core takes it: checked, and written as numbers one after the other. */

import { invalidArgument, show } from '../errors.js';
import type { Backpressure, ChannelOptions, RateOptions } from '../qos.js';
import { ANNOUNCEMENTS } from './announcement.js';
import { checkFlag, checkObject, hasOptions } from './checks.js';
import { checked, choice, integer, type Rule, type Rules, type Values } from './rules.js';

/** How the messages of one channel are sent, without what has a default in the core. */
export interface LaneSettings {
  readonly backpressure: Backpressure;
  /** -1: for ever. */
  readonly ttlMs: number;
}

/** What the queues of a pipe are like. */
export interface QosSettings {
  /** For the core. */
  readonly native: Uint8Array;
  /** For channels that are not in `channels`; `null` if nothing waits to be sent in the core. */
  readonly standard: LaneSettings | null;
  readonly channels: ReadonlyMap<number, LaneSettings>;
  /** Whether messages wait in the core to be received. */
  readonly isReceiving: boolean;
}

/** What holds for one message. Absent: as for its channel. */
export interface Terms {
  readonly reliable?: boolean;
  readonly ttlMs?: number;
  readonly backpressure?: Backpressure;
}

/** How messages wait that are sent with terms of their own over a pipe without a queue. */
export const STANDARD_LANE: LaneSettings = { backpressure: 'block', ttlMs: -1 };

/** The policies by their number in the core. */
export const POLICIES: readonly Backpressure[] = ['block', 'drop-new', 'drop-old', 'fail-fast'];

const MESSAGES_MAX = 1 << 24;
const BYTES_MAX = 2 ** 40;
const TTL_MS_MAX = 2 ** 31 - 1;
const CHANNELS_MAX = 256;
const BURST_SECONDS = 0.1;
const MESSAGES_STANDARD = 1024;
const BYTES_STANDARD = 16 * 1024 * 1024;

const TTL: Rule = {
  standard: undefined,
  check(name, value) {
    if (typeof value === 'number' && value >= 0 && value <= TTL_MS_MAX) return;
    throw invalidArgument(`${name} is ${show(value)}; it must be milliseconds, 0 to ${TTL_MS_MAX}`);
  },
};

const LANE: Rules = {
  sendHighWaterMarkMessages: integer(undefined, 0, MESSAGES_MAX),
  sendHighWaterMarkBytes: integer(undefined, 0, BYTES_MAX),
  backpressure: choice(undefined, POLICIES),
  ttlMs: TTL,
};

const CHANNEL: Rules = {
  ...LANE,
  priority: integer(undefined, 0, 255),
  weight: integer(undefined, 1, 65_535),
};

const RATE: Rules = {
  messagesPerSecond: integer(undefined, 1, 1e9),
  messagesBurst: integer(undefined, 1, 1e9),
  bytesPerSecond: integer(undefined, 1, 1e12),
  bytesBurst: integer(undefined, 1, 1e12),
};

const RATES: Rule = { standard: undefined, check: checkRate };

/** The rules of a pipe's options. */
export const QOS: Rules = {
  ...LANE,
  channels: { standard: undefined, check: checkChannels },
  sendRate: RATES,
  receiveRate: RATES,
  receiveHighWaterMarkMessages: integer(undefined, 0, MESSAGES_MAX),
  receiveHighWaterMarkBytes: integer(undefined, 0, BYTES_MAX),
  receiveBackpressure: choice(undefined, ['block', 'drop-new', 'drop-old']),
};

/** The rules of what a listener has besides. */
export const LISTENER_QOS: Rules = { totalSendRate: RATES, totalReceiveRate: RATES };

const SENDING = [...Object.keys(LANE), 'channels', 'sendRate', 'totalSendRate'];
const RECEIVING = Object.keys({ ...QOS, ...LISTENER_QOS }).filter((it) => !SENDING.includes(it));

/** The settings that follow from checked options; `null` if none of them asks for a queue. */
export function qosSettings(values: Values): QosSettings | null {
  const isSending = SENDING.some((name) => values[name] !== undefined);
  const isReceiving = RECEIVING.some((name) => values[name] !== undefined);
  if (!isSending && !isReceiving) return null;
  const own = Object.entries((values['channels'] ?? {}) as Record<string, ChannelOptions>);
  const channels = own.map(([channel, options]) => {
    return [Number(channel), withStandards(options, values)] as const;
  });
  const native = [
    ...(isSending ? encodeSending(values, channels) : [0]),
    ...(isReceiving ? encodeReceiving(values) : [0]),
  ];
  return {
    native: new Uint8Array(Float64Array.from(native).buffer),
    standard: isSending ? laneOf(values) : null,
    channels: new Map(channels.map(([channel, options]) => [channel, laneOf(options)])),
    isReceiving,
  };
}

/** Checks the terms of a message; `null` if it has none of its own. */
export function termsOf(options: Terms): Terms | null {
  const { ttlMs, backpressure, reliable = true } = checkObject(options);
  checkFlag('reliable', reliable);
  if (ttlMs === undefined && backpressure === undefined && reliable) return null;
  if (ttlMs !== undefined) TTL.check('ttlMs', ttlMs);
  if (backpressure !== undefined) LANE['backpressure']?.check('backpressure', backpressure);
  return options;
}

function withStandards(options: ChannelOptions, standard: Values): Values {
  const values: Values = {};
  for (const name of Object.keys(LANE)) values[name] = standard[name];
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) values[name] = value;
  }
  return values;
}

function laneOf(values: Values): LaneSettings {
  const { backpressure = 'block', ttlMs = -1 } = values as Terms;
  return { backpressure, ttlMs };
}

function encodeSending(values: Values, channels: readonly (readonly [number, Values])[]): number[] {
  return [
    1,
    ...encodeLane(values),
    ...encodeRate(values['sendRate']),
    ...encodeRate(values['totalSendRate']),
    channels.length,
    ...channels.flatMap(([channel, options]) => [channel, ...encodeLane(options)]),
  ];
}

function encodeReceiving(values: Values): number[] {
  return [
    1,
    (values['receiveHighWaterMarkMessages'] ?? MESSAGES_STANDARD) as number,
    (values['receiveHighWaterMarkBytes'] ?? BYTES_STANDARD) as number,
    POLICIES.indexOf((values['receiveBackpressure'] ?? 'block') as Backpressure),
    ...encodeRate(values['receiveRate']),
    ...encodeRate(values['totalReceiveRate']),
  ];
}

function encodeLane(values: Values): number[] {
  const { backpressure, ttlMs } = laneOf(values);
  return [
    (values['sendHighWaterMarkMessages'] ?? MESSAGES_STANDARD) as number,
    (values['sendHighWaterMarkBytes'] ?? BYTES_STANDARD) as number,
    POLICIES.indexOf(backpressure),
    ttlMs,
    (values['priority'] ?? 0) as number,
    (values['weight'] ?? 1) as number,
  ];
}

function encodeRate(rate: unknown): number[] {
  const {
    messagesPerSecond = 0,
    messagesBurst,
    bytesPerSecond = 0,
    bytesBurst,
  } = (rate ?? {}) as RateOptions;
  const burst = (perSecond: number) => Math.ceil(perSecond * BURST_SECONDS);
  return [
    messagesPerSecond,
    messagesBurst ?? burst(messagesPerSecond),
    bytesPerSecond,
    bytesBurst ?? burst(bytesPerSecond),
  ];
}

function checkRate(name: string, value: unknown): void {
  const rate = checked(checkNamed(name, value), RATE) as RateOptions;
  for (const what of ['messages', 'bytes'] as const) {
    if (rate[`${what}Burst`] === undefined || rate[`${what}PerSecond`] !== undefined) continue;
    throw invalidArgument(`${name}.${what}Burst is given without ${what}PerSecond`);
  }
}

function checkChannels(name: string, value: unknown): void {
  const entries = Object.entries(checkNamed(name, value));
  if (entries.length > CHANNELS_MAX) {
    throw invalidArgument(`${name} has ${entries.length} channels; at most ${CHANNELS_MAX}`);
  }
  for (const [channel, options] of entries) {
    const number = Number(channel);
    // What only looks like a number, such as '' or '07', may be meant for another channel.
    if (`${number}` !== channel || !(number >= 0 && number < ANNOUNCEMENTS) || number % 1 !== 0) {
      throw invalidArgument(`${name} has a member ${show(channel)}; channels are 0 to 65534`);
    }
    checked(checkNamed(`${name}[${channel}]`, options), CHANNEL);
  }
}

function checkNamed(name: string, value: unknown): object {
  if (hasOptions(value)) return value;
  throw invalidArgument(`${name} is ${show(value)}; it must be an object`);
}
