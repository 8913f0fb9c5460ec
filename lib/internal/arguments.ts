/** Checks of arguments of single calls. Those of pipes and listeners are in options.ts. */

import { invalidArgument, show } from '../errors.js';
import type { BatchesOptions, CloseOptions, ConsumeOptions } from '../pipe.js';
import type { Codec, TypedOptions } from '../typed.js';
import { ANNOUNCEMENTS } from './announcement.js';
import { checkFlag, checkNames, checkObject } from './checks.js';
import { BATCH_MAX } from './port.js';
import type { WaitOptions } from './wait.js';

/** Throws unless `address` is a string. */
export function checkAddress(address: unknown): asserts address is string {
  if (typeof address === 'string') return;
  throw invalidArgument(`address is ${show(address)}; it must be a string such as 'shm://name'`);
}

/** The channel among the options of a send. */
export function channelOf(options: { readonly channel?: number }): number {
  const channel: unknown = checkObject(options).channel;
  if (channel === undefined) return 0;
  const isInRange = typeof channel === 'number' && (channel & 0xffff) === channel;
  if (isInRange && channel !== ANNOUNCEMENTS) return channel;
  throw invalidArgument(`channel is ${show(channel)}; it must be an integer, 0 to 65534`);
}

/** A codec, if it has all that one must have. */
export function checkCodec<T, V>(codec: Codec<T, V>): Codec<T, V> {
  const { name, hash, descriptor } = (codec ?? {}) as Partial<Codec<T, V>>;
  const named = typeof name === 'string' && typeof descriptor === 'string';
  const hashed = typeof hash === 'bigint' && hash >= 0n && hash < 1n << 64n;
  const methods = [codec?.encode, codec?.encodeInto, codec?.decode];
  if (named && hashed && methods.every((method) => typeof method === 'function')) return codec;
  const parts = 'name, hash (64 bits as a bigint), descriptor, encode, encodeInto and decode';
  throw invalidArgument(`codec is ${show(codec)}; it must have ${parts}`);
}

/** Whether other versions of a type are to be read. */
export function checkResolve({ resolve = false }: TypedOptions): boolean {
  checkFlag('resolve', resolve);
  return resolve;
}

/** Throws unless `max` is a number of messages. */
export function checkMax(max: unknown, limit: number): asserts max is number {
  if (Number.isInteger(max) && (max as number) >= 1 && (max as number) <= limit) return;
  throw invalidArgument(`max is ${show(max)}; it must be an integer, 1 to ${limit}`);
}

/** Options of calls that give several messages at a time: how many, and what ends the wait. */
export interface Portion {
  readonly max: number;
  readonly wait: WaitOptions;
}

/** Checks the options of `batches()`. What is no option is found where it waits. */
export function checkBatchesOptions(options: BatchesOptions): Portion {
  return portionOf(options, MESSAGES_STANDARD, MESSAGES_MAX);
}

/** Checks the arguments of `consume()`, as those of `batches()`. */
export function checkConsumeOptions(callback: unknown, options: ConsumeOptions): Portion {
  if (typeof callback !== 'function') {
    throw invalidArgument(`the callback of consume() is ${show(callback)}; it must be a function`);
  }
  return portionOf(options, BATCH_MAX, BATCH_MAX);
}

function portionOf(options: BatchesOptions, standard: number, limit: number): Portion {
  const { max = standard, ...wait } = checkObject(options);
  checkMax(max, limit);
  return { max, wait };
}

/** Checks the options of `close()`. */
export function checkCloseOptions(options: CloseOptions): {
  lingerMs: number;
  status: number;
  text: string;
} {
  checkNames(options, ['lingerMs', 'reason']);
  const { lingerMs = LINGER_MS, reason = '' } = options;
  if (typeof lingerMs !== 'number' || !(lingerMs >= 0 && lingerMs <= LINGER_MS_MAX)) {
    const range = `milliseconds, 0 to ${LINGER_MS_MAX}`;
    throw invalidArgument(`lingerMs is ${show(lingerMs)}; it must be ${range}`);
  }
  if (typeof reason !== 'string') checkNames(reason, ['status', 'text']);
  const { status = 0, text = '' } = typeof reason === 'string' ? { text: reason } : reason;
  if (!Number.isInteger(status) || status < 0 || status > STATUS_MAX) {
    throw invalidArgument(`status is ${show(status)}; it must be an integer, 0 to ${STATUS_MAX}`);
  }
  if (typeof text !== 'string' || Buffer.byteLength(text) > TEXT_BYTES_MAX) {
    const range = `a text of up to ${TEXT_BYTES_MAX} bytes`;
    throw invalidArgument(`reason is ${show(text)}; it must be ${range}`);
  }
  return { lingerMs, status, text };
}

/** Long enough for a peer that is busy, short enough not to hang a shutdown. */
const LINGER_MS = 30_000;
const LINGER_MS_MAX = 2 ** 31 - 1;
const STATUS_MAX = 2 ** 32 - 1;
const TEXT_BYTES_MAX = 1024;

/** Messages of one batch for a program to keep: by default, and at most. */
export const MESSAGES_STANDARD = 1024;
export const MESSAGES_MAX = 65_536;
