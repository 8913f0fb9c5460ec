/** The registry of types: what the process knows, by name and schema hash. */

import { BusbarError, callNative, invalidArgument, show } from './errors.js';
import type { NativeType } from './internal/binding.js';
import { native } from './internal/native.js';
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
  readonly #codecs = new Map<string, unknown>();

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
    const { allowVersions = false } = options;
    if (typeof allowVersions !== 'boolean') {
      throw invalidArgument(`allowVersions is ${show(allowVersions)}; it must be true or false`);
    }
    const codec = isCodec(type) ? type : null;
    const descriptor = codec?.descriptor ?? JSON.stringify(checkRoot(type));
    const origin = 'registered by the program';
    const info = infoOf(callNative(() => native.registerType(descriptor, origin, allowVersions)));
    if (codec !== null) this.#codecs.set(keyOf(info, {}), codec);
    return info;
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
    let codec = this.#codecs.get(key);
    if (codec === undefined) {
      const { descriptor } = found;
      if (descriptor === undefined) throw undescribed(name);
      codec = compile(descriptor, options);
      this.#codecs.set(key, codec);
    }
    return codec;
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

  #find(name: string, hash: bigint | undefined): NativeType {
    checkKey(name, hash);
    return callNative(() => native.lookupType(name, hash));
  }
}

/** The types that this process knows. */
export const registry: Registry = new Registry();

function isCodec<T, V>(type: ArchiveCodec<T, V> | DescriptorSource): type is ArchiveCodec<T, V> {
  return typeof type === 'object' && type !== null && 'schemaText' in type && 'layout' in type;
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
