/** Methods of plugins as functions: values in, values out. */

import { BusbarError, callNative, invalidArgument, show } from '../errors.js';
import { registry } from '../registry.js';
import type { ArchiveCodec, CompileOptions } from '../schema/codec.js';
import { pascalCase } from '../schema/pascal.js';
import { BufferTooSmallError } from '../schema/problems.js';
import type { NativeInline, NativeMethod } from './binding.js';

/** How the bytes of calls are made, and what their results are. */
export interface Signature {
  /** The arguments as bytes of their own. */
  encode(values: readonly unknown[]): Uint8Array;
  /** The arguments at the beginning of `target`; how many bytes they take. */
  encodeInto(values: readonly unknown[], target: Uint8Array): number;
  /** The result. Its bytes may be used again: nothing of it lies in them. */
  decode(bytes: Uint8Array): unknown;
}

/** A type of a plugin, for the signatures of its methods. */
export interface NamedType {
  readonly name: string;
  readonly hash: bigint;
}

/**
 * The signature of a method. Its plugin declares types for it where Rust has none: arguments are
 * the fields of a struct `…Arguments`, a result that is a number or so is in a struct `…Result`.
 */
export function signatureOf(
  method: NativeMethod,
  types: readonly NamedType[],
  options: CompileOptions,
): Signature {
  const codecOf = (hash: bigint): ArchiveCodec<unknown> | null => {
    if (hash === 0n) return null;
    const type = types.find((one) => one.hash === hash);
    if (type === undefined) {
      const message = `the plugin does not say what ${method.name}() is called with`;
      throw new BusbarError('ERR_TYPE_NOT_FOUND', message);
    }
    return registry.lookup(type.name, hash, options);
  };
  const [argument, result] = [codecOf(method.inHash), codecOf(method.outHash)];
  const pack = argument === null ? null : packer(method.name, argument);
  return {
    encode: (values) => {
      return argument === null || pack === null
        ? bytesOf(method.name, values)
        : argument.encode(pack(values));
    },
    encodeInto(values, target) {
      if (argument !== null && pack !== null) return argument.encodeInto(pack(values), target, 0);
      const bytes = bytesOf(method.name, values);
      if (bytes.length === 0) return 0;
      if (bytes.length > target.length) throw new BufferTooSmallError(bytes.length, target.length);
      target.set(bytes);
      return bytes.length;
    },
    decode: decoder(method.name, result),
  };
}

/** From the arguments of a function to the value that its plugin expects. */
function packer(
  method: string,
  codec: ArchiveCodec<unknown>,
): (values: readonly unknown[]) => unknown {
  if (!isNamedAfter(method, 'Arguments', codec.name)) {
    return (values) => {
      checkCount(method, values, 1);
      return values[0];
    };
  }
  const names = fieldsOf(codec);
  return (values) => {
    checkCount(method, values, names.length);
    const fields: Record<string, unknown> = {};
    for (let i = 0; i < names.length; i++) fields[names[i] as string] = values[i];
    return fields;
  };
}

function decoder(
  method: string,
  codec: ArchiveCodec<unknown> | null,
): (bytes: Uint8Array) => unknown {
  if (codec === null) return (bytes) => (bytes.length === 0 ? NOTHING : Buffer.from(bytes));
  const { decode } = codec;
  if (!isNamedAfter(method, 'Result', codec.name)) return decode;
  return (bytes) => (decode(bytes) as readonly unknown[])[0];
}

/** Bytes of no result. */
const NOTHING = Buffer.alloc(0);

function bytesOf(method: string, values: readonly unknown[]): Uint8Array {
  if (values.length === 0) return NOTHING;
  checkCount(method, values, 1);
  const [bytes] = values;
  if (bytes instanceof Uint8Array) return bytes;
  throw invalidArgument(`${method}() was called with ${show(bytes)}; it takes bytes or nothing`);
}

function checkCount(method: string, values: readonly unknown[], count: number): void {
  if (values.length === count) return;
  const message = `${method}() was called with ${values.length} arguments`;
  throw invalidArgument(`${message}; it takes ${count}`);
}

/** `add_all` and `Arguments` make the type `AddAllArguments`, in whatever module. */
function isNamedAfter(method: string, what: string, type: string): boolean {
  const named = pascalCase(method) + what;
  return type === named || type.endsWith(`.${named}`);
}

function fieldsOf(codec: ArchiveCodec<unknown>): readonly string[] {
  const type = codec.layout.types[codec.name];
  return type?.kind === 'struct' ? type.fields.map(({ name }) => name) : [];
}

/** Whether other threads may change the bytes at any time. */
export function isShared({ buffer }: Uint8Array): boolean {
  return buffer instanceof SharedArrayBuffer;
}

/**
 * Calls on this thread, through an arena that the plugin reads from and writes to: the first half
 * is the argument's, the second the result's.
 */
export class InlineCalls {
  readonly #native: NativeInline;
  readonly #registers: Uint32Array;
  readonly #arena: Uint8Array;
  readonly #argument: Uint8Array;
  /** While an argument is written, which may call getters, and those this plugin. */
  #isWriting = false;
  #result: Uint8Array;

  constructor(native: NativeInline, registers: Uint32Array, arena: Uint8Array) {
    this.#native = native;
    this.#registers = registers;
    this.#arena = arena;
    this.#argument = arena.subarray(0, arena.length / 2);
    this.#result = arena;
    registers[1] = 0;
    registers[3] = registers[4] = this.#argument.length;
  }

  /** Runs a method. */
  call(method: number, signature: Signature, values: readonly unknown[]): unknown {
    const size = this.#isWriting ? -1 : this.#write(signature, values);
    if (size < 0) return signature.decode(this.callBytes(method, signature.encode(values)));
    const registers = this.#registers;
    registers[0] = method;
    registers[2] = size;
    callNative(this.#native.call);
    return signature.decode(this.#resultOf(registers[5] as number));
  }

  /** Runs a method with bytes of one's own. */
  callBytes(method: number, input: Uint8Array, out?: Uint8Array): Uint8Array {
    const room = out ?? Buffer.allocUnsafe(this.#argument.length);
    // Another thread could change what the plugin has checked, while it reads it.
    const own = isShared(input) ? Buffer.from(input) : input;
    if (isShared(room))
      throw invalidArgument('out is shared memory; the result needs memory of its own');
    const length = callNative(() => this.#native.callBytes(method, own, room));
    return out === undefined ? Buffer.from(room.subarray(0, length)) : room.subarray(0, length);
  }

  /** Writes the argument; -1 if it has no room here. */
  #write(signature: Signature, values: readonly unknown[]): number {
    this.#isWriting = true;
    try {
      return signature.encodeInto(values, this.#argument);
    } catch (error) {
      if (error instanceof BusbarError && error.code === 'ERR_BUFFER_TOO_SMALL') return -1;
      throw error;
    } finally {
      this.#isWriting = false;
    }
  }

  /** The same view again, where one result is as long as the one before. */
  #resultOf(length: number): Uint8Array {
    if (this.#result.length === length) return this.#result;
    const at = this.#argument.length;
    return (this.#result = this.#arena.subarray(at, at + length));
  }
}
