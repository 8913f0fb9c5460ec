/**
 * Errors: one class, one table of codes, and a message that says what to do.
 *
 * The table itself (`CODES`) is generated from the core's; here its numbers, as they cross the
 * native edge, become errors.
 */

import { CODES, CODE_BY_NUMBER, type ErrorCode } from './codes.js';
import type { NativeFailure } from './internal/binding.js';

/** Extra information about an error. */
export interface BusbarErrorOptions {
  /** What led to it. */
  readonly cause?: unknown;
}

/**
 * Every error that this package throws or rejects with.
 *
 * @example
 * ```ts
 * import { BusbarError, dial } from 'busbar';
 *
 * try {
 *   await dial('shm://nobody-there', { timeoutMs: 100 });
 * } catch (error) {
 *   if (error instanceof BusbarError && error.retryable) console.log(`try again: ${error.code}`);
 *   else throw error;
 * }
 * ```
 */
export class BusbarError extends Error {
  /** What happened, as in the table {@link CODES}. */
  readonly code: ErrorCode;

  /** Whether the same call may succeed later without any change by the caller. */
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, options?: BusbarErrorOptions) {
    super(message, options);
    this.code = code;
    this.retryable = CODES[code].retryable;
  }
}

Object.defineProperty(BusbarError.prototype, 'name', {
  value: 'BusbarError',
  configurable: true,
  writable: true,
});

/**
 * An operation was given up because its `AbortSignal` fired. `cause` is the signal's reason.
 * Not retryable: somebody wanted it to stop.
 *
 * @example
 * ```ts
 * import { AbortError, bindInproc, connectInproc } from 'busbar';
 *
 * const listener = bindInproc('abort-example');
 * const pipe = connectInproc('abort-example');
 * try {
 *   await pipe.receive({ signal: AbortSignal.timeout(10) });
 * } catch (error) {
 *   console.log(error instanceof AbortError); // true
 * }
 * await pipe.close();
 * await listener.close();
 * ```
 */
export class AbortError extends BusbarError {
  constructor(what: string, reason: unknown) {
    super('ABORT_ERR', `${what} was aborted by its signal`, { cause: reason });
  }
}

Object.defineProperty(AbortError.prototype, 'name', {
  value: 'AbortError',
  configurable: true,
  writable: true,
});

/** What is known of an error of a plugin. */
export interface PluginErrorOptions extends BusbarErrorOptions {
  /** The plugin's id. */
  readonly pluginId: string;
  /** The method that was called. */
  readonly method?: string | undefined;
  /** What the plugin returned. */
  readonly status?: number;
  /** Which generation of the plugin it was. */
  readonly generation?: number;
}

/**
 * A plugin failed, or a call of one. `code` says how, and `status` what the plugin itself returned.
 *
 * @example
 * ```ts
 * import { loadZone, PluginError } from 'busbar';
 *
 * async function main(path: string): Promise<void> {
 *   await using zone = await loadZone({ path });
 *   try {
 *     await zone.call('store');
 *   } catch (error) {
 *     if (!(error instanceof PluginError)) throw error;
 *     console.log(`${error.pluginId} ${error.method}: ${error.status}`); // 1000 is 'no licence'
 *   }
 * }
 *
 * if (process.argv[2] !== undefined) await main(process.argv[2]);
 * ```
 */
export class PluginError extends BusbarError {
  /** The id of the plugin, such as `example.physics`. */
  readonly pluginId: string;

  /** The method that was called; `undefined` if none was. */
  readonly method: string | undefined;

  /** What the plugin returned: its own numbers are −1000 and below. 0 if it returned nothing. */
  readonly status: number;

  /** Which generation of the plugin it was: 1 until it is reloaded; 0 if it was none of them. */
  readonly generation: number;

  constructor(code: ErrorCode, message: string, options: PluginErrorOptions) {
    super(code, message, options);
    this.pluginId = options.pluginId;
    this.method = options.method;
    this.status = options.status ?? 0;
    this.generation = options.generation ?? 0;
  }
}

Object.defineProperty(PluginError.prototype, 'name', {
  value: 'PluginError',
  configurable: true,
  writable: true,
});

/** The error for a negative result of a hot native function. */
export function errorOf(result: number, what: string): BusbarError {
  const code = CODE_BY_NUMBER.get(-result) ?? 'ERR_INTERNAL';
  return new BusbarError(code, `${what}: ${ADVICE[code]}`);
}

/** The error for what a cold native function threw. */
export function fromNative(thrown: unknown): BusbarError {
  if (thrown instanceof BusbarError) return thrown;
  const { code, message, pluginId, method, status, generation } = (thrown ??
    {}) as Partial<NativeFailure>;
  if (typeof code === 'string' && Object.hasOwn(CODES, code)) {
    if (typeof pluginId === 'string') {
      return new PluginError(code as ErrorCode, message ?? ADVICE[code as ErrorCode], {
        pluginId,
        method: method || undefined,
        status: Number(status ?? 0),
        generation: Number(generation ?? 0),
      });
    }
    return new BusbarError(code as ErrorCode, message ?? ADVICE[code as ErrorCode]);
  }
  const text = message ?? String(thrown);
  return new BusbarError('ERR_INTERNAL', `unexpected failure in the native core: ${text}`, {
    cause: thrown,
  });
}

/** Runs a cold native function; what it throws becomes a {@link BusbarError}. */
export function callNative<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw fromNative(error);
  }
}

/** The error for an argument that cannot be accepted. */
export function invalidArgument(message: string): BusbarError {
  return new BusbarError('ERR_INVALID_ARGUMENT', message);
}

/** A value as an error message shows it. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 100));
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return `a function ${value.name}`.trimEnd();
  if (value === null || typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return 'an array';
  return `an object of ${value.constructor?.name ?? 'no class'}`;
}

const ADVICE: Readonly<Record<ErrorCode, string>> = {
  ABORT_ERR: 'aborted by its signal',
  ERR_ADDR_IN_USE: 'another listener has this address; close it or choose another name',
  ERR_ADDR_NOT_AVAILABLE: 'the address is not one of this machine; listen at * or at one that is',
  ERR_AGAIN: 'it would have to wait; await send() or try again later',
  ERR_ARCHIVE_INVALID: 'the bytes are not a value of the type; check who wrote them',
  ERR_BATCH_EXPIRED: 'the batch was used after its callback returned; copy what must outlive it',
  ERR_BUFFER_DETACHED: 'the buffer was transferred or detached; keep it until it is sent',
  ERR_BUFFER_TOO_SMALL: 'the value needs more room; use a larger buffer',
  ERR_CHANNELS_EXHAUSTED: 'a reliable pipe sends on at most 128 channels; use fewer',
  ERR_CLOSED: 'the pipe is closed; open a new one to go on',
  ERR_CONNECTION_LOST: 'the peer is gone without saying goodbye; dial again',
  ERR_CONNECTION_REFUSED: 'the listener turned the connection away; dial again later',
  ERR_DELIVERY_FAILED: 'a message was given up after its last attempt',
  ERR_EXPIRED: 'its time to live was over; send it again, or raise ttlMs',
  ERR_FORMAT_UNSUPPORTED: 'nothing writes this format for this type; choose another format',
  ERR_IN_USE: 'it is in use; try again when its calls are done',
  ERR_INTERNAL: 'Busbar is at fault; please report this message',
  ERR_INVALID_ADDRESS: 'the address is not valid; use shm://name, uds:///path or tcp://host:port',
  ERR_INVALID_ARGUMENT: 'an argument is not valid',
  ERR_INVALID_STATE: 'the call comes at the wrong time; see the message',
  ERR_IO: 'the operating system refused a call; check limits such as open files',
  ERR_LOAN_EXPIRED: 'the loan was already given back; copy bytes before release()',
  ERR_MESSAGE_TOO_LARGE: 'send less at once, or raise maxMessageBytes on both ends',
  ERR_METHOD_NOT_FOUND: 'the plugin has no such method; check the name, or update the plugin',
  ERR_NOT_FOUND: 'nobody listens there; start the listener first, or dial again later',
  ERR_NOT_SUPPORTED: 'not supported on this platform or transport',
  ERR_OBJECT_STALE: 'the object is gone; get another one',
  ERR_OUT_OF_MEMORY: 'memory could not be had; raise the limit or lower ringBytes and slabBytes',
  ERR_PARENT_FAILED: 'a function that the plugin called failed; its message says why',
  ERR_PERMISSION_DENIED: 'not allowed; run both ends as the same user',
  ERR_PLUGIN_BUDGET:
    'too many images of libraries are left; run the plugin in a process of its own',
  ERR_PLUGIN_DAMAGED: 'the file is no library, or not all of one; build or copy it again',
  ERR_PLUGIN_FAILED: 'the plugin refused; its message says why',
  ERR_PLUGIN_INSECURE: 'others can change the library; chmod go-w it and its folder',
  ERR_PLUGIN_MAGIC: 'the library gives no manifest; build it with the header or SDK of Busbar',
  ERR_PLUGIN_NAME: 'a name in the library is no UTF-8, empty, or there twice',
  ERR_PLUGIN_NULL: 'something in the library is null that must not be',
  ERR_PLUGIN_PANIC: 'the plugin panicked; load it anew',
  ERR_PLUGIN_SIDECAR: 'the text beside the library is not of this build; write it anew',
  ERR_PLUGIN_SIZE: 'a struct of the library has a wrong size; build it with the header of Busbar',
  ERR_PLUGIN_SYMBOL: 'the library has no entry; build it with the header or SDK of Busbar',
  ERR_PLUGIN_TARGET: 'the library is for another machine; choose the build for this one',
  ERR_PLUGIN_UNTRUSTED: 'nobody vouches for the library; add its hash or have it signed',
  ERR_PLUGIN_VERSION: 'the library speaks another version of the contract; update the older',
  ERR_PROTOCOL: 'the peer broke the rules; check that it runs Busbar, and which version',
  ERR_SCHEMA_INVALID: 'the descriptor of a type is wrong; make it again',
  ERR_SCHEMA_MISMATCH: 'the peer sends another type; give both ends the same version of it',
  ERR_SCHEMA_VARIANT: 'a variant of a newer version; update the reader or declare a default',
  ERR_SERIALIZE_FAILED: 'the value is not of the type that it is to be written as',
  ERR_SESSION_LOST: 'the session was lost',
  ERR_TIMED_OUT: 'it took too long; try again, or raise timeoutMs',
  ERR_TLS_CERTIFICATE_REQUIRED: 'the listener demands a certificate; set tls.cert and tls.key',
  ERR_TLS_EXPECTED: 'one end speaks TLS and the other does not; use tls:// on both, or on neither',
  ERR_TLS_EXPIRED: 'a certificate is out of date; renew it, and check the clocks',
  ERR_TLS_HANDSHAKE: 'the two ends could not agree on TLS; check versions, and who is there',
  ERR_TLS_UNTRUSTED: 'a certificate is not trusted; check tls.ca, and who signed it',
  ERR_TLS_WRONG_NAME: 'the certificate is for another name; dial that one, or set tls.servername',
  ERR_TYPE_NOT_FOUND: 'no such type is registered; check the name, or register it first',
  ERR_UNREACHABLE: 'no way leads to the host; check the address and the network',
  ERR_VERSION_MISMATCH: 'the two ends have no protocol version in common; upgrade the older',
  ERR_ZONE_CLOSED: 'the zone was closed; load the plugin again to go on',
  ERR_ZONE_CRASHED: 'the process of the plugin ended; call again if that does no harm',
  ERR_ZONE_FAULTED: 'the plugin panicked before; load it anew',
  ERR_ZONE_HOST: 'busbar-host cannot be run; install the package again',
};
