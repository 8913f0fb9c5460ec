/**
 * Codecs: a descriptor becomes functions that write and read archives of its root type. Where the
 * process allows it, by generating code; otherwise by closures, with the same results.
 */

import { invalidArgument, show } from '../errors.js';
import { checkNames } from '../internal/checks.js';
import type { Codec, Decoder } from '../typed.js';
import { checkDescriptor, subDescriptor, typeOf } from './check.js';
import { compareDescriptors, type Comparison } from './compare.js';
import { checkDefaults } from './defaults.js';
import type { Descriptor, DescriptorSource, Int64Mode } from './descriptor.js';
import { planOf, type FormOptions, type Plan } from './forms.js';
import { canGenerate, generateMachine, generateReader } from './generate.js';
import { Interpreter, type Ops } from './interpret.js';
import { SchemaError } from './problems.js';
import { enterArchive, region, unreadable } from './region.js';
import { resolvedPlan } from './resolution.js';
import type { WriteRoot } from './sink.js';
import { validator } from './validate.js';
import type { Movable, RootView } from './views.js';
import { sizeOf, writeInto, writeNew } from './writing.js';

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

/** Reads archives of one version of a type as values T. */
export interface ArchiveReader<T, V = RootView<T>> extends Decoder<T, V> {
  /** Hash of the version that it reads. */
  readonly hash: bigint;
  /** Canonical text, which the hash is of. */
  readonly schemaText: string;
  /** The version that it reads, checked and complete. */
  readonly layout: Descriptor;
  /** Whether it is generated code. */
  readonly isGenerated: boolean;
  /**
   * The value of an archive, copied out of it. Bytes that are no archive give some value of the
   * type or an error, never anything from outside of them; {@link validate} tells which.
   */
  decode(bytes: Uint8Array): T;
  /**
   * A cursor that reads the archive in `bytes`, or in `size` of its bytes from `offset` on, in
   * place. Move it to the next archive with `$move` instead of making another. The bytes must stay:
   * what a cursor reads after their buffer was transferred is a `TypeError`.
   */
  view(bytes: Uint8Array, offset?: number, size?: number): V;
  /** Throws unless the bytes are an archive of the type: what Rust's `rkyv::access` accepts. */
  validate(bytes: Uint8Array): void;
}

/** A codec whose bytes are the archive that rkyv 0.8 makes of the same value in Rust. */
export interface ArchiveCodec<T, V = RootView<T>> extends Codec<T, V>, ArchiveReader<T, V> {
  readonly hash: bigint;
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
  decode(bytes: Uint8Array): T;
  view(bytes: Uint8Array, offset?: number, size?: number): V;
  /** Whether this version can read what another one, or its codec, wrote, and how they differ. */
  compare(writer: DescriptorSource | { readonly descriptor: string }): Comparison;
  /**
   * Reads what another version of the type wrote, in place as its own: fields are found by name,
   * aliases and defaults stand in for what is missing, numbers widen.
   *
   * @throws SchemaError `ERR_SCHEMA_MISMATCH` if the versions are incompatible, with the reasons
   */
  resolve(writer: DescriptorSource | { readonly descriptor: string }): ArchiveReader<T, V>;
}

/** What reads archives: generated or interpreted. */
export interface ReadingMachine<T, V = RootView<T>> {
  readonly decode: (bytes: Uint8Array) => T;
  readonly makeView: () => Movable<V>;
}

/** What reads and writes archives. */
export interface Machine<T, V = RootView<T>> extends ReadingMachine<T, V> {
  readonly encode: (value: T) => Buffer;
  readonly encodeInto: (value: T, target: Uint8Array, offset?: number) => number;
  readonly encodedSize: (value: T) => number;
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
  descriptor: DescriptorSource,
  options: CompileOptions = {},
): ArchiveCodec<T> {
  const layout = checkRoot(descriptor);
  const choices = choicesOf(options);
  checkDefaults(layout, choices);
  const plan = planOf(layout, choices);
  const machine = choices.generates
    ? generateMachine<T, RootView<T>>(plan)
    : interpretedMachine<T, RootView<T>>(plan);
  return codecOf(layout, machine, choices);
}

/** The codec of a type whose machine is in a generated file. */
export function defineCodec<T, V>(
  descriptor: string,
  root: string,
  machine: Machine<T, V>,
  { u64, intern }: FormOptions,
): ArchiveCodec<T, V> {
  const layout = subDescriptor(checkDescriptor(descriptor), root);
  return codecOf(layout, machine, { u64, intern, generates: canGenerate() });
}

/** The plan of the types of a generated file, made when it is needed: for the place of an error. */
export function planLater(descriptor: string, options: FormOptions): () => Plan {
  let plan: Plan | undefined;
  return () => (plan ??= planOf(checkDescriptor(descriptor), options));
}

/** What a codec's user chose, or did not. */
export interface Choices extends FormOptions {
  /** Whether code is generated. */
  readonly generates: boolean;
}

function choicesOf(options: CompileOptions): Choices {
  checkNames(options, ['u64', 'intern', 'mode']);
  const { u64, intern, mode } = options;
  if (u64 !== undefined && u64 !== 'number' && u64 !== 'bigint') {
    throw invalidArgument(`u64 is ${show(u64)}; it must be 'number' or 'bigint'`);
  }
  return { u64: u64 ?? 'bigint', intern: intern ?? false, generates: generates(mode ?? 'auto') };
}

/** The descriptor, checked, of its root type and what that mentions. */
export function checkRoot(descriptor: unknown): Descriptor {
  const all = checkDescriptor(descriptor);
  return subDescriptor(all, all.root);
}

/** As {@link checkRoot}, also of a codec. */
function checkWriter(writer: unknown): Descriptor {
  const { descriptor = writer } = (writer ?? {}) as { readonly descriptor?: unknown };
  return checkRoot(descriptor);
}

/** Whether code is to be generated. */
function generates(mode: string): boolean {
  if (mode === 'generated' || mode === 'interpreted') return mode === 'generated';
  if (mode === 'auto') return canGenerate();
  const choices = "'auto', 'generated', 'interpreted'";
  throw invalidArgument(`mode is ${show(mode)}; it must be one of ${choices}`);
}

/** A codec around a machine that reads and writes archives of `layout`. */
export function codecOf<T, V>(
  layout: Descriptor,
  machine: Machine<T, V>,
  choices: Choices,
): ArchiveCodec<T, V> {
  const readers = new Map<string, ArchiveReader<T, V>>();
  return Object.freeze({
    name: layout.root,
    descriptor: JSON.stringify(layout),
    ...readerOf(layout, machine, choices),
    encode: machine.encode,
    encodeInto: machine.encodeInto,
    encodedSize: machine.encodedSize,
    compare: (writer: unknown) => compareDescriptors(checkWriter(writer), layout),
    resolve(writer: unknown) {
      const theirs = checkWriter(writer);
      // By everything they say: hashes of other versions may be made to collide.
      const key = JSON.stringify(theirs);
      const reader = readers.get(key) ?? resolved<T, V>(theirs, layout, choices);
      if (readers.size < READERS_MAX) readers.set(key, reader);
      return reader;
    },
  });
}

/** Other versions that a codec keeps the readers of. */
const READERS_MAX = 64;

/** What reads archives of `theirs` as values of `ours`. */
function resolved<T, V>(
  theirs: Descriptor,
  ours: Descriptor,
  choices: Choices,
): ArchiveReader<T, V> {
  const { kind, reasons } = compareDescriptors(theirs, ours);
  if (kind === 'incompatible') {
    const message = `the versions of ${ours.root} are incompatible: ${reasons.join('; ')}`;
    throw new SchemaError('ERR_SCHEMA_MISMATCH', reasons[0]?.split(': ')[0] ?? '', message);
  }
  const plan = resolvedPlan(theirs, ours, choices);
  const machine = choices.generates ? generateReader<T, V>(plan) : interpretedReader<T, V>(plan);
  return Object.freeze(readerOf(theirs, machine, choices));
}

function readerOf<T, V>(
  layout: Descriptor,
  { decode, makeView }: ReadingMachine<T, V>,
  choices: Choices,
): ArchiveReader<T, V> {
  const { hash, text } = typeOf(layout, layout.root);
  let validate: ((bytes: Uint8Array) => void) | undefined;
  return {
    hash: BigInt(`0x${hash}`),
    schemaText: text,
    layout,
    isGenerated: choices.generates,
    decode,
    view: (bytes: Uint8Array, offset?: number, size?: number) =>
      makeView().$move(bytes, offset, size),
    validate(bytes: Uint8Array) {
      validate ??= validator(planOf(layout, choices));
      validate(bytes);
    },
  };
}

/** A machine without generated code. */
function interpretedMachine<T, V>(plan: Plan): Machine<T, V> {
  const { ops, makeView } = new Interpreter(plan).root();
  const { size, align, slots } = ops;
  const name = rootName(plan);
  const root = { name: plan.root, plan: () => plan };
  const write: WriteRoot<T> = (s, value) => {
    s.reserve(slots);
    ops.out(s, value as never);
    const p = s.take(size, align);
    s.ri = 0;
    ops.fix(s, s.d, value as never, p);
    s.done();
  };
  return {
    ...reading<T, V>(name, ops, makeView),
    encode: (value) => writeNew(root, write, value),
    encodeInto: (value, target, offset = 0) => writeInto(root, write, value, target, offset),
    encodedSize: (value) => sizeOf(root, write, value),
  };
}

function interpretedReader<T, V>(plan: Plan): ReadingMachine<T, V> {
  const { ops, makeView } = new Interpreter(plan).root();
  return reading<T, V>(rootName(plan), ops, makeView);
}

function reading<T, V>(name: string, ops: Ops, makeView: () => unknown): ReadingMachine<T, V> {
  return {
    decode(bytes) {
      const p = enterArchive(name, bytes, ops.size);
      try {
        return ops.read(region.d, region.b, p) as T;
      } catch (error) {
        throw unreadable(name, error);
      }
    },
    makeView: makeView as () => Movable<V>,
  };
}

function rootName(plan: Plan): string {
  return plan.types.get(plan.root)?.name ?? plan.root;
}
