/** The registry of types: what the process knows, by name and schema hash. */

import { BusbarError, callNative, invalidArgument, show } from './errors.js';
import type { NativeType } from './internal/binding.js';
import { checkFlag, pathOf } from './internal/checks.js';
import { native } from './internal/native.js';
import { log } from './logger.js';
import { checkRoot, compile, type ArchiveCodec, type CompileOptions } from './schema/codec.js';
import type { DescriptorSource } from './schema/descriptor.js';

/**
 * Types by the name that they are registered under, for {@link Registry.lookup}. Files written by
 * `busbar gen` add theirs; add your own by declaration merging.
 *
 * @example
 * ```ts
 * import { registry } from 'busbar';
 *
 * declare module 'busbar' {
 *   interface RegisteredTypes {
 *     'game.Score': { player: string; points: number };
 *   }
 * }
 *
 * const { encode } = registry.has('game.Score') ? registry.lookup('game.Score') : { encode: null };
 * console.log(encode?.({ player: 'Ada', points: 3 }));
 * ```
 */
// oxlint-disable-next-line typescript/no-empty-object-type, typescript/no-empty-interface
export interface RegisteredTypes {}

/** A registered type. */
export interface TypeInfo {
  /** Full name. */
  readonly name: string;
  /** Schema hash. */
  readonly hash: bigint;
  /** The formats that are written without a fallback: `rkyv`, `capnp`, `json`. */
  readonly formats: readonly string[];
  /** Who registered it: the program, a plugin, or code compiled in. */
  readonly origin: string;
}

/** A format that values of a type can have. `rkyv` is what codecs write. */
export type Format = 'rkyv' | 'capnp' | 'json';

/** What `registry.convert()` converts. */
export interface ConvertOptions {
  /** The format of the bytes. `'rkyv'`. */
  readonly from?: Format;
  /** The format that they are to have. */
  readonly to: Format;
  /** The version of the type; needed where there are several. */
  readonly hash?: bigint;
}

/** How often a type was written in a format that it has no writer for. */
export interface Downgrade {
  /** Full name of the type. */
  readonly name: string;
  /** Its schema hash. */
  readonly hash: bigint;
  /** The format. */
  readonly format: string;
  /** How often, in this process. */
  readonly count: number;
}

/** Options of `registry.register()`. */
export interface RegisterOptions {
  /** Whether other versions of the type may stand beside it. `false`: that is an error. */
  readonly allowVersions?: boolean;
}

/**
 * The types that a process knows, by name and schema hash; the one instance is {@link registry}.
 * All threads of the process see the same types; each makes its codecs when it looks them up.
 */
export class Registry {
  readonly #codecs = new Map<string, { descriptor: string | undefined; codec: unknown }>();
  readonly #warned = new Set<string>();

  /** @internal There is one: `registry`. */
  constructor() {
    Object.freeze(this);
  }

  /**
   * Registers a type. Registering it again changes nothing. A codec, such as one from a file that
   * `busbar gen` wrote, is what this thread will get by looking the type up.
   *
   * @throws BusbarError `ERR_SCHEMA_INVALID`; `ERR_SCHEMA_MISMATCH` if another version of the type
   * is registered, with both hashes, both origins and the first difference
   */
  register<T, V>(
    type: ArchiveCodec<T, V> | DescriptorSource,
    options: RegisterOptions = {},
  ): TypeInfo {
    const allowVersions = checkAllowVersions(options);
    const codec = isCodec(type) ? type : null;
    const descriptor = codec?.descriptor ?? JSON.stringify(checkRoot(type));
    const origin = 'registered by the program';
    const info = infoOf(callNative(() => native.registerType(descriptor, origin, allowVersions)));
    if (codec !== null) {
      const found = this.#find(info.name, info.hash);
      this.#codecs.set(keyOf(info, {}), { descriptor: found.descriptor, codec });
    }
    return info;
  }

  /**
   * Registers the types that a library exports by `busbar_types::export_types!`; all of them, or if
   * there is an error, none. The library's code runs with the rights of this process: load only
   * what you trust. It stays loaded.
   *
   * @param path - of a shared library (`.so`, `.dylib`, `.dll`) or an addon (`.node`)
   * @throws BusbarError `ERR_NOT_FOUND`, `ERR_IO` if it is no library, `ERR_TYPE_NOT_FOUND` if it
   * exports no types, `ERR_SCHEMA_INVALID`, `ERR_SCHEMA_MISMATCH`
   */
  load(path: string | URL, options: RegisterOptions = {}): TypeInfo[] {
    const name = pathOf(path, 'a library');
    const allowVersions = checkAllowVersions(options);
    return callNative(() => native.loadTypes(name, allowVersions)).map(infoOf);
  }

  /**
   * The codec of a registered type: of this hash, or else of the only version there is.
   *
   * @throws BusbarError `ERR_TYPE_NOT_FOUND`; `ERR_SCHEMA_MISMATCH` if there are several versions
   * and no hash says which; `ERR_NOT_SUPPORTED` if its plugin does not say what it is made of
   *
   * @example
   * ```ts
   * import { registry } from 'busbar';
   *
   * registry.register({
   *   abi: 1,
   *   format: 'rkyv0.8/le/aligned/p32',
   *   root: 'game.Hit',
   *   types: { 'game.Hit': { kind: 'struct', fields: [{ name: 'points', kind: 'u32' }] } },
   * });
   *
   * const hit = registry.lookup<{ points: number }>('game.Hit');
   * console.log(hit.decode(hit.encode({ points: 7 }))); // { points: 7 }
   * ```
   */
  lookup<K extends keyof RegisteredTypes>(
    name: K,
    hash?: bigint,
    options?: CompileOptions,
  ): ArchiveCodec<RegisteredTypes[K]>;
  lookup<T>(name: string, hash?: bigint, options?: CompileOptions): ArchiveCodec<T>;
  lookup(name: string, hash?: bigint, options: CompileOptions = {}): unknown {
    const found = this.#find(name, hash);
    const key = keyOf(infoOf(found), options);
    const { descriptor } = found;
    if (descriptor === undefined) throw undescribed(name);
    // The hash says nothing of names for readers, defaults and how integers look.
    const known = this.#codecs.get(key);
    if (known?.descriptor === descriptor) return known.codec;
    const codec = compile(descriptor, options);
    this.#codecs.set(key, { descriptor, codec });
    return codec;
  }

  /**
   * The same value in another format: archives of codecs as Cap'n Proto messages or JSON, and back.
   * Where the type has no writer for the format, it is converted by way of an archive: that is
   * slower, is told to the logger once, and is counted in {@link downgrades}.
   *
   * @throws BusbarError as `lookup`; `ERR_FORMAT_UNSUPPORTED`; `ERR_ARCHIVE_INVALID` or
   * `ERR_SCHEMA_VARIANT` if the bytes are no value of the type
   */
  convert(name: string, bytes: Uint8Array, options: ConvertOptions): Buffer {
    const { from = 'rkyv', to, hash } = options;
    if (!(bytes instanceof Uint8Array)) {
      throw invalidArgument(`bytes is ${show(bytes)}; it must be a Buffer or a Uint8Array`);
    }
    checkFormat('from', from);
    checkFormat('to', to);
    const found = this.#find(name, hash);
    // A copy: in memory that others share, bytes may change while they are read.
    const own = Uint8Array.prototype.slice.call(bytes);
    const converted = callNative(() => native.convertType(name, found.hash, [from, to], own));
    const { formats } = infoOf(found);
    for (const format of [from, to].filter((one) => !formats.includes(one))) {
      this.#warn(found, format);
    }
    return converted;
  }

  /** How often types were written in formats that they have no writer for, in this process. */
  downgrades(): Downgrade[] {
    return native.listDowngrades();
  }

  /** Whether a type is registered: in this version, or in any. */
  has(name: string, hash?: bigint): boolean {
    checkKey(name, hash);
    return this.list().some((type) => type.name === name && (hash ?? type.hash) === type.hash);
  }

  /** Every registered type, by name and hash. */
  list(): TypeInfo[] {
    return native.listTypes().map(infoOf);
  }

  /** Takes a type out; `false` if it was not there. Codecs that were looked up go on working. */
  unregister(name: string, hash: bigint): boolean {
    checkKey(name, hash);
    return native.unregisterType(name, hash);
  }

  #warn({ name, hash }: NativeType, format: string): void {
    const key = `${name} ${hash} ${format}`;
    if (this.#warned.has(key)) return;
    this.#warned.add(key);
    log('warn', `${name} has no ${format} writer of its own: it is converted, which is slower`);
  }

  #find(name: string, hash: bigint | undefined): NativeType {
    checkKey(name, hash);
    return callNative(() => native.lookupType(name, hash));
  }
}

/** The types that this process knows. */
export const registry: Registry = new Registry();

function isCodec<T, V>(type: ArchiveCodec<T, V> | DescriptorSource): type is ArchiveCodec<T, V> {
  return typeof type === 'object' && type !== null && 'descriptor' in type && 'layout' in type;
}

function checkFormat(option: string, format: unknown): void {
  if (format === 'rkyv' || format === 'capnp' || format === 'json') return;
  throw invalidArgument(`${option} is ${show(format)}; it must be 'rkyv', 'capnp' or 'json'`);
}

function checkAllowVersions({ allowVersions = false }: RegisterOptions): boolean {
  checkFlag('allowVersions', allowVersions);
  return allowVersions;
}

function checkKey(name: unknown, hash: unknown): void {
  if (typeof name !== 'string') {
    throw invalidArgument(`name is ${show(name)}; it must be a string such as 'market.Order'`);
  }
  if (hash === undefined) return;
  if (typeof hash === 'bigint' && BigInt.asUintN(64, hash) === hash) return;
  throw invalidArgument(`hash is ${show(hash)}; it must be a bigint of 64 bits`);
}

function undescribed(name: string): BusbarError {
  const message = `${name} is known, but its plugin does not say what it is made of`;
  return new BusbarError('ERR_NOT_SUPPORTED', message);
}

function infoOf({ name, hash, formats, origin }: NativeType): TypeInfo {
  return { name, hash, formats: formats === '' ? [] : formats.split('|'), origin };
}

function keyOf({ name, hash }: TypeInfo, options: CompileOptions): string {
  const { u64 = 'default', intern = 'default', mode = 'auto' } = options;
  return [name, hash, u64, intern, mode].join(' ');
}
