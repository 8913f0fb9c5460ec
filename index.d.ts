/**
 * Busbar: what the package offers, at a glance. Each name is documented where it is defined, lib/.
 */

// Between processes, threads and within one: pipes
export { dial, listen } from './dist/index.js';
export { bindInproc, connectInproc, inprocStats, listInprocEndpoints } from './dist/index.js';
export type { InprocStats, InprocTraffic } from './dist/index.js';
export { Listener, Pipe, TypedPipe } from './dist/index.js';
export { configure, type EnvironmentOptions, type IoMode } from './dist/index.js';
export { parseAddress, type Address } from './dist/index.js';
export type {
  Access,
  Authorize,
  DialOptions,
  HeartbeatOptions,
  ListenOptions,
  PipeOptions,
  ReconnectOptions,
  Trust,
  WaitMode,
} from './dist/index.js';
export type {
  Backpressure,
  ChannelOptions,
  ListenerRates,
  QosOptions,
  RateOptions,
  ReceiveBackpressure,
} from './dist/index.js';
export type { Acknowledgement, ListenerReliableOptions, ReliableOptions } from './dist/index.js';
export type { CloseReason, ConnectionState, Peer } from './dist/index.js';
export type { ListenerEvents, PipeEvents } from './dist/index.js';
export type { Pem, TlsOptions, TlsVersion } from './dist/index.js';

// Sending and receiving
export type {
  Reservation,
  ReserveOptions,
  Sendable,
  SendOptions,
  TrySendOptions,
} from './dist/index.js';
export type {
  Batch,
  BatchesOptions,
  ConsumeOptions,
  Loan,
  Message,
  WaitOptions,
} from './dist/index.js';
export type { CloseOptions } from './dist/index.js';

// Typed messages
export { compile, registry, BufferTooSmallError, SchemaError } from './dist/index.js';
export { openMapped, writeMapped, MappedFile, type OpenMappedOptions } from './dist/index.js';
export type { ArchiveCodec, ArchiveReader, Comparison, CompileOptions } from './dist/index.js';
export type { RegisteredTypes, RegisterOptions, Registry } from './dist/index.js';
export type { ConvertOptions, Downgrade, Format } from './dist/index.js';
export type { Codec, Decoder, TypedBatch, TypedOptions, TypeInfo } from './dist/index.js';
export type { Cursor, ListCursor, ListView, MapCursor, MapView } from './dist/index.js';
export type { RootCursor, RootView, StructView, TupleView, ViewOf } from './dist/index.js';
export type { Descriptor, DescriptorDraft, DescriptorSource } from './dist/index.js';
export type { EnumDescriptor, FieldDescriptor } from './dist/index.js';
export type {
  Int64Mode,
  KindDescriptor,
  PlaceDescriptor,
  ScalarName,
  Shape,
} from './dist/index.js';
export type { StructDescriptor, TypeDescriptor, VariantDescriptor } from './dist/index.js';

// Native plugins
export { BatchError, loadZone, Zone, ZoneObject } from './dist/index.js';
export type {
  BatchOf,
  BatchOptions,
  BoundMethod,
  CallSyncOptions,
  CloseZoneOptions,
  ExposedContext,
  ExposedFunction,
  HoldOptions,
  LendOptions,
  LoadZoneOptions,
  PluginTrust,
  Promised,
  ReloadEvent,
  ReloadZoneOptions,
  ZoneDenial,
  ZoneDown,
  ZoneMethod,
  ZoneMode,
  ZoneProcess,
  ZoneProcessOptions,
  ZoneSandboxOptions,
  ZoneStats,
} from './dist/index.js';

// When something goes wrong
export { AbortError, BusbarError, CODES, PluginError } from './dist/index.js';
export type { BusbarErrorOptions, CodeInfo, ErrorCode, PluginErrorOptions } from './dist/index.js';

// Watching it work
export { metrics, prometheus, setLogger, version } from './dist/index.js';
export type { Counters, DropCause, Gauges, PipeStats } from './dist/index.js';
export type { Latency, LogEntry, Logger, LogLevel, Metrics, PipeMetrics } from './dist/index.js';
