/**
 * Busbar: messages between threads and processes.
 *
 * @packageDocumentation
 */

import { native } from './internal/native.js';

export { parseAddress, type Address } from './address.js';
export type { Batch } from './batch.js';
export { CODES, type CodeInfo, type ErrorCode } from './codes.js';
export { dial } from './dial.js';
export { AbortError, BusbarError, type BusbarErrorOptions } from './errors.js';
export { bindInproc, connectInproc, listInprocEndpoints } from './inproc.js';
export type { Peer } from './internal/core.js';
export type { Sendable } from './internal/pending.js';
export type { WaitOptions } from './internal/wait.js';
export { listen } from './listen.js';
export { Listener, type ListenerEvents } from './listener.js';
export type { Loan } from './loan.js';
export { setLogger, type LogEntry, type Logger, type LogLevel } from './logger.js';
export { metrics, type Metrics } from './metrics.js';
export type { DialOptions, ListenOptions, PipeOptions, Trust, WaitMode } from './options.js';
export {
  Pipe,
  type BatchesOptions,
  type CloseOptions,
  type ConsumeOptions,
  type PipeEvents,
  type SendOptions,
  type TrySendOptions,
} from './pipe.js';
export type { Reservation } from './reservation.js';
export { compile, type ArchiveCodec } from './schema/codec.js';
export type {
  Descriptor,
  EnumType,
  Field,
  Place,
  Scalar,
  Shape,
  StructType,
  UserType,
  Variant,
} from './schema/descriptor.js';
export type { CloseReason, ConnectionState } from './state.js';
export { TypedPipe, type Codec, type TypedBatch, type TypedOptions } from './typed.js';
export type { Counters, PipeStats } from './stats.js';

/** The version of this package. */
export const version: string = native.version();
