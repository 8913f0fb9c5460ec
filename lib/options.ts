/**
 * What a user may choose: one table of options with their defaults and accepted values, and the
 * check that names the option, the value given and what is accepted.
 */

import { invalidArgument, show } from './errors.js';
import type { NativeListenOptions, NativePipeOptions } from './internal/binding.js';
import { checkFlag, checkObject, unknownOption } from './internal/checks.js';
import type { Peer } from './internal/peer.js';
import { LISTENER_QOS, QOS, qosSettings, type QosSettings } from './internal/qos.js';
import { checked, choice, integer, type Rule, type Rules, type Values } from './internal/rules.js';
import { checkSignal, checkTimeout, type WaitOptions } from './internal/wait.js';
import type { ListenerRates, QosOptions } from './qos.js';
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

/** Options of one end of a pipe. */
export interface PipeOptions extends QosOptions {
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
   * uds: which users' processes may be at the other end: `'same-user'`, `'anyone'` whom the
   * socket's permissions let in, or a list such as `{ uids: [1000], gids: [100] }`. Others get
   * `ERR_PERMISSION_DENIED`. To be reachable for other users, a path needs a `mode` too.
   */
  readonly access?: Access;
}

/** Options of `dial()`. */
export interface DialOptions extends PipeOptions, WaitOptions {
  /** Gives up connecting. */
  readonly signal?: AbortSignal;
  /** How long connecting may take, in milliseconds. 10,000. */
  readonly timeoutMs?: number;
  /** Goes on trying while nobody listens there yet, until `timeoutMs` is over. `false`. */
  readonly retry?: boolean;
  /** tls: whom to trust, and what to show. */
  readonly tls?: TlsOptions;
}

/** Options of `listen()`, and of the pipes that it accepts. */
export interface ListenOptions extends PipeOptions, ListenerRates {
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
  readonly retry: boolean;
  readonly wait: { readonly signal?: AbortSignal; timeoutMs: number };
}

/** Checks the options of a pipe. */
export function pipeSettings(options: PipeOptions | undefined): PipeSettings {
  return settingsOf(checked(options, PIPE));
}

/** Checks the options of `dial()`. */
export function dialSettings(options: DialOptions | undefined, address = ''): DialSettings {
  const values = checked(options, DIAL);
  const signal = values['signal'] as AbortSignal | undefined;
  const timeoutMs = values['timeoutMs'] as number;
  const wait = signal === undefined ? { timeoutMs } : { signal, timeoutMs };
  const settings = settingsOf(values);
  // A dialer need not say whom it trusts: those whom Node trusts.
  const isSecure = values['tls'] !== undefined || address.startsWith('tls:');
  if (isSecure) settings.native.tls = dialerTls(values['tls'] ?? {});
  return { ...settings, retry: values['retry'] as boolean, wait };
}

/** Checks the options of `listen()`. */
export function listenSettings(options: ListenOptions | undefined): ListenSettings {
  const values = checked(options, LISTEN);
  const { native, maxPendingSends, qos } = settingsOf(values);
  if (values['tls'] !== undefined) native.tls = listenerTls(values['tls']);
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
  access: { standard: 'same-user', check: checkAccess },
  ...QOS,
};

const SIGNAL: Rule = { standard: undefined, check: (_, value) => checkSignal(value) };

const DIAL: Rules = {
  ...PIPE,
  timeoutMs: { standard: 10_000, check: (_, value) => checkTimeout(value) },
  signal: SIGNAL,
  retry: flag(),
  tls: object(),
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

function settingsOf(values: Values): PipeSettings {
  return {
    native: {
      wait: WAITS.indexOf(values['wait'] as WaitMode),
      spinMicros: values['spinMicros'] as number,
      ringBytes: values['ringBytes'] as number,
      slabBytes: values['slabBytes'] as number,
      maxMessageBytes: values['maxMessageBytes'] as number,
      trust: TRUSTS.indexOf(values['trust'] as Trust),
      queueMessages: values['queueMessages'] as number,
      ...accessOf(values['access'] as Access),
    },
    maxPendingSends: values['maxPendingSends'] as number,
    qos: qosSettings(values),
  };
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
