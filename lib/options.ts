/**
 * What a user may choose: one table of options with their defaults and accepted values, and the
 * check that names the option, the value given and what is accepted.
 */

import { BusbarError, invalidArgument, show } from './errors.js';
import type {
  NativeBackoff,
  NativeDialOptions,
  NativeListenOptions,
  NativePipeOptions,
} from './internal/binding.js';
import { checkFlag, checkObject, unknownOption } from './internal/checks.js';
import type { Peer } from './internal/peer.js';
import { LISTENER_QOS, QOS, qosSettings, type QosSettings } from './internal/qos.js';
import {
  checked,
  choice,
  chosen,
  integer,
  type Rule,
  type Rules,
  type Values,
} from './internal/rules.js';
import { checkSignal, checkTimeout, type WaitOptions } from './internal/wait.js';
import type { ListenerRates, QosOptions } from './qos.js';
import {
  sessionOf,
  sessionsOf,
  type ListenerReliableOptions,
  type ReliableOptions,
} from './reliable.js';
import { dialerTls, listenerTls, type TlsOptions } from './tls.js';

/** How to wait for the peer: what an idle moment costs against what a wake-up costs. */
export type WaitMode = 'park' | 'balanced' | 'low-latency' | 'busy';

/** How far this end relies on its peer. */
export type Trust = 'same-user' | 'hostile';

/**
 * Which users' processes an end talks to: those of its own user, whoever the socket's permissions
 * let in, or those whose user or primary group is listed, as the system has them (`SO_PEERCRED`).
 * A list is complete: the own user is let in only if it is listed too.
 */
export type Access =
  'same-user' | 'anyone' | { readonly uids?: readonly number[]; readonly gids?: readonly number[] };

/**
 * Decides who may connect: `true` lets the peer in, `false` or a text turns it away. The dialer
 * gets `ERR_PERMISSION_DENIED`, with the text as the reason. What is thrown turns away too, and is
 * an `'error'` of the listener that the dialer hears nothing of. It must decide within
 * `handshakeTimeoutMs`.
 */
export type Authorize = (peer: Peer) => boolean | string | Promise<boolean | string>;

/** How silence is told from death; see {@link PipeOptions.heartbeat}. */
export interface HeartbeatOptions {
  /** The longest silence that the peer is asked to keep, in milliseconds, 50–3,600,000. 10,000. */
  readonly intervalMs?: number;
  /** So many silences in a row, and the peer is lost, 2–100. 3. */
  readonly misses?: number;
}

/** Options of one end of a pipe. */
export interface PipeOptions extends QosOptions {
  /**
   * shm, uds, tcp: asks the peer for signs of life, and takes it for lost (`ERR_CONNECTION_LOST`)
   * after `misses` × `intervalMs` of silence: a process that was stopped or hangs, a network that
   * carries nothing any more. Any traffic counts. The peer's core sees to it, but needs its event
   * loop: a peer whose JavaScript runs for longer than that without a pause is lost too. On tcp
   * it also sets the system's keepalive. `{}`, or `true`, on tcp; otherwise `false`.
   */
  readonly heartbeat?: boolean | HeartbeatOptions;
  /**
   * `'park'` sleeps at once, `'balanced'` (the default) looks for a few turns of the event loop
   * first, `'low-latency'` looks without pause for `spinMicros`, `'busy'` never sleeps. The last
   * two also wait within `receive()` and between two callbacks of `consume()`, without sleeping and
   * for 20 µs of a turn of the event loop, for answers that come that soon.
   */
  readonly wait?: WaitMode;
  /** For `'low-latency'`: how long a silence is bridged, in microseconds, 0–100,000. 50. */
  readonly spinMicros?: number;
  /**
   * Bytes of the ring that this end writes, on uds and tcp of its send queue: a power of two, 64
   * KiB–1 GiB. 1 MiB.
   */
  readonly ringBytes?: number;
  /** Bytes for payloads above 1 KiB: 0, or a power of two, 64 KiB–4 GiB. 16 MiB. */
  readonly slabBytes?: number;
  /** Largest message in bytes, 1 KiB–2 GiB; the smaller of both ends holds. 16 MiB. */
  readonly maxMessageBytes?: number;
  /** `'hostile'` copies payloads out before anybody looks at them. `'same-user'`. */
  readonly trust?: Trust;
  /** Messages of calls of `send()` that may wait for room, 0–1,000,000. 1,024. */
  readonly maxPendingSends?: number;
  /** inproc, uds, tcp: messages queued per direction, 0–16,777,216; 0 is unbounded. 16,384. */
  readonly queueMessages?: number;
  /**
   * uds, tcp: bytes that messages of which only a part has come may have together, checked before
   * memory is taken; `maxMessageBytes` or more, up to 8 GiB. A peer that begins more is cut off
   * with `ERR_PROTOCOL`. Four times `maxMessageBytes`.
   */
  readonly maxReassemblyBytes?: number;
  /**
   * uds, tcp: how long a part of a message is kept when nothing of it comes any more, in
   * milliseconds, 1–2,147,483,647. It is then dropped, and so is the rest should it still come;
   * `stats().reassembliesExpired` counts. The messages of a `reliable` pipe are not lost with that:
   * the connection is, and they are sent again over the next. 30,000.
   */
  readonly reassemblyTimeoutMs?: number;
  /**
   * uds, tcp, tls: messages outlive their connection. A dialer that loses it dials again (see
   * {@link DialOptions.reconnect}), both ends keep their pipe, and what the peer has not
   * acknowledged is sent again: each message reaches the peer's program once. Both ends must choose
   * it, or dialing fails with `ERR_NOT_SUPPORTED`. `true` is `{}`. `false`.
   */
  readonly reliable?: boolean | ReliableOptions;
  /**
   * uds, pipe: which users' processes may be at the other end: `'same-user'`, `'anyone'` whom the
   * socket's permissions let in, or a list such as `{ uids: [1000], gids: [100] }`. Others get
   * `ERR_PERMISSION_DENIED`. To be reachable for other users, a path needs a `mode` too.
   */
  readonly access?: Access;
}

/** How lost connections are replaced; see {@link DialOptions.reconnect}. */
export interface ReconnectOptions {
  /** Delay before the first attempt, in milliseconds, 1–86,400,000. 100. */
  readonly initialMs?: number;
  /** The longest delay, in milliseconds, `initialMs`–86,400,000. 30,000. */
  readonly maxMs?: number;
  /** By what the delay grows from attempt to attempt, 1–100. 2. */
  readonly factor?: number;
  /** The part of the delay, 0–1, up to which chance adds to it. 0.5. */
  readonly jitter?: number;
  /** Attempts in a row before the pipe is given up; 0 is without end. 0. */
  readonly maxAttempts?: number;
}

/** Options of `dial()`. */
export interface DialOptions extends PipeOptions, WaitOptions {
  /** Gives up connecting. */
  readonly signal?: AbortSignal;
  /** How long connecting may take, in milliseconds. 10,000. */
  readonly timeoutMs?: number;
  /** Goes on trying while nobody listens there yet, until `timeoutMs` is over. `false`. */
  readonly retry?: boolean;
  /**
   * Replaces a connection that is lost, with growing delays; `true` is `{}`. An orderly close by
   * the peer is final. Meanwhile `state` is `'DISCONNECTED'` or `'RECONNECTING'`, and messages are
   * accepted as far as `ringBytes` and `queueMessages` allow; they go out, in order, on the next
   * connection. What was sent over the lost one and may not have arrived is not repeated, unless
   * the pipe is `reliable`; then no delay is longer than an eighth of the time for which the
   * session is kept (or `initialMs`), so that it is not lost for waiting. Each attempt may take
   * `timeoutMs`. `false`, but `true` with `reliable`.
   */
  readonly reconnect?: boolean | ReconnectOptions;
  /** tls: whom to trust, and what to show. */
  readonly tls?: TlsOptions;
}

/** Options of `listen()`, and of the pipes that it accepts. */
export interface ListenOptions extends PipeOptions, ListenerRates {
  /** As {@link PipeOptions.reliable}, and how many sessions to keep. */
  readonly reliable?: boolean | ListenerReliableOptions;
  /** Connections that may wait to be accepted, 1–65,535. 128. */
  readonly backlog?: number;
  /** How long a connecting peer may take to introduce itself, in milliseconds. 5,000. */
  readonly handshakeTimeoutMs?: number;
  /** uds: permissions of the socket's file, such as `0o660`. `0o600`. */
  readonly mode?: number;
  /** tcp: whether several listeners may share the port, each getting its part. `false`. */
  readonly reusePort?: boolean;
  /** tls: what to show, and whom to trust. */
  readonly tls?: TlsOptions;
  /** shm, uds, tcp, tls: asked about everybody who connects. */
  readonly authorize?: Authorize;
  /** Closes the listener. */
  readonly signal?: AbortSignal;
}

/** Checked pipe options. */
export interface PipeSettings {
  readonly native: NativePipeOptions;
  /** Whether lost connections are replaced. */
  readonly reconnects?: boolean;
  readonly maxPendingSends: number;
  /** What the pipe's queues are like; `null` if it has none. */
  readonly qos: QosSettings | null;
}

/** Checked listener options. */
export interface ListenSettings extends PipeSettings {
  readonly native: NativeListenOptions;
  readonly authorize: Authorize | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Checked dial options. */
export interface DialSettings extends PipeSettings {
  readonly native: NativeDialOptions;
  readonly wait: { readonly signal?: AbortSignal; timeoutMs: number };
}

/** Checks the options of a pipe within this process. */
export function pipeSettings(options: PipeOptions | undefined): PipeSettings {
  const values = checked(options, PIPE);
  if (values['reliable'] !== false) {
    const message =
      'reliable is for uds://, pipe://, tcp:// and tls://; within a process nothing is lost';
    throw new BusbarError('ERR_NOT_SUPPORTED', message);
  }
  return settingsOf(values, false);
}

/** Checks the options of `dial()`. */
export function dialSettings(options: DialOptions | undefined, address: string): DialSettings {
  const values = checked(options, DIAL);
  checkProtection(values, address);
  const signal = values['signal'] as AbortSignal | undefined;
  const timeoutMs = values['timeoutMs'] as number;
  const wait = signal === undefined ? { timeoutMs } : { signal, timeoutMs };
  const session = sessionOf(values['reliable']);
  const { native: common, ...settings } = settingsOf(withLanes(values, session), isRemote(address));
  const plain: NativePipeOptions = { ...common, ...session };
  const reconnect = reconnectOf(values['reconnect'] ?? values['reliable'] !== false);
  const reconnects = reconnect.reconnect !== 0;
  const retry = { retry: Number(values['retry']), connectTimeoutMs: Math.min(timeoutMs, 2 ** 31) };
  const native: NativeDialOptions = { ...plain, ...retry, ...reconnect };
  // A dialer need not say whom it trusts: those whom Node trusts.
  if (address.startsWith('tls:')) native.tls = dialerTls(values['tls'] ?? {});
  return { ...settings, native, reconnects, wait };
}

/** Checks the options of `listen()`. */
export function listenSettings(
  options: ListenOptions | undefined,
  address: string,
): ListenSettings {
  const values = checked(options, LISTEN);
  checkProtection(values, address);
  const session = sessionsOf(values['reliable']);
  const lanes = withLanes(values, session);
  const { native: plain, maxPendingSends, qos } = settingsOf(lanes, isRemote(address));
  const native: NativePipeOptions = { ...plain, ...session };
  if (address.startsWith('tls:')) native.tls = listenerTls(values['tls'] ?? {});
  const authorize = values['authorize'] as Authorize | undefined;
  return {
    native: {
      ...native,
      authorize: Number(authorize !== undefined),
      backlog: values['backlog'] as number,
      handshakeTimeoutMs: values['handshakeTimeoutMs'] as number,
      mode: values['mode'] as number,
      reusePort: Number(values['reusePort']),
    },
    maxPendingSends,
    qos,
    authorize,
    signal: values['signal'] as AbortSignal | undefined,
  };
}

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const WAITS: readonly WaitMode[] = ['park', 'balanced', 'low-latency', 'busy'];
const ACCESSES = ['same-user', 'anyone'] as const;
const TRUSTS: readonly Trust[] = ['same-user', 'hostile'];

const PIPE: Rules = {
  wait: choice('balanced', WAITS),
  spinMicros: integer(50, 0, 100_000),
  ringBytes: powerOfTwo(MIB, 64 * KIB, GIB, false),
  slabBytes: powerOfTwo(16 * MIB, 64 * KIB, 4 * GIB, true),
  maxMessageBytes: integer(16 * MIB, KIB, 2 * GIB),
  trust: choice('same-user', TRUSTS),
  maxPendingSends: integer(1024, 0, 1_000_000),
  queueMessages: integer(16_384, 0, 1 << 24),
  maxReassemblyBytes: integer(undefined, KIB, 8 * GIB),
  reassemblyTimeoutMs: integer(30_000, 1, 2 ** 31 - 1),
  reliable: { standard: false, check: () => {} },
  access: { standard: 'same-user', check: checkAccess },
  heartbeat: { standard: undefined, check: (_, value) => void heartbeatOf(value, true) },
  ...QOS,
};

const HEARTBEAT: Rules = {
  intervalMs: integer(10_000, 50, 3_600_000),
  misses: integer(3, 2, 100),
};

const SIGNAL: Rule = { standard: undefined, check: (_, value) => checkSignal(value) };

const DIAL: Rules = {
  ...PIPE,
  timeoutMs: { standard: 10_000, check: (_, value) => checkTimeout(value) },
  signal: SIGNAL,
  retry: flag(),
  tls: object(),
  reconnect: { standard: undefined, check: (_, value) => void reconnectOf(value) },
};

const DAY_MS = 86_400_000;

const RECONNECT: Rules = {
  initialMs: integer(100, 1, DAY_MS),
  maxMs: integer(30_000, 1, DAY_MS),
  factor: between(2, 1, 100),
  jitter: between(0.5, 0, 1),
  maxAttempts: integer(0, 0, 2 ** 31 - 1),
};

const LISTEN: Rules = {
  ...PIPE,
  ...LISTENER_QOS,
  backlog: integer(128, 1, 65_535),
  handshakeTimeoutMs: integer(5000, 1, 2 ** 31 - 1),
  mode: integer(0o600, 0, 0o777),
  reusePort: flag(),
  tls: object(),
  authorize: {
    standard: undefined,
    check(name, value) {
      if (typeof value === 'function') return;
      throw invalidArgument(`${name} is ${show(value)}; it must be a function`);
    },
  },
  signal: SIGNAL,
};

/** Gives lossy channels lanes of their own, so that they do not wait for the session's window. */
function withLanes(values: Values, session: Pick<NativePipeOptions, 'lossyChannels'>): Values {
  const { lossyChannels = [] } = session;
  if (lossyChannels.length === 0) return values;
  const lanes = Object.fromEntries(lossyChannels.map((channel) => [channel, {}]));
  return { ...values, channels: { ...lanes, ...(values['channels'] as object | undefined) } };
}

function settingsOf(values: Values, overNetwork: boolean): PipeSettings {
  const { reliable, receiveBackpressure = 'block' } = values;
  if (reliable !== false && receiveBackpressure !== 'block') {
    const dropping = `receiveBackpressure: ${show(receiveBackpressure)}`;
    throw invalidArgument(`${dropping} drops what reliable is to keep; choose one of them`);
  }
  return {
    native: {
      wait: WAITS.indexOf(values['wait'] as WaitMode),
      spinMicros: values['spinMicros'] as number,
      ringBytes: values['ringBytes'] as number,
      slabBytes: values['slabBytes'] as number,
      maxMessageBytes: values['maxMessageBytes'] as number,
      trust: TRUSTS.indexOf(values['trust'] as Trust),
      queueMessages: values['queueMessages'] as number,
      maxReassemblyBytes: (values['maxReassemblyBytes'] as number | undefined) ?? 0,
      reassemblyTimeoutMs: values['reassemblyTimeoutMs'] as number,
      sessionTimeoutMs: 0,
      ...accessOf(values['access'] as Access),
      ...heartbeatOf(values['heartbeat'], overNetwork),
    },
    maxPendingSends: values['maxPendingSends'] as number,
    qos: qosSettings(values),
  };
}

/** Throws for what is to protect a pipe and does nothing at its address. */
function checkProtection({ tls, access }: Values, address: string): void {
  if (tls !== undefined && !address.startsWith('tls:')) {
    throw invalidArgument(`tls is given, and ${show(address)} is not encrypted; use tls://`);
  }
  if (typeof access !== 'object' || /^(uds|pipe):/.test(address)) return;
  const message = `access is a list, and nobody is looked up in it at ${show(address)}`;
  throw invalidArgument(`${message}; it is for uds:// and pipe://`);
}

/** Whether networks lie between the ends, on which connections die in silence. */
function isRemote(address: string): boolean {
  return /^(tcp|tls):/.test(address);
}

function heartbeatOf(
  value: unknown,
  standard: boolean,
): Pick<NativePipeOptions, 'heartbeatMs' | 'heartbeatMisses'> {
  const values = chosen('heartbeat', value === undefined ? standard : value, HEARTBEAT);
  if (values === null) return { heartbeatMs: 0, heartbeatMisses: 0 };
  const { intervalMs, misses } = values;
  return { heartbeatMs: intervalMs as number, heartbeatMisses: misses as number };
}

function reconnectOf(given: unknown): NativeBackoff {
  const policy = chosen('reconnect', given, RECONNECT) ?? checked(undefined, RECONNECT);
  const { initialMs, maxMs, factor, jitter, maxAttempts } = policy as unknown as NativeBackoff;
  if (maxMs < initialMs) {
    throw invalidArgument(`maxMs is ${maxMs}; it must not be below initialMs, ${initialMs}`);
  }
  return { reconnect: Number(given !== false), initialMs, maxMs, factor, jitter, maxAttempts };
}

function accessOf(access: Access): Pick<NativePipeOptions, 'access' | 'uids' | 'gids'> {
  if (typeof access === 'string') return { access: ACCESSES.indexOf(access) };
  return { access: ACCESSES.length, uids: access.uids ?? [], gids: access.gids ?? [] };
}

function checkAccess(name: string, value: unknown): void {
  if ((ACCESSES as readonly unknown[]).includes(value)) return;
  if (typeof value !== 'object' || value === null) {
    const list = [...ACCESSES.map((each) => `'${each}'`), '{ uids, gids }'].join(', ');
    throw invalidArgument(`${name} is ${show(value)}; it must be one of ${list}`);
  }
  const isId = (id: unknown): boolean => Number.isInteger(id) && (id as number) >>> 0 === id;
  const { uids = [], gids = [], ...rest } = value as { uids?: unknown; gids?: unknown };
  for (const other of Object.keys(rest)) throw unknownOption(`${name}.${other}`, ['uids', 'gids']);
  for (const [kind, ids] of Object.entries({ uids, gids })) {
    if (Array.isArray(ids) && ids.length <= IDS_MAX && ids.every(isId)) continue;
    const what = `must be an array of at most ${IDS_MAX} ids, 0 to 4294967295`;
    throw invalidArgument(`${name}.${kind} ${what}`);
  }
}

const IDS_MAX = 1024;

function flag(): Rule {
  return { standard: false, check: checkFlag };
}

/** What is looked into elsewhere. */
function object(): Rule {
  return { standard: undefined, check: (_, value) => void checkObject(value as object) };
}

function between(standard: number, min: number, max: number): Rule {
  return {
    standard,
    check(name, value) {
      if (typeof value === 'number' && value >= min && value <= max) return;
      throw invalidArgument(`${name} is ${show(value)}; it must be a number, ${min} to ${max}`);
    },
  };
}

function powerOfTwo(standard: number, min: number, max: number, orZero: boolean): Rule {
  const zero = orZero ? '0 or ' : '';
  return {
    standard,
    check(name, value) {
      if (orZero && value === 0) return;
      const fits = typeof value === 'number' && value >= min && value <= max;
      if (fits && Number.isInteger(Math.log2(value))) return;
      const range = `${zero}a power of two, ${min} to ${max} bytes`;
      throw invalidArgument(`${name} is ${show(value)}; it must be ${range}`);
    },
  };
}
