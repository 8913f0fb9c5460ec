/**
 * Busbar: messages between threads and processes.
 *
 * @packageDocumentation
 */

import { native } from './internal/native.js';

export { parseAddress, type Address } from './address.js';
export type { Batch } from './batch.js';
export { CODES, type CodeInfo, type ErrorCode } from './codes.js';
export { configure, type EnvironmentOptions, type IoMode } from './configure.js';
export { dial } from './dial.js';
export {
  AbortError,
  BusbarError,
  type BusbarErrorOptions,
  PluginError,
  type PluginErrorOptions,
} from './errors.js';
export {
  bindInproc,
  connectInproc,
  inprocStats,
  listInprocEndpoints,
  type InprocStats,
  type InprocTraffic,
} from './inproc.js';
export type { Peer } from './internal/peer.js';
export type { Sendable } from './internal/pending.js';
export type { WaitOptions } from './internal/wait.js';
export { listen } from './listen.js';
export { Listener, type ListenerEvents } from './listener.js';
export type { Loan } from './loan.js';
export type { Message } from './message.js';
export { setLogger, type LogEntry, type Logger, type LogLevel } from './logger.js';
export { MappedFile, openMapped, writeMapped, type OpenMappedOptions } from './mapped.js';
export { metrics, type Latency, type Metrics, type PipeMetrics } from './metrics.js';
export type {
  Access,
  Authorize,
  DialOptions,
  ListenOptions,
  PipeOptions,
  Trust,
  HeartbeatOptions,
  ReconnectOptions,
  WaitMode,
} from './options.js';
export {
  Pipe,
  type BatchesOptions,
  type CloseOptions,
  type ConsumeOptions,
  type PipeEvents,
  type ReserveOptions,
  type SendOptions,
  type TrySendOptions,
} from './pipe.js';
export { prometheus } from './prometheus.js';
export type {
  Backpressure,
  ChannelOptions,
  ListenerRates,
  QosOptions,
  RateOptions,
  ReceiveBackpressure,
} from './qos.js';
export type { Acknowledgement, ListenerReliableOptions, ReliableOptions } from './reliable.js';
export {
  registry,
  type ConvertOptions,
  type Downgrade,
  type Format,
  type RegisteredTypes,
  type RegisterOptions,
  type Registry,
  type TypeInfo,
} from './registry.js';
export type { Reservation } from './reservation.js';
export {
  compile,
  type ArchiveCodec,
  type ArchiveReader,
  type CompileOptions,
} from './schema/codec.js';
export type { Comparison } from './schema/compare.js';
export type {
  Descriptor,
  DescriptorDraft,
  DescriptorSource,
  EnumDescriptor,
  FieldDescriptor,
  Int64Mode,
  KindDescriptor,
  PlaceDescriptor,
  ScalarName,
  Shape,
  StructDescriptor,
  TypeDescriptor,
  VariantDescriptor,
} from './schema/descriptor.js';
export { BufferTooSmallError, SchemaError } from './schema/problems.js';
export type {
  Cursor,
  ListCursor,
  ListView,
  MapCursor,
  MapView,
  RootCursor,
  RootView,
  StructView,
  TupleView,
  ViewOf,
} from './schema/views.js';
export type { CloseReason, ConnectionState } from './state.js';
export {
  TypedPipe,
  type Codec,
  type Decoder,
  type TypedBatch,
  type TypedOptions,
} from './typed.js';
export type { Counters, DropCause, Gauges, PipeStats } from './stats.js';
export type { Pem, TlsOptions, TlsVersion } from './tls.js';
export {
  loadZone,
  Zone,
  type BatchOf,
  type BatchOptions,
  type BoundMethod,
  type CloseZoneOptions,
  type LoadZoneOptions,
  type PluginTrust,
  type CallSyncOptions,
  type Promised,
  type ZoneMethod,
  type ZoneMode,
  type ZoneStats,
  type ReloadEvent,
  type ReloadZoneOptions,
  type HoldOptions,
  type LendOptions,
  type ZoneDown,
} from './zone.js';
export type { ExposedContext, ExposedFunction } from './zone-exposed.js';
export { ZoneObject } from './zone-object.js';
export type {
  ZoneDenial,
  ZoneProcess,
  ZoneProcessOptions,
  ZoneSandboxOptions,
} from './zone-process.js';

export { BatchError } from './internal/inline-batch.js';

/** The version of this package. */
export const version: string = native.version();
