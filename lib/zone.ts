/** Zones: native plugins, loaded from libraries and called with values. */

import { BusbarError, callNative, invalidArgument, show } from './errors.js';
import type {
  NativeMethod,
  NativeReload,
  NativeSubmit,
  NativeZone,
  NativeZoneOptions,
} from './internal/binding.js';
import { checkInteger, checkNames } from './internal/checks.js';
import { batchFunction } from './internal/inline-batch.js';
import { InlineCalls } from './internal/inline-calls.js';
import type { WaitOptions } from './internal/wait.js';
import { isShared, signatureOf, type Signature } from './internal/zone-methods.js';
import { ZoneParent } from './internal/zone-parent.js';
import { zonePort } from './internal/zone-port.js';
import { resolveProcess } from './internal/zone-process.js';
import { WaitingCalls } from './internal/zone-waiting.js';
import type { CompileOptions } from './schema/codec.js';
import type { ExposedFunction } from './zone-exposed.js';
import { ZoneObject } from './zone-object.js';
import type { ZoneProcess, ZoneProcessOptions } from './zone-process.js';

/**
 * Which threads run a plugin's methods: the caller's own (`'inline'`; only methods that never
 * wait), those that all zones share, the zone's own, or those of a process of its own, which may
 * crash without harm to this one (Linux).
 */
export type ZoneMode = 'inline' | 'shared' | 'dedicated' | 'process';

const MODES: readonly ZoneMode[] = ['inline', 'shared', 'dedicated', 'process'];

/** Who vouches for libraries. */
export interface PluginTrust {
  /** SHA-256 of the files that a plugin may be, in hexadecimal digits, by its id. */
  readonly allow?: Readonly<Record<string, string | readonly string[]>>;
  /** Ed25519 public keys, in hexadecimal digits, whose owners sign plugins. */
  readonly keys?: readonly string[];
  /** Whether files are loaded although others than their owner can change them. `false`. */
  readonly insecure?: boolean;
}

/** How a plugin is loaded. */
export interface LoadZoneOptions extends WaitOptions {
  /** The library, by its path. */
  readonly path?: string;
  /** The library, by its name in one of `folders` or of the variable `BUSBAR_PLUGIN_PATH`. */
  readonly name?: string;
  /** Where names are looked for. None. */
  readonly folders?: readonly string[];
  /** Which threads run its methods. `'shared'`; `'process'` for libraries in Go. */
  readonly mode?: ZoneMode;
  /**
   * How many threads a dedicated zone has, or one in a process for what may wait, 1–64; the other
   * modes take none. 1.
   */
  readonly threads?: number;
  /** How its process is run, if the mode is `'process'`. */
  readonly process?: ZoneProcessOptions;
  /** What the plugin is told when it becomes active; becomes JSON. `null`. */
  readonly config?: unknown;
  /**
   * Whether a library in Go may be in this process, one in all: its runtime is never unloaded, its
   * panics end the process, and it handles signals. `false`.
   */
  readonly allowGoInProcess?: boolean;
  /** The zone that it belongs to and closes before. None. */
  readonly parent?: Zone;
  /**
   * Functions that the plugin may call by name, with bytes, from any of its threads. Their results
   * are bytes, nothing, or promises of these; what they throw, the plugin is told. Within an inline
   * call or `callSync()` they run before that returns; one that gives a promise there is
   * `ERR_NOT_SUPPORTED` for the plugin, as this thread cannot wait for it. None.
   */
  readonly expose?: Readonly<Record<string, ExposedFunction>>;
  /** Is told, once, of each generation of the plugin that panics, or whose process crashes. */
  readonly onDown?: (event: ZoneDown) => void;
  /** Whether its types may be other versions of registered ones. `false`. */
  readonly allowVersions?: boolean;
  /** Who vouches for it. Nobody has to, unless `allow` or `keys` is given. */
  readonly trust?: PluginTrust;
  /** Whether the zone is reloaded when its library's file changes. `false`. */
  readonly watch?: boolean;
  /** Is told of each reload that `watch` leads to; failed ones leave the last generation be. */
  readonly onReload?: (event: ReloadEvent) => void;
  /** Room for the argument of an inline call, and as much for its result, 1 KiB–256 MiB. 64 KiB. */
  readonly arenaBytes?: number;
}

/** A method of a plugin. */
export interface ZoneMethod {
  /** Its name. */
  readonly name: string;
  /** Whether it never waits, so that it can be called inline. */
  readonly sync: boolean;
  /** Whether it may be called by several threads at a time. */
  readonly threadSafe: boolean;
  /** Whether nobody reads a result of it. */
  readonly oneway: boolean;
  /** Whether calling it twice is the same as calling it once. */
  readonly idempotent: boolean;
}

/** How a plugin is reloaded. */
export interface ReloadZoneOptions {
  /** How long calls of the last generation may take to end, in milliseconds. 5000. */
  readonly graceMs?: number;
  /**
   * Whether methods may be missing or have other types; calling those then is
   * `ERR_METHOD_NOT_FOUND`, until {@link Zone.interface} is asked again. `false`.
   */
  readonly breaking?: boolean;
  /** Whether a generation that cannot read the last one's state begins without. `false`. */
  readonly cold?: boolean;
}

/** What came of a reload that a change of the file led to. */
export type ReloadEvent =
  | { readonly type: 'reloaded'; readonly generation: number }
  | { readonly type: 'failed'; readonly error: BusbarError };

/** A plugin went down without being asked to. */
export interface ZoneDown {
  /** Which generation of it; in the mode `process`, each start counts. */
  readonly generation: number;
}

/** How an object is lent. */
export interface LendOptions {
  /** Is told, once, when the plugin does not need the object any more, or has ended. */
  readonly onRelease?: () => void;
}

/** How an object is held. */
export interface HoldOptions {
  /** Is told, once, if the plugin goes down while the object is held. */
  readonly onDown?: (event: ZoneDown) => void;
}

/** What the calls of a zone are at, and came to. */
export interface ZoneStats {
  /** Calls that have not ended: those that wait for a thread, and those that run. */
  readonly openCalls: number;
  /** Calls that ended after they were given up; their results were dropped. */
  readonly lateCalls: number;
}

/** How long a call is waited for on this thread. */
export interface CallSyncOptions {
  /**
   * In milliseconds, 1–4,294,967,295: then `ERR_TIMED_OUT`, and the call goes on without anybody
   * waiting. Of no use to inline calls, which nobody can end. 5000.
   */
  readonly timeoutMs?: number;
}

/**
 * A method of bytes that {@link Zone.bind} has looked up. `input` and `output` are memory that the
 * plugin works on directly; they belong to the zone, are the same for all its methods, and keep
 * what is in them until its next call.
 */
export interface BoundMethod {
  /** Where the argument is written for `run`; as long as the option `arenaBytes` says. */
  readonly input: Uint8Array;
  /** Where the result of `run` is. */
  readonly output: Uint8Array;
  /**
   * Calls the method with the first `length` bytes of `input`; how many bytes its result has in
   * `output`. Nothing is copied.
   *
   * @throws BusbarError as {@link Zone.call}; `ERR_IN_USE` from within a call of this zone
   */
  readonly run: (length: number) => number;
  /**
   * Calls the method with bytes; how many bytes of `out` its result takes. They must not overlap.
   *
   * @throws BusbarError as {@link Zone.callSync}
   */
  readonly call: (input: Uint8Array, out: Uint8Array) => number;
}

/** How many calls at once are made. */
export interface BatchOptions extends CompileOptions {
  /** Room for each result whose type does not say how long it is, in bytes. 1024. */
  readonly resultBytes?: number;
}

/** The functions of an interface in a zone with threads: their results are promises. */
export type Promised<T> = {
  readonly [K in keyof T]: T[K] extends (...values: infer A) => infer R
    ? (...values: A) => Promise<R>
    : never;
};

/** The functions of an interface, for many calls each. */
export type BatchOf<T> = {
  readonly [K in keyof T]: T[K] extends (...values: infer A) => infer R
    ? (calls: readonly Readonly<A>[]) => R[]
    : never;
};

/** How a zone is closed. */
export interface CloseZoneOptions {
  /** How long running calls may take to end, in milliseconds. 2000. */
  readonly graceMs?: number;
  /**
   * What becomes of it while it is in use, by calls that have not ended or by zones that belong to
   * it: `'wait'` closes these and waits for calls, `'reject'` is `ERR_IN_USE` and changes nothing.
   * `'wait'`.
   */
  readonly ifInUse?: 'wait' | 'reject';
}

/**
 * Loads a native plugin: a shared library that keeps to `include/busbar_plugin.h`, for example one
 * written in Rust with the crate `busbar-plugin`. Its code runs with the rights of this process and
 * can end it: load only what you trust.
 *
 * @throws BusbarError (as a rejection) `ERR_NOT_FOUND`; `ERR_PLUGIN_…`, one for each thing that can
 * be wrong with a library; `ERR_SCHEMA_MISMATCH` for types that contradict registered ones
 *
 * @example
 * ```ts
 * import { loadZone } from 'busbar';
 *
 * interface Physics {
 *   length(point: { x: number; y: number }): number;
 * }
 *
 * async function main(path: string): Promise<void> {
 *   await using zone = await loadZone({ path, mode: 'inline' });
 *   const physics = zone.interface<Physics>();
 *   console.log(physics.length({ x: 3, y: 4 })); // 5
 * }
 *
 * if (process.argv[2] !== undefined) await main(process.argv[2]);
 * ```
 */
export async function loadZone(options: LoadZoneOptions): Promise<Zone> {
  const native = checkLoad(options);
  const { parent, arenaBytes = ARENA_BYTES } = options;
  const port = zonePort();
  const exposed = new ZoneParent(new Map(Object.entries(options.expose ?? {})));
  const number = port.addParent(exposed);
  let loaded;
  try {
    loaded = await port.run('loadZone()', waitOf(options), (operation) => {
      port.native.load(native, parent === undefined ? null : nativeOf(parent), number, operation);
    });
  } catch (error) {
    port.forgetParent(number);
    throw error;
  }
  const exposure = { exposed, number, onDown: options.onDown };
  const opened = new Zone(loaded.zone as NativeZone, { parent, arenaBytes, ...exposure });
  try {
    if (options.watch === true) watch(opened, options.onReload);
  } catch (error) {
    await opened.close();
    throw error;
  }
  return opened;
}

function waitOf({ signal, timeoutMs }: WaitOptions): WaitOptions {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
}

interface Place {
  readonly parent: Zone | undefined;
  readonly arenaBytes: number;
  readonly exposed: ZoneParent;
  /** What the port knows `exposed` by. */
  readonly number: number;
  readonly onDown: ((event: ZoneDown) => void) | undefined;
}

/** What a zone keeps to itself. */
let nativeOf: (zone: Zone) => NativeZone;
let watch: (zone: Zone, onReload: ((event: ReloadEvent) => void) | undefined) => void;

/** A loaded plugin; {@link loadZone} makes them. */
export class Zone {
  /** Which threads run its methods. */
  readonly mode: ZoneMode;
  /** The zone that it belongs to. */
  readonly parent: Zone | undefined;
  /** Its plugin's id, such as `example.physics`. */
  readonly pluginId: string;
  readonly #native: NativeZone;
  readonly #indexes = new Map<string, number>();
  readonly #inline: InlineCalls | null;
  readonly #waiting: WaitingCalls;
  #submitter: NativeSubmit | null = null;
  #closing: Promise<void> | null = null;
  #unwatch: (() => void) | null = null;
  readonly #exposed: ZoneParent;
  readonly #exposedAs: number;
  /** Who is told if a generation goes down. */
  readonly #holders = new Set<Holder>();

  static {
    nativeOf = (zone) => zone.#native;
    watch = (zone, onReload) => zone.#watch(onReload);
  }

  /** @internal */
  constructor(native: NativeZone, { parent, arenaBytes, exposed, number, onDown }: Place) {
    this.#native = native;
    this.#exposed = exposed;
    this.#exposedAs = number;
    const holders = this.#holders;
    // Not this zone: it can be collected as long as nobody else refers to it.
    exposed.onDown = (generation) => tellDown(holders, onDown, generation);
    collected.register(this, number, this);
    this.mode = MODES[native.mode] as ZoneMode;
    this.parent = parent;
    this.pluginId = native.id;
    this.#number();
    const isInline = this.mode === 'inline';
    this.#inline = isInline ? callNative(() => new InlineCalls(native, arenaBytes)) : null;
    this.#waiting = new WaitingCalls(native);
  }

  /**
   * Where it is in its life: `ACTIVE`, `DRAINING` while its last calls run, `DESTROYED`; `FAULTED`
   * after a panic; `ZOMBIE` if a call never ended; `CRASHED` if its process did so too often.
   */
  get state(): string {
    return this.#native.state;
  }

  /** The version of its plugin: of the generation that is called now. */
  get pluginVersion(): string {
    return this.#native.version;
  }

  /** The methods of its plugin, likewise. */
  get methods(): readonly ZoneMethod[] {
    return this.#native.methods().map(({ name, flags }) => ({
      name,
      sync: isSync({ flags }),
      threadSafe: (flags & 2) !== 0,
      oneway: (flags & 4) !== 0,
      idempotent: (flags & 8) !== 0,
    }));
  }

  /** Which generation of its plugin is called: 1 until {@link reload} finds another one. */
  get generation(): number {
    return this.#native.generation;
  }

  /** What its calls are at, and came to. */
  get stats(): ZoneStats {
    return this.#native.stats();
  }

  /** How its process does; `null` if it has none. */
  get process(): ZoneProcess | null {
    const process = this.#native.process() ?? null;
    if (process === null) return null;
    const { pid, starts, crashes, retried, lastCrash } = process;
    return { pid: pid ?? null, starts, crashes, retried, lastCrash: lastCrash ?? null };
  }

  /**
   * The plugin's methods as functions of values: they return results if the zone is inline, and
   * promises of them if it is not. Their arguments are those of the Rust method.
   *
   * The type says what you expect; that values are of the types that the plugin declares is checked
   * when they are written.
   *
   * @throws BusbarError `ERR_TYPE_NOT_FOUND` if the plugin does not say what a method takes
   */
  interface<T extends object>(options: CompileOptions = {}): T {
    const types = this.#native.types();
    const functions = this.#native.methods().map((method) => {
      const signature = signatureOf(method, types, options);
      return [method.name, this.#function(method, signature)] as const;
    });
    return Object.freeze(Object.assign(Object.create(null), Object.fromEntries(functions))) as T;
  }

  /**
   * The plugin's methods as functions of many calls: each takes an array of lists of arguments, and
   * returns an array of results. They are made in order, by one native call for hundreds of them;
   * the zone must be inline.
   *
   * @throws BusbarError as {@link interface}; `ERR_NOT_SUPPORTED` if the zone is not inline. The
   * functions throw a `BatchError` if calls fail, with the results of all others
   *
   * @example
   * ```ts
   * import { loadZone } from 'busbar';
   *
   * interface Physics {
   *   distance(x: number, y: number): number;
   * }
   *
   * async function main(path: string): Promise<void> {
   *   await using zone = await loadZone({ path, mode: 'inline' });
   *   const { distance } = zone.callBatch<Physics>();
   *   console.log(distance([[3, 4], [5, 12]])); // [ 5, 13 ]
   * }
   *
   * if (process.argv[2] !== undefined) await main(process.argv[2]);
   * ```
   */
  callBatch<T extends object>(options: BatchOptions = {}): BatchOf<T> {
    const inline = this.#inlineCalls('callBatch()');
    const { resultBytes = RESULT_BYTES, ...compile } = options;
    checkInteger('resultBytes', resultBytes, 1, inline.room);
    const types = this.#native.types();
    const functions = this.#native.methods().flatMap((method) => {
      if (!isSync(method)) return [];
      const signature = signatureOf(method, types, compile);
      return [[method.name, batchFunction(inline, method.number, signature, resultBytes)] as const];
    });
    return Object.freeze(
      Object.assign(Object.create(null), Object.fromEntries(functions)),
    ) as BatchOf<T>;
  }

  #function(method: NativeMethod, signature: Signature): (...values: unknown[]) => unknown {
    const { name, number } = method;
    const inline = this.#inline;
    if (inline !== null && isSync(method)) return inline.function(number, signature);
    if (inline !== null) return (...values) => inline.apart(number, signature, values);
    const [what, decode] = [`${name}()`, (bytes: Buffer) => signature.decode(bytes)];
    return (...values) => {
      let input;
      try {
        input = signature.encode(values);
      } catch (error) {
        return Promise.reject(error);
      }
      return this.#submit(what, number, input, undefined, decode);
    };
  }

  /**
   * Calls a method with bytes and resolves to the bytes of its result. A call that is given up
   * rejects at once: it is not started if it waits for a thread, and its plugin is asked to end it
   * if it runs. What comes of it is dropped, and counted in {@link stats}.
   *
   * @throws BusbarError (as a rejection) what the plugin says; `ERR_METHOD_NOT_FOUND`,
   * `ERR_ZONE_CLOSED`, `ERR_ZONE_FAULTED`, `ERR_ZONE_CRASHED`; `ERR_AGAIN` if too many calls wait
   */
  async call(method: string, input: Uint8Array = NO_BYTES, options?: WaitOptions): Promise<Buffer> {
    checkBytes('input', input);
    const what = `${method}()`;
    return this.#submit(what, this.#index(method), input, options, null) as Promise<Buffer>;
  }

  /**
   * Calls a method with bytes and returns the bytes of its result, which lie in `out`, if that is
   * given. The method runs on this thread, or this thread waits while it runs in its process.
   *
   * @throws BusbarError as {@link call}; `ERR_NOT_SUPPORTED` if the zone is neither inline nor in a
   * process, or is inline and the method may wait; `ERR_BUFFER_TOO_SMALL` if `out` is, when the
   * method may have had its effect; `ERR_TIMED_OUT`
   */
  callSync(
    method: string,
    input: Uint8Array = NO_BYTES,
    out?: Uint8Array,
    options?: CallSyncOptions,
  ): Uint8Array {
    checkBytes('input', input);
    if (out !== undefined) checkBytes('out', out);
    const index = this.#index(method);
    if (this.mode === 'process') {
      return this.#waiting.call(index, input, out, options?.timeoutMs);
    }
    const inline = this.#inlineCalls('callSync()');
    if (out === undefined) {
      const room = Buffer.allocUnsafe(inline.room);
      return Buffer.from(room.subarray(0, inline.bytes(index).call(input, room)));
    }
    const length = inline.bytes(index).call(input, out);
    return length === out.length ? out : out.subarray(0, length);
  }

  /**
   * Has a method run without waiting for it: what it returns is dropped, a failure is told to the
   * logger.
   *
   * @throws BusbarError `ERR_METHOD_NOT_FOUND`, `ERR_ZONE_CLOSED`, `ERR_ZONE_FAULTED`,
   * `ERR_ZONE_CRASHED`; `ERR_NOT_SUPPORTED` if the zone is inline and the method may wait;
   * `ERR_AGAIN` if too many calls wait
   */
  post(method: string, input: Uint8Array = NO_BYTES): void {
    checkBytes('input', input);
    const [index, bytes] = [this.#index(method), isShared(input) ? Buffer.from(input) : input];
    callNative(() => this.#native.post(index, bytes));
  }

  /**
   * Looks a method up, for the most frequent calls with bytes; the zone must be inline.
   *
   * @throws BusbarError `ERR_METHOD_NOT_FOUND`; `ERR_NOT_SUPPORTED` if the zone is not inline or
   * the method may wait
   *
   * @example
   * ```ts
   * import { loadZone } from 'busbar';
   *
   * async function main(path: string): Promise<void> {
   *   await using zone = await loadZone({ path, mode: 'inline' });
   *   const invert = zone.bind('invert');
   *   invert.input.set([1, 2, 3]);
   *   const length = invert.run(3);
   *   console.log(invert.output.subarray(0, length)); // 254, 253, 252
   *   const out = new Uint8Array(3);
   *   console.log(invert.call(Uint8Array.of(1, 2, 3), out), out); // 3, and the same
   * }
   *
   * if (process.argv[2] !== undefined) await main(process.argv[2]);
   * ```
   */
  bind(method: string): BoundMethod {
    const inline = this.#inlineCalls('bind()');
    const { run, call } = inline.bytes(this.#index(method));
    return Object.freeze({ input: inline.argument, output: inline.result, run, call });
  }

  /**
   * Loads the library at `path`, or the one that the zone was loaded from, anew, and calls it from
   * now on. The next generation is loaded from a private copy and made active while the last one
   * serves, so that no call fails or waits. If both keep state, calls wait while it is handed
   * over. Calls that run end in the generation they began in. If anything is wrong with the file,
   * the last generation goes on; one that panics within 5 seconds is replaced by what came before.
   *
   * Resolves to whether there is a new generation: there is none if the file is the one that runs.
   *
   * @throws BusbarError (as a rejection) as {@link loadZone}; `ERR_SCHEMA_MISMATCH` if methods are
   * missing or have other types, or state cannot be read; `ERR_IN_USE` if the plugin allows one
   * instance in a process, and is in this one; `ERR_PLUGIN_BUDGET` if too many
   * images of former generations are left in memory, which in this process is for ever
   *
   * @example
   * ```ts
   * import { loadZone } from 'busbar';
   *
   * async function main(path: string): Promise<void> {
   *   await using zone = await loadZone({ path });
   *   process.on('SIGHUP', async () => {
   *     const isNew = await zone.reload();
   *     console.log(isNew ? `now ${zone.pluginVersion}` : 'nothing new');
   *   });
   *   await new Promise((resolve) => process.once('SIGTERM', resolve));
   * }
   *
   * if (process.argv[2] !== undefined) await main(process.argv[2]);
   * ```
   */
  async reload(path?: string, options: ReloadZoneOptions = {}): Promise<boolean> {
    if (path !== undefined && (typeof path !== 'string' || path === '')) {
      throw invalidArgument(`path is ${show(path)}; it must be that of a library`);
    }
    checkNames(options, ['graceMs', 'breaking', 'cold']);
    const native = reloadOf(options);
    const end = await zonePort().run('reload()', undefined, (operation) => {
      this.#native.reload(path ?? null, native, operation);
    });
    this.#number();
    return end.generation !== 0;
  }

  #watch(onReload: ((event: ReloadEvent) => void) | undefined): void {
    this.#unwatch = zonePort().subscribe(
      (operation) => this.#native.watch(reloadOf({}), operation),
      ({ generation }, error) => {
        if (error !== null) onReload?.({ type: 'failed', error });
        else if (generation) onReload?.({ type: 'reloaded', generation });
      },
    );
  }

  /**
   * Holds an object that the plugin has numbered, until it is closed or collected: then, if nobody
   * else does, the plugin is told. In Rust, such numbers are of `busbar_plugin::Objects`.
   *
   * @throws BusbarError `ERR_OBJECT_STALE` if the generation that is called now has no such object
   */
  hold(object: number | bigint, options: HoldOptions = {}): ZoneObject {
    checkNames(options, ['onDown']);
    const number = numberOf(object);
    const native = callNative(() => this.#native.hold(number));
    const { onDown } = options;
    if (onDown === undefined) return new ZoneObject(native, () => undefined);
    checkFunction('onDown', onDown);
    const holder = { generation: native.generation, onDown };
    this.#holders.add(holder);
    return new ZoneObject(native, () => this.#holders.delete(holder));
  }

  /**
   * Numbers an object of this program for the plugin, which gives the number back to functions that
   * it calls: {@link lent} finds the object by it. It is kept until the plugin says that it does
   * not need it, until the generation that is called now ends, or until {@link takeBack}.
   *
   * @throws BusbarError `ERR_ZONE_CLOSED`
   */
  lend(value: object, options: LendOptions = {}): number {
    checkNames(options, ['onRelease']);
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null) {
      throw invalidArgument(`value is ${show(value)}; it must be an object`);
    }
    checkFunction('onRelease', options.onRelease);
    const number = callNative(() => this.#native.lend());
    this.#exposed.lend(number, { value, onRelease: options.onRelease });
    return number;
  }

  /**
   * The object that was lent by this number.
   *
   * @throws BusbarError `ERR_OBJECT_STALE` if it is lent no longer, or never was
   */
  lent(object: number | bigint): object {
    const value = this.#exposed.lent(numberOf(object));
    if (value !== undefined) return value;
    throw new BusbarError('ERR_OBJECT_STALE', `object ${object} is not lent, or no longer`);
  }

  /** Lends an object no longer, without `onRelease`; whether it was lent. */
  takeBack(object: number | bigint): boolean {
    const number = numberOf(object);
    const was = this.#native.takeBack(number);
    if (was) this.#exposed.takeBack(number);
    return was;
  }

  /**
   * Closes the zone, the zones that belong to it first. Running calls have `graceMs` to end; from
   * half of that on they are asked to. What is open when the environment ends, by `process.exit()`
   * or otherwise, is closed then, within two seconds.
   *
   * @throws BusbarError (as a rejection) `ERR_TIMED_OUT` if one does not: its instance stays;
   * `ERR_PLUGIN_PANIC` if the plugin panics as it ends, which it has then; `ERR_IN_USE` if it is in
   * use and that shall not be waited for
   */
  async close(options: CloseZoneOptions = {}): Promise<void> {
    checkNames(options, ['graceMs', 'ifInUse']);
    const { graceMs = GRACE_MS, ifInUse = 'wait' } = options;
    checkInteger('graceMs', graceMs, 0, 0xffff_ffff);
    if (ifInUse !== 'wait' && ifInUse !== 'reject') {
      throw invalidArgument(`ifInUse is ${show(ifInUse)}; it must be 'wait' or 'reject'`);
    }
    const isRefused = ifInUse === 'reject' && this.#closing === null;
    const closing = isRefused ? this.#end(graceMs, true) : (this.#closing ??= this.#end(graceMs));
    await closing;
    this.#closing ??= closing;
  }

  async #end(graceMs: number, onlyIfIdle = false): Promise<void> {
    if (!onlyIfIdle) this.#stopWatching();
    try {
      await zonePort().run('close()', undefined, (operation) => {
        this.#native.close(graceMs, onlyIfIdle, operation);
      });
    } catch (error) {
      if (onlyIfIdle && error instanceof BusbarError && error.code === 'ERR_IN_USE') throw error;
      this.#forget();
      throw error;
    }
    this.#forget();
  }

  #stopWatching(): void {
    this.#unwatch?.();
    this.#native.unwatch();
  }

  #forget(): void {
    this.#stopWatching();
    collected.unregister(this);
    zonePort().forgetParent(this.#exposedAs);
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #submit(
    what: string,
    method: number,
    input: Uint8Array,
    options: WaitOptions | undefined,
    decode: ((bytes: Buffer) => unknown) | null,
  ): Promise<unknown> {
    const submit = (this.#submitter ??= this.#native.submitter());
    return zonePort().call(
      what,
      options,
      // Where no other thread can change it.
      (operation) => submit(method, isShared(input) ? Buffer.from(input) : input, operation),
      (call) => this.#native.cancel(call),
      decode,
    );
  }

  #number(): void {
    this.#indexes.clear();
    for (const { name, number } of this.#native.methods()) this.#indexes.set(name, number);
  }

  #inlineCalls(what: string): InlineCalls {
    if (this.#inline !== null) return this.#inline;
    const message = `${what} needs a zone of the mode inline; this one is ${this.mode}`;
    throw new BusbarError('ERR_NOT_SUPPORTED', message);
  }

  #index(method: string): number {
    const index = this.#indexes.get(method);
    if (index !== undefined) return index;
    // A reload may have brought it.
    this.#number();
    const later = this.#indexes.get(method);
    if (later !== undefined) return later;
    const names = [...this.#indexes.keys()].join(', ');
    const message = `${this.pluginId} has no method ${show(method)}, but ${names}`;
    throw new BusbarError('ERR_METHOD_NOT_FOUND', message);
  }
}

/** Whether a method never waits. */
function isSync({ flags }: Pick<NativeMethod, 'flags'>): boolean {
  return (flags & 1) !== 0;
}

interface Holder {
  readonly generation: number;
  readonly onDown: (event: ZoneDown) => void;
}

/** Each once, whatever the others do. */
function tellDown(
  holders: Set<Holder>,
  onDown: ((event: ZoneDown) => void) | undefined,
  generation: number,
): void {
  const told = [...holders].filter((holder) => holder.generation === generation);
  for (const holder of told) holders.delete(holder);
  for (const tell of [onDown, ...told.map((holder) => holder.onDown)]) {
    if (tell !== undefined) queueMicrotask(() => tell({ generation }));
  }
}

/** Nobody answers the plugin of a zone that was collected: it closes. */
const collected = new FinalizationRegistry<number>((number) => zonePort().forgetParent(number));

const RESULT_BYTES = 1024;
const NO_BYTES = new Uint8Array(0);
const ARENA_BYTES = 64 * 1024;
const GRACE_MS = 2000;
const RELOAD_GRACE_MS = 5000;

const LOAD_OPTIONS: readonly (keyof LoadZoneOptions)[] = [
  ...(['path', 'name', 'folders', 'mode', 'threads', 'config', 'parent', 'allowVersions'] as const),
  ...(['allowGoInProcess', 'trust', 'process', 'arenaBytes'] as const),
  ...(['watch', 'onReload', 'expose', 'onDown', 'signal', 'timeoutMs'] as const),
];

function checkLoad(options: LoadZoneOptions): NativeZoneOptions {
  checkNames(options, LOAD_OPTIONS);
  const { path, name, mode = 'shared', threads = 1, parent, trust = {} } = options;
  const mayBeProcess = options.mode === undefined || mode === 'process';
  if (options.process !== undefined && !mayBeProcess) {
    throw invalidArgument(`process is for the mode process; this one is ${mode}`);
  }
  checkNames(trust, ['allow', 'keys', 'insecure']);
  if ((path === undefined) === (name === undefined)) {
    throw invalidArgument('loadZone() takes a path or a name of a library, one of them');
  }
  const library = path ?? name;
  if (typeof library !== 'string' || library === '') {
    throw invalidArgument(`the library is ${show(library)}; it must be a path or a name`);
  }
  if (!MODES.includes(mode)) {
    throw invalidArgument(`mode is ${show(mode)}; it must be one of ${MODES.join(', ')}`);
  }
  checkInteger('threads', threads, 1, 64);
  if (options.threads !== undefined && (mode === 'inline' || mode === 'shared') && !mayBeProcess) {
    throw invalidArgument(`threads is for zones with threads of their own; this one is ${mode}`);
  }
  checkInteger('arenaBytes', options.arenaBytes ?? ARENA_BYTES, 1024, 256 * 1024 * 1024, 16);
  checkFunction('onReload', options.onReload);
  checkFunction('onDown', options.onDown);
  for (const [exposed, run] of Object.entries(options.expose ?? {})) {
    if (run === undefined) throw invalidArgument(`expose.${exposed} is undefined`);
    checkFunction(`expose.${exposed}`, run);
  }
  if (parent !== undefined && !(parent instanceof Zone)) {
    throw invalidArgument(`parent is ${show(parent)}; it must be a zone`);
  }
  return {
    library,
    isName: path === undefined,
    folders: texts('folders', options.folders),
    mode: MODES.indexOf(mode),
    go: options.allowGoInProcess === true ? 2 : options.mode === undefined ? 1 : 0,
    ...(mayBeProcess ? { process: resolveProcess(options.process) } : {}),
    threads,
    config: configOf(options.config),
    allowVersions: options.allowVersions === true,
    allow: Object.entries(trust.allow ?? {}).flatMap(([id, hashes]) => {
      const all = typeof hashes === 'string' ? [hashes] : texts('trust.allow', hashes);
      return all.flatMap((hash) => [id, hash]);
    }),
    keys: texts('trust.keys', trust.keys),
    insecure: trust.insecure === true,
    exposes: Object.keys(options.expose ?? {}).length > 0,
  };
}

function reloadOf(options: ReloadZoneOptions): NativeReload {
  const { graceMs = RELOAD_GRACE_MS, breaking = false, cold = false } = options;
  checkInteger('graceMs', graceMs, 0, 0xffff_ffff);
  return { graceMs, breaking: breaking === true, cold: cold === true };
}

function configOf(config: unknown): string {
  try {
    const json = JSON.stringify(config ?? null) as string | undefined;
    if (json !== undefined) return json;
    throw new TypeError(`${show(config)} has no JSON`);
  } catch (cause) {
    throw new BusbarError('ERR_INVALID_ARGUMENT', 'config cannot be JSON', { cause });
  }
}

function texts(what: string, value: readonly string[] | undefined): string[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return [...value];
  throw invalidArgument(`${what} is ${show(value)}; it must be an array of strings`);
}

function checkFunction(what: string, value: unknown): void {
  if (value === undefined || typeof value === 'function') return;
  throw invalidArgument(`${what} is ${show(value)}; it must be a function`);
}

/** What crosses as a number: those of plugins and of this program are below 2^53. */
function numberOf(object: number | bigint): number {
  const number = Number(object);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw invalidArgument(`the object is ${show(object)}; it must be a number that was given out`);
}

function checkBytes(what: string, value: unknown): void {
  if (value instanceof Uint8Array) return;
  throw invalidArgument(`${what} is ${show(value)}; it must be a Uint8Array`);
}
