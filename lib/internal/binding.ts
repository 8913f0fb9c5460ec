/**
 * The native edge, typed. `native.ts` loads the addon behind it.
 *
 * Hot functions take integer handles and return integers: a negative result is a negated number of
 * the table of error codes (`errorOf`), never a thrown exception. The two hottest have their
 * integers and their result in the port's registers, see `port.ts`. Cold functions throw.
 */

import type { LogLevel } from '../logger.js';

/** Bits of {@link NativePort.interest}. */
export const READABLE = 1;
export const WRITABLE = 2;

/** Set in a slot's meta word when the payload is a large one. */
export const LEASED: number = 1 << 31;

/**
 * Set in a slot's meta word beside {@link LEASED} when the payload is in memory of this end's own:
 * nobody has use for it otherwise, so it can be kept without a copy.
 */
export const OWNED: number = 1 << 30;

/** Whether a slot's meta word has {@link LEASED} set. */
export function isLeased(meta: number): boolean {
  return (meta & LEASED) !== 0;
}

/** The index part of a handle; the rest says which use of the index it is. */
export const HANDLE_INDEX_MASK: number = (1 << 18) - 1;

/** Kinds of entries that {@link NativePort} writes to `events`, four words each. */
export const Event = {
  /** [kind, pipe, 0, 0]: receive() has something to give. Repeated every turn while wanted. */
  Readable: 1,
  /** [kind, pipe, 0, 0]: a refused send may be offered again. Repeated like Readable. */
  Writable: 2,
  /** [kind, listener, pipe, 0]: a pipe was accepted. */
  Accepted: 3,
  /** [kind, pipe, state, 0]: the connection state changed; see `STATES` in state.ts. */
  State: 4,
  /**
   * [kind, pipe, 0, 0]: closed by the peer or a failure; `takeReason(pipe)` says why. What had
   * arrived can still be received (and be reported as Readable); close() then frees the pipe.
   */
  Closed: 5,
  /** [kind, listener, 0, 0]: a background failure; `takeWarning()` gives it. */
  Warning: 6,
  /** [kind, listener, 0, 0]: the listener was closed underneath. Last event of a listener. */
  ListenerClosed: 7,
  /** [kind, listener, pipe, 0]: a dialer waits for admit(). peer(pipe) says who it is. */
  Asking: 8,
  /** [kind, pipe, 0, 0]: messages were dropped; `stats()` says how many and why. */
  Dropped: 9,
  /** [kind, pipe, 0, 0]: a message of the pipe's session was given up; `stats()` counts them. */
  DeliveryFailed: 10,
} as const;

/** What the addon throws from cold functions, or hands out as a reason. */
export interface NativeError {
  code: string;
  message: string;
}

/** Why an operation with a plugin failed. */
export interface NativeFailure extends NativeError {
  /** Of errors of plugins, with the three below. */
  pluginId?: string | null;
  /** Empty if no method was called. */
  method?: string | null;
  status?: string | null;
  generation?: string | null;
}

export interface NativeReason extends NativeError {
  /** The application's own number given to close(), 0 by default. */
  status: number;
  /** Whether this is an orderly close (by either side), as opposed to a failure. */
  clean: boolean;
}

export interface NativePipeOptions {
  ringBytes: number;
  slabBytes: number;
  maxMessageBytes: number;
  /** 0 same-user, 1 hostile */
  trust: number;
  /** 0 park, 1 balanced, 2 low-latency, 3 busy */
  wait: number;
  spinMicros: number;
  /** inproc, uds, tcp: messages queued per direction, 0 = unbounded */
  queueMessages: number;
  /** 0 same-user, 1 anyone, 2 those in the lists that follow */
  access: number;
  /** shm, uds, tcp: 0 = off */
  heartbeatMs: number;
  heartbeatMisses: number;
  /** uds, tcp */
  /** 0: four times maxMessageBytes */
  maxReassemblyBytes: number;
  reassemblyTimeoutMs: number;
  /** uds, tcp, tls: 0 = no session, and none of the next six */
  sessionTimeoutMs: number;
  windowMessages?: number;
  windowBytes?: number;
  /** 0 processed, 1 received, 2 processed, which the program says of each message */
  ack?: number;
  maxDeliveryAttempts?: number;
  probeAfterMs?: number;
  lossyChannels?: readonly number[];
  uids?: readonly number[];
  gids?: readonly number[];
  /** tls only */
  tls?: NativeTlsOptions;
}

export interface NativeDialOptions extends NativePipeOptions, NativeBackoff {
  /** 1: goes on trying while nobody listens there yet */
  retry: number;
  /** For each attempt to reconnect. */
  connectTimeoutMs: number;
}

/** How lost connections are replaced. */
export interface NativeBackoff {
  /** 0: they are not */
  reconnect: number;
  initialMs: number;
  maxMs: number;
  factor: number;
  jitter: number;
  maxAttempts: number;
}

export interface NativeTlsOptions {
  /** PEM, as are the next two. */
  cert: Uint8Array | undefined;
  key: Uint8Array | undefined;
  ca: Uint8Array | undefined;
  /** '' for the host that is dialed */
  servername: string;
  requestCert: number;
  rejectUnauthorized: number;
  /** 0 TLSv1.2, 1 TLSv1.3 */
  minVersion: number;
}

export interface NativePeer {
  pid?: number;
  uid?: number;
  gid?: number;
  remoteAddress?: string;
  remotePort?: number;
  protocol?: 'TLSv1.2' | 'TLSv1.3';
  /** DER */
  certificate?: Buffer;
  /** Why the certificate is not trusted. */
  code?: string;
  message?: string;
}

export interface NativeListenOptions extends NativePipeOptions {
  backlog: number;
  handshakeTimeoutMs: number;
  /** uds: permissions of the socket's file */
  mode: number;
  /** tcp: 1 if others may listen at the port too */
  reusePort: number;
  /** 1 if Asking events are wanted */
  authorize: number;
  /** With a session. */
  maxSessions?: number;
  maxSessionBytes?: number;
}

export interface NativePort {
  // ---- cold: may throw NativeError ----
  listen(address: string, options: NativeListenOptions): number;
  closeListener(listener: number): void;
  /** Starts connecting; State or Closed follows. The caller sets the deadline: by close(). */
  dial(address: string, options: NativeDialOptions): number;
  /**
   * Sends the reason to the peer, after what waits in the pipe's queue, and frees the pipe; its
   * handle is dead afterwards. Returns how many messages are given up.
   */
  close(pipe: number, status: number, reason: string, lingerMs: number): number;
  /** As close(), for a connection that nobody can take: the peer gets ERR_CONNECTION_REFUSED. */
  refuse(pipe: number, reason: string): void;
  /** Gives a pipe its quality of service, as `encodeQos` in qos.ts writes it. */
  shape(pipe: number, qos: Uint8Array): void;
  /** As shape(), for all pipes that come in at a listener from now on. */
  shapeListener(listener: number, qos: Uint8Array): void;
  /**
   * Messages in the queue of a pipe, and those of its session that are not acknowledged. If there
   * are some, Writable follows when there are none. -1: neither end receives any more, so that
   * there is nothing to wait for.
   */
  drain(pipe: number): number;
  /**
   * Nobody receives from a reliable pipe any more: what comes is dropped, unprocessed, so that the
   * acknowledgements behind it are seen. The program has got `got` messages of those that were
   * given out.
   */
  stopReceiving(pipe: number, got: number): void;
  /** Why the pipe is over, or became DISCONNECTED: to be asked at each of these events, once. */
  takeReason(pipe: number): NativeReason;
  /** Session and epoch of the connection, such as `00ff…/1`; null while there is none. */
  connectionId(pipe: number): string | null;
  takeWarning(): NativeError | null;
  /** The next announcement of the peer that was not taken yet; see announcement.ts. */
  takeAnnouncement(pipe: number): Buffer | null;
  /** Address of a listener as dial() would take it. */
  listenerAddress(listener: number): string;
  /** Who is at the other end, or null where it is this process or not known yet. */
  peer(pipe: number): NativePeer | null;
  /** Answers Asking: lets the dialer in, or turns it away (0) with a reason. */
  admit(pipe: number, isWelcome: number, reason: string): void;
  /** Replaces what a listener shows from now on. */
  setCredentials(listener: number, tls: NativeTlsOptions): void;
  /** The largest message that both ends of the connection take; 0 while there is none. */
  messageBytesMax(pipe: number): number;
  /** Fills `out` with the counters and gauges in the order of stats.ts. */
  stats(pipe: number, out: Float64Array): void;
  /** Keeps the event loop alive while `count`, the number of resources that want that, is not 0. */
  ref(count: number): void;
  /** 'uv_poll' or 'threadsafe-function'. */
  /** How descriptors are reached: `uring` or `poll`. */
  backend(): string;
  wakeKind(): string;

  // ---- hot ----
  /** Sets what events are wanted (READABLE | WRITABLE). Returns 0 or an error. */
  interest(pipe: number, bits: number): number;
  /**
   * Registers: pipe, start, end → bytes taken, from the front, or an error.
   *
   * Sends whole records from `staging[start..end)` (record layout: record.ts) and publishes them.
   * An error means that the pipe is over: Closed follows.
   */
  submit(staging: Uint8Array): void;
  /**
   * Offers one message of any size. 1 = sent, 0 = not now: offer the same bytes again after
   * Writable, or abandon(pipe).
   */
  send(pipe: number, channel: number, bytes: Uint8Array): number;
  /**
   * Offers one message under terms of its own; below 0 they are absent. 0 = refused, 1 = accepted,
   * 2 = dropped. `once`: outside the session of a reliable pipe. A pipe without a queue gets one.
   */
  sendWith(
    pipe: number,
    channel: number,
    bytes: Uint8Array,
    policy: number,
    ttlMs: number,
    once: boolean,
  ): number;
  /** Gives up a message. `true` if it is too large to be ever sent by a single send(). */
  abandon(pipe: number): boolean;
  /** Writes to sockets what has been put off until the end of the turn, of all pipes. */
  flush(): void;
  /**
   * Lends `length` writable bytes of shared memory. null = none free (send a plain copy instead);
   * a number = error. The loan is known by `loanId()` directly after.
   */
  loan(pipe: number, length: number): ArrayBuffer | null | number;
  /** Id of the loan or lease that the last loan()/lease() call made. */
  lastId(): number;
  /** Sends a loan and detaches its ArrayBuffer. 1 = sent, 0 = queue full (still on loan). */
  commit(pipe: number, loan: number, channel: number, length: number): number;
  /** Gives a loan back unsent and detaches its ArrayBuffer. */
  discard(loan: number): void;
  /**
   * Registers: pipe, start, max, copyMax → number of messages, or an error.
   *
   * Moves up to `max` messages into `arena` from `start` on, and describes them in `slots` (three
   * words each: offset relative to `start`, a multiple of 8; length; meta = channel | LEASED).
   * Their number is 0 also when the pipe is over and drained, or when the rest of the arena is
   * smaller than a small message may be (INLINE_MAX). Large payloads up to `copyMax` bytes are
   * copied to the arena, behind the small ones, while there is room. Any other has LEASED set and
   * a lease index as its offset, valid until the next receive() of any pipe or until JavaScript
   * returns to the loop: fetch it with copyLease or lease, or it is released then.
   */
  receive(arena: Uint8Array): void;
  /**
   * The program is done with the first `count` messages that receive() has given, of a pipe with a
   * session: they are acknowledged if they were not on arrival, and their numbers forgotten.
   */
  processed(pipe: number, count: number): number;
  /** The same of messages from `start` to before `end`, counted from 0 as receive() gives them. */
  acknowledge(pipe: number, start: number, end: number): number;
  /**
   * The number in its channel of the session of a message that receive() has given, counted from 0;
   * -1 for one that is of no session or that the program is done with.
   */
  seqOf(pipe: number, place: number): number;
  /** The session of a reliable pipe and the end that sends to this one, such as `00ff…/d`. */
  sessionOf(pipe: number): string | null;
  /** Copies a large payload out and gives it back to its sender. */
  copyLease(index: number, target: Uint8Array): number;
  /** The large payload itself, as an ArrayBuffer that release() detaches. A number = error. */
  lease(index: number): ArrayBuffer | number;
  /** Gives a leased payload back to its sender and detaches its ArrayBuffer. */
  release(lease: number): void;
}

export interface Native {
  /**
   * Opens the port of this environment, with an I/O thread if `hasThread`. `backend` may be empty.
   * `onWake()` is called with entries in `events`, their number in `registers[0]`. The arrays are
   * kept for the life of the environment and must never reach users. Throws.
   */
  openPort(
    onWake: () => void,
    events: Uint32Array,
    slots: Uint32Array,
    registers: Int32Array,
    hasThread: boolean,
    backend: string,
  ): NativePort;
  /** [scheme, key, value, key, value, …] with the keys of `Address` (address.ts). Throws. */
  parseAddress(address: string): string[];
  listInprocEndpoints(): string[];
  /** The numbers of `InprocStats` (inproc.ts), in their order. Throws. */
  inprocStats(name: string): number[];
  version(): string;

  // ---- the registry of types, see registry.ts: throw ----
  registerType(descriptor: string, origin: string, allowVersions: boolean): NativeType;
  lookupType(name: string, hash: bigint | undefined): NativeType;
  listTypes(): NativeType[];
  unregisterType(name: string, hash: bigint): boolean;
  loadTypes(path: string, allowVersions: boolean): NativeType[];
  describeLibrary(path: string): string[];
  describePlugin(path: string): NativePlugin;
  convertType(
    name: string,
    hash: bigint | undefined,
    formats: [from: string, to: string],
    bytes: Uint8Array,
  ): Buffer;
  listDowngrades(): { name: string; hash: bigint; format: string; count: number }[];
  /** The Cap'n Proto schema of a descriptor. */
  capnpText(descriptor: string): string;
  openMapped(path: string): NativeMappedFile;
  writeMapped(path: string, hash: bigint, archive: Uint8Array): void;
  /**
   * `onWake()` is called when operations have ended, `onCall()` within calls of plugins on this
   * thread: it gives bytes, or a code and a message.
   */
  openZones(onWake: () => void, onCall: OnCall): NativeZones;
}

/** A plugin calls a parent, by its number. */
export type OnCall = (
  parent: number,
  method: string,
  input: Buffer,
) => Uint8Array | readonly [code: string, message: string];

/** This environment's side of all plugin zones, see zone-port.ts. Its functions throw. */
export interface NativeZones {
  /** The plugin calls the parent that `exposed` numbers. */
  load(
    options: NativeZoneOptions,
    parent: NativeZone | null,
    exposed: number,
    operation: number,
  ): void;
  /** Answers a call of a plugin's. */
  answer(call: number, result: Uint8Array): void;
  refuse(call: number, code: string, message: string): void;
  /** `onWake()` is called before the loop sleeps, too. To be asked for once, before `load`. */
  calls(words: Uint32Array, onWake: () => void): NativeCalls;
  /** What ended otherwise than by a result that `collect` brings; in the order of the ends. */
  take(): NativeEnd[];
  /** The least important log records that are wanted, from here on: 0 error to 3 debug. */
  logLevel(level: number): void;
  /** Whether the process shall live on for what has not ended. */
  keepAlive(wanted: boolean): void;
  /** Closes all zones, for up to two seconds. */
  drain(): void;
}

/**
 * Ends of calls. Words: operations under way and calls among them, written by TypeScript; whether
 * the loop is kept alive for them; whether the addon looks before the loop sleeps, and lets it end.
 * Then, for each end, the operation and the bytes of its result, or `NATIVE_OTHER`.
 */
export interface NativeCalls {
  /** Results lie in `target`, each at a multiple of 8 from `from` on; how many ends there are. */
  collect(target: Uint8Array, from: number): number;
}

/** The end is one that `take` brings. */
export const NATIVE_OTHER = 0xffff_ffff;

/** Starts a call; its number, for `cancel`. It throws. */
export type NativeSubmit = (method: number, input: Uint8Array, operation: number) => number;

/**
 * Waits for a call: the length of the result, which lies in `out`; or the result, if it has no room
 * there. It throws.
 */
export type NativeWait = (
  method: number,
  input: Uint8Array,
  out: Uint8Array,
  timeoutMs: number,
) => number | Buffer;

export interface NativeZoneOptions {
  /** A path, or a name to look for. */
  library: string;
  isName: boolean;
  folders: string[];
  /** 0 inline, 1 shared, 2 dedicated, 3 process */
  mode: number;
  /** Libraries in Go in this process: 0 refuse, 1 give them a process, 2 allow */
  go: number;
  process?: NativeProcessOptions;
  threads: number;
  /** JSON */
  config: string;
  allowVersions: boolean;
  /** Ids of plugins and SHA-256 of their files in turn. */
  allow: string[];
  keys: string[];
  insecure: boolean;
  /** Whether there are functions for the plugin to call. */
  exposes: boolean;
}

/** How an operation ended: with one of the last three, or with nothing to say. */
export interface NativeEnd {
  operation: number;
  result?: Buffer | null;
  zone?: NativeZone | null;
  /** Of a reload: the generation that is called now; 0 if it is the one that was. */
  generation?: number | null;
  error?: NativeFailure | null;
  /** Level and text of a log record; then there is no operation. */
  log?: [LogLevel, string] | null;
  /** What the plugin says whose parent the operation is. */
  up?: NativeUp | null;
}

/** What a plugin says to whoever loaded it. */
export interface NativeUp {
  /** 0 a call, 1 nobody waits for it any more, 2 an object is released, 3 the plugin is down */
  kind: number;
  /** Of the call or object, or the generation. */
  number: number;
  /** Of a call, whose argument is the end's result. */
  method?: string | null;
}

/** An object of a plugin, see zone-object.ts. `number()` throws. */
export interface NativeObject {
  readonly generation: number;
  number(): number;
  release(): void;
}

/** The process of a plugin, see zone-process.ts. */
export interface NativeProcessOptions {
  host: string;
  /** Names and values in turn. */
  env?: string[];
  /** 0 inherit, 1 ignore, 2 log */
  output: number;
  startTimeoutMs: number;
  callTimeoutMs?: number;
  crashesMax: number;
  crashWindowMs: number;
  spinMicros?: number;
  ringBytes: number;
  slabBytes: number;
  memoryBytes?: number;
  cpuSeconds?: number;
  files?: number;
  denyExec: boolean;
  denyNetwork: boolean;
  denyWrite: boolean;
}

/** How a process does. */
export interface NativeProcess {
  pid?: number | null;
  starts: number;
  crashes: number;
  retried: number;
  lastCrash?: string | null;
}

/** An open zone, see zone.ts. Its functions throw. */
export interface NativeZone {
  readonly id: string;
  readonly version: string;
  readonly state: string;
  /** As {@link NativeZoneOptions.mode}. */
  readonly mode: number;
  /** Nothing if it has none. */
  process(): NativeProcess | null;
  methods(): NativeMethod[];
  types(): { name: string; hash: bigint }[];
  inline(registers: Uint32Array, room: number): NativeInline;
  readonly generation: number;
  stats(): { openCalls: number; lateCalls: number };
  reload(path: string | null, options: NativeReload, operation: number): void;
  watch(options: NativeReload, operation: number): void;
  unwatch(): void;
  submitter(): NativeSubmit;
  cancel(call: number): void;
  hold(object: number): NativeObject;
  lend(): number;
  takeBack(object: number): boolean;
  post(method: number, input: Uint8Array): void;
  waiter(): NativeWait;
  /** With `onlyIfIdle` it may end with ERR_IN_USE. */
  close(graceMs: number, onlyIfIdle: boolean, operation: number): void;
}

export interface NativeReload {
  graceMs: number;
  breaking: boolean;
  cold: boolean;
}

/** A plugin that was not loaded. */
export interface NativePlugin {
  id: string;
  methods: NativeMethod[];
}

export interface NativeMethod {
  number: number;
  name: string;
  flags: number;
  inHash: bigint;
  outHash: bigint;
}

/** Calls on this thread; all functions throw. */
export interface NativeInline {
  /** Its first half is for arguments, its second for results. */
  readonly arena: ArrayBuffer;
  /**
   * A function for a method, with everything looked up. Registers: bytes of the argument, room for
   * the result; then, set, bytes of the result. It reads both of them (0), the first, where the
   * room is all there is (1), or none, as there is no argument (2). Of what most likely gives
   * nothing (3), it says by `true` that it did, and sets nothing otherwise.
   */
  bind(method: number, takes: number): () => true | undefined;
  /** Bytes of the result. */
  callBytes(method: number, input: Uint8Array, out: Uint8Array): number;
  /**
   * Calls in order. A record is 8 words: method, where its argument begins in the arena and its
   * bytes, where its result goes and the room for it; then, set, bytes of the result and a status;
   * 0. Index, code and message of each call that failed.
   */
  callBatch(records: Uint8Array): [index: number, code: string, message: string][] | undefined;
}

/** A file that is open, see mapped.ts. */
export interface NativeMappedFile {
  readonly hash: bigint;
  /** The archive, copied on write; to be called once. */
  buffer(): ArrayBuffer;
  /** Throws if another program changed the file. */
  verify(): void;
}

/** An entry of the registry. */
export interface NativeType {
  name: string;
  hash: bigint;
  /** Joined by `|`. */
  formats: string;
  origin: string;
  /** JSON; absent if a plugin keeps it to itself. */
  descriptor?: string;
}
