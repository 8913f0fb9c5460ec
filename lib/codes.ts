/**
 * The table of error codes, as `err.code` and `err.retryable` show them.
 *
 * Generated from crates/busbar-proto/src/code.rs by `cargo xtask generate`.
 */

/** What is known about one error code. */
export interface CodeInfo {
  /** Its number on the wire and, negated, at the native edge. */
  readonly number: number;
  /** Whether the same call may succeed later without any change by the caller. */
  readonly retryable: boolean;
}

/**
 * Every error code.
 *
 * @example
 * ```ts
 * import { CODES } from 'busbar';
 *
 * const retryable = Object.entries(CODES).filter(([, info]) => info.retryable);
 * console.log(retryable.map(([code]) => code));
 * ```
 */
export const CODES = {
  /**
   * The caller's AbortSignal fired before the operation finished. Nobody is at fault: `cause` is
   * the signal's reason.
   */
  ABORT_ERR: { number: 1, retryable: false },
  /**
   * Another listener already has this address. Fix the caller: close the other listener or choose
   * another name.
   */
  ERR_ADDR_IN_USE: { number: 2, retryable: false },
  /**
   * The address to listen at does not belong to this machine. Fix the caller: listen at an address
   * of one of its interfaces, or at `*` for all of them.
   */
  ERR_ADDR_NOT_AVAILABLE: { number: 31, retryable: false },
  /**
   * The operation would have to wait: the peer is slower than the sender, or a queue is full.
   * Nobody is at fault: await `send()` instead of `trySend()`, or try again later.
   */
  ERR_AGAIN: { number: 3, retryable: true },
  /**
   * Bytes that should be a value of a type are not. Whoever sent or stored them is at fault: the
   * message says which part is wrong.
   */
  ERR_ARCHIVE_INVALID: { number: 24, retryable: false },
  /**
   * A batch was used after its `consume()` callback returned, when its memory already held other
   * messages. Fix the caller: copy what must outlive the callback, or use `batches()`.
   */
  ERR_BATCH_EXPIRED: { number: 4, retryable: false },
  /**
   * The buffer was transferred or detached before its bytes were sent. Fix the caller: keep the
   * buffer until the send is accepted, or send a copy.
   */
  ERR_BUFFER_DETACHED: { number: 5, retryable: false },
  /**
   * A value does not fit into the buffer that it was to be written to. Fix the caller: the message
   * says how many bytes it needs.
   */
  ERR_BUFFER_TOO_SMALL: { number: 22, retryable: false },
  /**
   * A `reliable` pipe sends on more channels than a session may have, which is 128, one of them for
   * types. Fix the caller: use fewer channels, or make some of them `lossyChannels`.
   */
  ERR_CHANNELS_EXHAUSTED: { number: 144, retryable: false },
  /**
   * The pipe or listener was closed, by this side or in an orderly way by the peer. Not a fault by
   * itself: `reason` says who closed and why; open a new one to go on.
   */
  ERR_CLOSED: { number: 6, retryable: false },
  /**
   * The connection ended without a CLOSE: the peer crashed, was killed or became unreachable. The
   * peer or the network is at fault: dial again and resend what was not confirmed.
   */
  ERR_CONNECTION_LOST: { number: 7, retryable: true },
  /**
   * The listener turned the connection away: it is closing, its backlog is full, or nobody listens
   * at an address left behind. The other side is at fault: dial again later.
   */
  ERR_CONNECTION_REFUSED: { number: 8, retryable: true },
  /**
   * A message of a session was transmitted as often as `maxDeliveryAttempts` allows, and each time
   * the connection broke before it arrived. The network or the peer is at fault: the message is
   * given up, later ones go on.
   */
  ERR_DELIVERY_FAILED: { number: 95, retryable: false },
  /**
   * The time to live of a message was over before there was room for it. Nobody is at fault: send
   * it again if it is still of use, or raise `ttlMs`.
   */
  ERR_EXPIRED: { number: 84, retryable: true },
  /**
   * Nothing writes this format for this type. Fix the caller: ask for a format that the type has,
   * or register a writer for it.
   */
  ERR_FORMAT_UNSUPPORTED: { number: 29, retryable: false },
  /**
   * A type or plugin is in use and cannot be taken out now. Nobody is at fault: try again when its
   * calls are done.
   */
  ERR_IN_USE: { number: 30, retryable: true },
  /**
   * An invariant of Busbar itself did not hold. Busbar is at fault: please report the message and
   * the version.
   */
  ERR_INTERNAL: { number: 9, retryable: false },
  /**
   * The address cannot be parsed or names an unknown scheme. Fix the caller: the message shows the
   * offending part and a well-formed example.
   */
  ERR_INVALID_ADDRESS: { number: 10, retryable: false },
  /**
   * An argument or option has the wrong type or is out of range. Fix the caller: the message names
   * the argument, the value and what is allowed.
   */
  ERR_INVALID_ARGUMENT: { number: 11, retryable: false },
  /**
   * The call comes at the wrong time, such as a setting of a thread whose first pipe is open. Fix
   * the caller: make the call when the message says.
   */
  ERR_INVALID_STATE: { number: 132, retryable: false },
  /**
   * The operating system refused a call that Busbar needs. The environment is at fault: the message
   * names the call and the error; check limits such as open files.
   */
  ERR_IO: { number: 12, retryable: false },
  /**
   * A loan was used after it was released or after its pipe closed. Fix the caller: copy the bytes
   * before `release()`.
   */
  ERR_LOAN_EXPIRED: { number: 13, retryable: false },
  /**
   * A message or frame exceeds the limit agreed for the connection. The sender is at fault: send
   * less at once, or raise `maxMessageBytes` on both ends.
   */
  ERR_MESSAGE_TOO_LARGE: { number: 14, retryable: false },
  /**
   * The plugin has no method with this name. Fix the caller: the message lists the names there are.
   */
  ERR_METHOD_NOT_FOUND: { number: 50, retryable: false },
  /**
   * Nobody listens at this address, at least not yet. Check the name, start the listener first, or
   * dial again later.
   */
  ERR_NOT_FOUND: { number: 15, retryable: true },
  /**
   * This platform, build or transport cannot do what was asked. Fix the caller: the message names
   * what is missing and what to use instead.
   */
  ERR_NOT_SUPPORTED: { number: 16, retryable: false },
  /**
   * The object of a plugin, or of its parent, is gone: it was released, or what it was of has ended
   * or was reloaded. Get another one.
   */
  ERR_OBJECT_STALE: { number: 109, retryable: false },
  /**
   * Memory for a buffer or a shared segment could not be had. The environment is at fault: raise
   * the limit (container memory, /dev/shm), or lower `ringBytes` and `slabBytes`, and try again.
   */
  ERR_OUT_OF_MEMORY: { number: 17, retryable: true },
  /**
   * A function failed that the program exposes to the plugin, and the plugin handed its failure on.
   * The message is what the function threw.
   */
  ERR_PARENT_FAILED: { number: 108, retryable: false },
  /**
   * The operating system or the listener does not allow this user to connect. The environment is at
   * fault: run both ends as the same user, or open the path's permissions.
   */
  ERR_PERMISSION_DENIED: { number: 18, retryable: false },
  /**
   * Too many images of libraries that nobody uses are left in memory: they are never unmapped. Run
   * plugins that panic or are reloaded that often in a process of their own.
   */
  ERR_PLUGIN_BUDGET: { number: 66, retryable: false },
  /**
   * The file is no library, or not all of one. Whoever built or copied it is at fault: build it
   * again or copy it anew.
   */
  ERR_PLUGIN_DAMAGED: { number: 51, retryable: false },
  /**
   * The plugin refused a call or its own start. What it means is up to the plugin: the message is
   * its own, with its status.
   */
  ERR_PLUGIN_FAILED: { number: 52, retryable: false },
  /**
   * Other users can change the library or its folder. The owner of the file is at fault: `chmod
   * go-w`, or allow insecure files.
   */
  ERR_PLUGIN_INSECURE: { number: 53, retryable: false },
  /**
   * What the entry of the library gives is no manifest. The library is at fault: build it with the
   * header or SDK of Busbar.
   */
  ERR_PLUGIN_MAGIC: { number: 54, retryable: false },
  /**
   * A name in the library is no UTF-8, empty, or there twice. The library is at fault: the message
   * says which name.
   */
  ERR_PLUGIN_NAME: { number: 55, retryable: false },
  /**
   * Something in the library is null that must not be. The library is at fault: the message says
   * which field.
   */
  ERR_PLUGIN_NULL: { number: 56, retryable: false },
  /**
   * The plugin panicked; the message is its own. The plugin is at fault: its instance is not called
   * again, load it anew.
   */
  ERR_PLUGIN_PANIC: { number: 57, retryable: false },
  /**
   * The `.plugin.json` beside the library is no valid one, or is of another build. Write it anew
   * together with the library.
   */
  ERR_PLUGIN_SIDECAR: { number: 58, retryable: false },
  /**
   * A struct of the library has a size that no version of the contract ever had. The library is at
   * fault: build it with the header or SDK of Busbar.
   */
  ERR_PLUGIN_SIZE: { number: 59, retryable: false },
  /**
   * The library has no entry. The library is at fault: the message lists the functions that were
   * looked for.
   */
  ERR_PLUGIN_SYMBOL: { number: 60, retryable: false },
  /**
   * The library was built for another system or processor. Fix the caller: choose the build for
   * this machine.
   */
  ERR_PLUGIN_TARGET: { number: 61, retryable: false },
  /**
   * The library is on no list, and signed by nobody who is trusted. Check where it comes from, then
   * add its hash or have it signed.
   */
  ERR_PLUGIN_UNTRUSTED: { number: 62, retryable: false },
  /**
   * The library was built for a version of the contract that this Busbar does not speak. Neither is
   * broken: upgrade the older one.
   */
  ERR_PLUGIN_VERSION: { number: 63, retryable: false },
  /**
   * The peer broke the rules: what it sent or wrote into shared memory is not valid. The peer is at
   * fault and the connection is closed: check that it really runs Busbar and which version.
   */
  ERR_PROTOCOL: { number: 19, retryable: false },
  /**
   * A descriptor of a type contradicts itself or the rules. Whoever made it is at fault: the
   * message names the part and what it should be.
   */
  ERR_SCHEMA_INVALID: { number: 25, retryable: false },
  /**
   * The messages of the peer are not of the type that this side reads. Neither is broken: the
   * message names both types with their hashes; give both ends the same version of the type.
   */
  ERR_SCHEMA_MISMATCH: { number: 23, retryable: false },
  /**
   * A value has a variant that this version of its enum does not know. Neither side is broken:
   * update the reader, or declare a default variant.
   */
  ERR_SCHEMA_VARIANT: { number: 26, retryable: false },
  /**
   * A value is not of the type that it is to be written as. Fix the caller: the message names the
   * field, the value and what is allowed.
   */
  ERR_SERIALIZE_FAILED: { number: 27, retryable: false },
  /**
   * A session is over without having been closed: there was no connection for longer than
   * `sessionTimeoutMs`, or the peer was restarted. The network or the peer is at fault: what was
   * not acknowledged may or may not have arrived; open a new pipe to go on.
   */
  ERR_SESSION_LOST: { number: 94, retryable: false },
  /**
   * The operation did not finish within its time limit. The peer is slow, stopped or absent: try
   * again, or raise `timeoutMs`.
   */
  ERR_TIMED_OUT: { number: 20, retryable: true },
  /**
   * The listener demands a certificate and the dialer has given none. The dialer is at fault: set
   * `tls.cert` and `tls.key` there.
   */
  ERR_TLS_CERTIFICATE_REQUIRED: { number: 91, retryable: false },
  /**
   * One end speaks TLS and the other does not. Fix the caller: use `tls://` on both ends, or on
   * neither.
   */
  ERR_TLS_EXPECTED: { number: 92, retryable: false },
  /**
   * A certificate has expired or is not valid yet. Whoever shows it is at fault: renew it
   * (`setSecureContext()` needs no restart), and check the clocks.
   */
  ERR_TLS_EXPIRED: { number: 89, retryable: false },
  /**
   * The two ends could not agree on TLS: no common version, cipher or protocol. The message says
   * which; see `tls.minVersion`, and whether the other end is Busbar at all.
   */
  ERR_TLS_HANDSHAKE: { number: 93, retryable: false },
  /**
   * A certificate is not trusted: nobody in `tls.ca` has signed it, or it is for another purpose.
   * The message says which end: give that one a certificate, or this one its `ca`.
   */
  ERR_TLS_UNTRUSTED: { number: 88, retryable: false },
  /**
   * The listener's certificate is for another name than the one dialed. Dial that name, set
   * `tls.servername`, or issue a certificate with this name among its subjectAltName.
   */
  ERR_TLS_WRONG_NAME: { number: 90, retryable: false },
  /**
   * No type with this name and schema hash is registered. Fix the caller: check the spelling, or
   * register the type first.
   */
  ERR_TYPE_NOT_FOUND: { number: 28, retryable: false },
  /**
   * No way leads to the host, as far as this machine knows. The network is at fault: check the
   * address, the interfaces and the routes, or dial again later.
   */
  ERR_UNREACHABLE: { number: 32, retryable: true },
  /**
   * The two ends have no protocol version in common. Neither is broken, one is too old: the message
   * names both ranges and which end to upgrade.
   */
  ERR_VERSION_MISMATCH: { number: 21, retryable: false },
  /**
   * The zone was closed, or its parent was. Fix the caller: load the plugin again to go on.
   */
  ERR_ZONE_CLOSED: { number: 64, retryable: false },
  /**
   * The plugin's process ended while the call ran: the message says how. The plugin is at fault:
   * the process is started anew, so call again if calling twice does no harm. After too many
   * crashes it is not started any more: close the zone, and load it anew.
   */
  ERR_ZONE_CRASHED: { number: 72, retryable: true },
  /**
   * The plugin panicked in an earlier call and is not called again. The plugin is at fault: close
   * the zone and load it anew.
   */
  ERR_ZONE_FAULTED: { number: 65, retryable: false },
  /**
   * The executable that plugins run in, busbar-host, is missing, cannot be run, or is of another
   * version. The installation is at fault: install the package again.
   */
  ERR_ZONE_HOST: { number: 73, retryable: false },
} as const;

/** The `code` of a {@link BusbarError}: `ERR_…`, or `ABORT_ERR` as Node itself has it. */
export type ErrorCode = keyof typeof CODES;

/** The code with a given number. */
export const CODE_BY_NUMBER: ReadonlyMap<number, ErrorCode> = new Map(
  (Object.keys(CODES) as ErrorCode[]).map((code) => [CODES[code].number, code]),
);
