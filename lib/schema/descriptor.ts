/**
 * Descriptors: what a type is made of and where in an archive each part lies, as plain JSON.
 *
 * They are made by the derive of the Rust side, or written by hand with {@link describe}, which
 * computes sizes, offsets, texts and hashes. One that comes from elsewhere is checked before use:
 * everything in it that can be computed is computed again and compared.
 */

/** A kind without parts. */
export type Scalar =
  | 'bool'
  | 'u8'
  | 'u16'
  | 'u32'
  | 'u64'
  | 'u128'
  | 'i8'
  | 'i16'
  | 'i32'
  | 'i64'
  | 'i128'
  | 'f32'
  | 'f64'
  | 'char';

/** A type where it stands in another: its kind, and what it takes in the archive. */
export interface Place {
  readonly kind:
    | Scalar
    | 'unit'
    | 'string'
    | 'boxstr'
    | 'vec'
    | 'boxslice'
    | 'box'
    | 'option'
    | 'array'
    | 'tuple'
    | 'hashmap'
    | 'btreemap'
    | 'type';
  readonly size?: number;
  readonly align?: number;
  /** Bytes from the start of what it is in. */
  readonly offset?: number;
  /** Of vec, boxslice, box, option and array. */
  readonly elem?: Place;
  /** Of array. */
  readonly length?: number;
  /** Of tuple. */
  readonly elems?: readonly Place[];
  /** Of maps. */
  readonly key?: Place;
  readonly value?: Place;
  /** Name of a user type. */
  readonly type?: string;
  /** Whether the type contains itself here. */
  readonly recursive?: boolean;
  /** How a 64-bit integer appears: `bigint` unless it says `number`. */
  readonly ts?: 'number' | 'bigint';
}

/** A field of a struct or variant. Those of tuples are called `0`, `1`, … */
export interface Field extends Place {
  readonly name: string;
}

/** How the fields of a struct or variant are named. */
export type Shape = 'named' | 'tuple' | 'unit';

/** A variant of an enum. */
export interface Variant {
  readonly name: string;
  readonly tag: number;
  readonly shape: Shape;
  readonly fields: readonly Field[];
}

interface Common {
  readonly size?: number;
  readonly align?: number;
  /** Schema hash, as 16 hexadecimal digits. */
  readonly hash?: string;
  /** Canonical text. */
  readonly text?: string;
}

/** A struct. */
export interface StructType extends Common {
  readonly kind: 'struct';
  readonly shape: Shape;
  readonly fields: readonly Field[];
}

/** An enum: a tag, and the fields of one variant. */
export interface EnumType extends Common {
  readonly kind: 'enum';
  /** What a variant is told by. */
  readonly tag?: 'u8';
  readonly variants: readonly Variant[];
}

/** A user type. */
export type UserType = StructType | EnumType;

/** A type and all that it mentions. */
export interface Descriptor {
  readonly abi: 1;
  readonly format: 'rkyv0.8/le/aligned/p32';
  /** Name of the outermost type. */
  readonly root: string;
  readonly types: Readonly<Record<string, UserType>>;
}
