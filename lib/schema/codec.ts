/**
 * Codecs: a descriptor becomes functions that write and read archives of its root type. Where the
 * process allows it, by generating code; otherwise by closures, with the same results.
 */

import { invalidArgument, show } from '../errors.js';
import type { Codec } from '../typed.js';
import { checkDescriptor, subDescriptor, typeOf } from './check.js';
import type { Descriptor, DescriptorDraft, Int64Mode } from './descriptor.js';
import { planOf, type Plan } from './forms.js';
import { canGenerate, generateMachine } from './generate.js';
import { Interpreter } from './interpret.js';
import { enterArchive, region, unreadable } from './region.js';
import { validator } from './validate.js';
import type { RootCursor, RootView } from './views.js';
import { sizeOf, writeInto, writeNew, type WriteRoot } from './writing.js';

/** How JavaScript values of a type look, and how they are read and written. */
export interface CompileOptions {
  /**
   * 64-bit integers of fields that do not say themselves: `'bigint'` (the default) holds all of
   * them, `'number'` is many times faster and refuses what is no safe integer.
   */
  readonly u64?: Int64Mode;
  /** Shares equal strings of up to 8 bytes in fields that do not say themselves. `false`. */
  readonly intern?: boolean;
  /** `'generated'` code, `'interpreted'`, or `'auto'` (the default): generated where allowed. */
  readonly mode?: 'auto' | 'generated' | 'interpreted';
}

/** A codec whose bytes are the archive that rkyv 0.8 makes of the same value in Rust. */
export interface ArchiveCodec<T> extends Codec<T> {
  /** Canonical text, which the hash is of. */
  readonly schemaText: string;
  /** What the codec was made of, checked and complete. */
  readonly layout: Descriptor;
  /** Whether the codec is generated code. */
  readonly isGenerated: boolean;
  /** A new buffer with the archive of a value. */
  encode(value: T): Buffer;
  /**
   * Writes the archive of a value into `target` from `offset` (0) on; how many bytes it took.
   *
   * @throws BufferTooSmallError `ERR_BUFFER_TOO_SMALL`, which says how many bytes it takes
   */
  encodeInto(value: T, target: Uint8Array, offset?: number): number;
  /** How many bytes the archive of a value takes. */
  encodedSize(value: T): number;
  /**
   * The value of an archive, copied out of it. Bytes that are no archive give some value of the
   * type or an error, never anything from outside of them; {@link validate} tells which.
   */
  decode(bytes: Uint8Array): T;
  /**
   * A cursor that reads the archive in `bytes`, or in `size` of its bytes from `offset` on, in
   * place. Move it to the next archive with `$move` instead of making another.
   */
  view(bytes: Uint8Array, offset?: number, size?: number): RootView<T>;
  /** Throws unless the bytes are an archive of the type: what Rust's `rkyv::access` accepts. */
  validate(bytes: Uint8Array): void;
}

/** What reads and writes archives: generated or interpreted. */
export interface Machine<T> {
  readonly encode: (value: T) => Buffer;
  readonly encodeInto: (value: T, target: Uint8Array, offset?: number) => number;
  readonly encodedSize: (value: T) => number;
  readonly decode: (bytes: Uint8Array) => T;
  readonly makeView: () => RootCursor<T>;
}

/**
 * Makes the codec of a descriptor's root type: of the JSON that Rust prints of a type, as text or
 * parsed, or of one written by hand. Sizes, offsets, texts and hashes may be left out; those that
 * are there are checked.
 *
 * Values look as one would write them: structs are objects, tuples arrays, enums without data
 * strings, enums with data `{ kind, value }`, options `null` or the value (`{ some: value }` where
 * the value is an option itself), `u8` lists `Uint8Array`s, maps `Map`s, 64-bit integers bigints
 * (or numbers, by the option `u64` or for a field with `ts: 'number'`), 128-bit integers bigints.
 *
 * @throws BusbarError `ERR_SCHEMA_INVALID` for a descriptor that contradicts itself
 *
 * @example
 * ```ts
 * import { compile } from 'busbar';
 *
 * interface Position {
 *   id: number;
 *   at: number[];
 * }
 *
 * const position = compile<Position>({
 *   abi: 1,
 *   format: 'rkyv0.8/le/aligned/p32',
 *   root: 'game.Position',
 *   types: {
 *     'game.Position': {
 *       kind: 'struct',
 *       fields: [
 *         { name: 'id', kind: 'u32' },
 *         { name: 'at', kind: 'array', length: 2, elem: { kind: 'f32' } },
 *       ],
 *     },
 *   },
 * });
 * const bytes = position.encode({ id: 7, at: [1, 0.5] });
 * console.log(position.decode(bytes)); // { id: 7, at: [ 1, 0.5 ] }
 * console.log(position.view(bytes).at.at(1)); // 0.5, read in place
 * ```
 */
export function compile<T>(
  descriptor: DescriptorDraft | Descriptor | string,
  options: CompileOptions = {},
): ArchiveCodec<T> {
  const all = checkDescriptor(descriptor);
  const checked = subDescriptor(all, all.root);
  const plan = planOf(checked, { u64: options.u64 ?? 'bigint', intern: options.intern ?? false });
  const isGenerated = shouldGenerate(options.mode ?? 'auto');
  const machine = isGenerated ? generateMachine<T>(plan) : interpretedMachine<T>(plan);
  return codecOf(checked, machine, plan, isGenerated);
}

/** Whether code is to be generated. */
export function shouldGenerate(mode: string): boolean {
  if (mode === 'generated' || mode === 'interpreted') return mode === 'generated';
  if (mode === 'auto') return canGenerate();
  const choices = "'auto', 'generated', 'interpreted'";
  throw invalidArgument(`mode is ${show(mode)}; it must be one of ${choices}`);
}

/** A codec around a machine; `validated` is the plan of what archives look like. */
export function codecOf<T>(
  layout: Descriptor,
  machine: Machine<T>,
  validated: Plan,
  isGenerated: boolean,
): ArchiveCodec<T> {
  const { hash, text } = typeOf(layout, layout.root);
  let validate: ((bytes: Uint8Array) => void) | undefined;
  const { makeView } = machine;
  return Object.freeze({
    name: layout.root,
    hash: BigInt(`0x${hash}`),
    schemaText: text,
    descriptor: JSON.stringify(layout),
    layout,
    isGenerated,
    encode: machine.encode,
    encodeInto: machine.encodeInto,
    encodedSize: machine.encodedSize,
    decode: machine.decode,
    view: (bytes: Uint8Array, offset?: number, size?: number) =>
      makeView().$move(bytes, offset, size) as RootView<T>,
    validate(bytes: Uint8Array) {
      validate ??= validator(validated);
      validate(bytes);
    },
  });
}

/** A machine without generated code. */
export function interpretedMachine<T>(plan: Plan): Machine<T> {
  const { ops, makeView } = new Interpreter(plan).root();
  const { size, align, slots } = ops;
  const name = plan.types.get(plan.root)?.name ?? plan.root;
  const write: WriteRoot<T> = (s, value) => {
    s.reserve(slots);
    ops.out(s, value as never);
    const p = s.take(size, align);
    s.ri = 0;
    ops.fix(s, s.d, value as never, p);
  };
  return {
    encode: (value) => writeNew(name, write, value),
    encodeInto: (value, target, offset = 0) => writeInto(name, write, value, target, offset),
    encodedSize: (value) => sizeOf(name, write, value),
    decode(bytes) {
      const p = enterArchive(name, bytes, size);
      try {
        return ops.read(region.d, region.b, p) as T;
      } catch (error) {
        throw unreadable(name, error);
      }
    },
    makeView: makeView as () => RootCursor<T>,
  };
}
