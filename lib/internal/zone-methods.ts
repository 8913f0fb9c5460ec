/** Methods of plugins as functions: values in, values out. */

import { BusbarError, invalidArgument, show } from '../errors.js';
import { registry } from '../registry.js';
import type { ArchiveCodec, CompileOptions } from '../schema/codec.js';
import { canGenerate, runCode } from '../schema/generate.js';
import { pascalCase } from '../schema/pascal.js';
import { BufferTooSmallError } from '../schema/problems.js';
import type { NativeMethod } from './binding.js';

/** How the bytes of calls are made, and what their results are. */
export interface Signature {
  /** The method's name. */
  readonly name: string;
  /** The type of what is written; `null` for bytes or nothing. */
  readonly argument: ArchiveCodec<unknown> | null;
  /** The names of the arguments, if they are the fields of that type; `null` if it has one. */
  readonly fields: readonly string[] | null;
  /** The type of what is read; `null` for bytes or nothing. */
  readonly result: ArchiveCodec<unknown> | null;
  /** Whether the result is the one field of that type. */
  readonly isWrapped: boolean;
  /** The arguments as bytes of their own. */
  encode(values: readonly unknown[]): Uint8Array;
  /** The arguments in `target` from `offset` on; how many bytes they take. */
  encodeInto(values: readonly unknown[], target: Uint8Array, offset: number): number;
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
  const { name } = method;
  const [argument, result] = [codecOf(method.inHash), codecOf(method.outHash)];
  const isList = argument !== null && isNamedAfter(name, 'Arguments', argument.name);
  const fields = isList ? fieldsOf(argument) : null;
  const pack = argument === null ? null : packer(name, fields);
  const isWrapped = result !== null && isNamedAfter(name, 'Result', result.name);
  return {
    name,
    argument,
    fields,
    result,
    isWrapped,
    encode: (values) => {
      return argument === null || pack === null
        ? bytesOf(method.name, values)
        : argument.encode(pack(values));
    },
    encodeInto(values, target, offset) {
      if (argument !== null && pack !== null) {
        return argument.encodeInto(pack(values), target, offset);
      }
      const bytes = bytesOf(method.name, values);
      if (bytes.length === 0) return 0;
      const room = target.length - offset;
      if (bytes.length > room) throw new BufferTooSmallError(bytes.length, room);
      target.set(bytes, offset);
      return bytes.length;
    },
    decode: decoder(result, isWrapped),
  };
}

type Pack = (values: readonly unknown[]) => unknown;

/** From the arguments of a function to the value that its plugin expects. */
function packer(method: string, names: readonly string[] | null): Pack {
  if (names === null) {
    return (values) => {
      checkCount(method, values.length, 1);
      return values[0];
    };
  }
  if (canGenerate()) {
    const members = names.map((name, index) => `[${JSON.stringify(name)}]: values[${index}]`);
    const pack = runCode(`return (values) => ({ ${members.join(', ')} });`) as Pack;
    return (values) => {
      checkCount(method, values.length, names.length);
      return pack(values);
    };
  }
  return (values) => {
    checkCount(method, values.length, names.length);
    const fields: Record<string, unknown> = {};
    for (let i = 0; i < names.length; i++) fields[names[i] as string] = values[i];
    return fields;
  };
}

function decoder(
  codec: ArchiveCodec<unknown> | null,
  isWrapped: boolean,
): (bytes: Uint8Array) => unknown {
  if (codec === null) return (bytes) => (bytes.length === 0 ? NOTHING : Buffer.from(bytes));
  const { decode } = codec;
  if (!isWrapped) return decode;
  return (bytes) => (decode(bytes) as readonly unknown[])[0];
}

/** Bytes of no result. */
export const NOTHING: Buffer = Buffer.alloc(0);

/** What a method is given that takes bytes or nothing. */
export function bytesOf(method: string, values: readonly unknown[]): Uint8Array {
  if (values.length === 0) return NOTHING;
  checkCount(method, values.length, 1);
  const [bytes] = values;
  if (bytes instanceof Uint8Array) return bytes;
  throw invalidArgument(`${method}() was called with ${show(bytes)}; it takes bytes or nothing`);
}

/** Throws unless a method was called with as many arguments as it takes. */
export function checkCount(method: string, given: number, count: number): void {
  if (given === count) return;
  const message = `${method}() was called with ${given} arguments`;
  throw invalidArgument(`${message}; it takes ${count}`);
}

/** `add_all` and `Arguments` make the type `AddAllArguments`, in whatever module. */
export function isNamedAfter(method: string, what: string, type: string): boolean {
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
