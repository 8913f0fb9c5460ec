/**
 * The descriptor of a type: names, kinds and layout of everything in its archive, as the Rust side
 * prints it in JSON and as tools exchange it. Only the shapes; `parse.ts` reads and checks them.
 */

/** The version of descriptors and canonical texts. */
export const ABI = 1;

/** The archive format that every descriptor and canonical text names. */
export const FORMAT = 'rkyv0.8/le/aligned/p32';

/** A root type with every type that it mentions. */
export interface Descriptor {
  /** Version of descriptors: 1. */
  readonly abi: number;
  /** Archive format: `rkyv0.8/le/aligned/p32`. */
  readonly format: string;
  /** Name of the outermost type. */
  readonly root: string;
  /** All types by their full name. */
  readonly types: Readonly<Record<string, TypeDescriptor>>;
}

/**
 * A descriptor written by hand: what follows from the rest (sizes, offsets, tags in a row, texts,
 * hashes) may be left out, and is checked where it is not.
 */
export type DescriptorDraft = Draft<Descriptor>;

/** A descriptor: checked, written by hand, or as JSON text, such as Rust prints. */
export type DescriptorSource = Descriptor | DescriptorDraft | string;

type Derived = 'size' | 'align' | 'offset' | 'tag' | 'text' | 'hash' | 'shape';

/** A part of a descriptor written by hand. */
export type Draft<T> = T extends readonly (infer E)[]
  ? readonly Draft<E>[]
  : T extends object
    ? { [K in keyof T as K extends Derived ? never : K]: Draft<T[K]> } & {
        [K in keyof T as K extends Derived ? K : never]?: T[K];
      }
    : T;

/** A struct or an enum. */
export type TypeDescriptor = StructDescriptor | EnumDescriptor;

/** What structs and enums have in common. */
export interface NamedDescriptor {
  /** Bytes of the archived form. */
  readonly size: number;
  /** Alignment of the archived form. */
  readonly align: number;
  /** Schema hash: XXH64 of `text`, 16 hexadecimal digits. */
  readonly hash: string;
  /** Canonical text. */
  readonly text: string;
  /** Former names. */
  readonly aliases?: readonly string[];
}

/** A struct. */
export interface StructDescriptor extends NamedDescriptor {
  /** Says that it is a struct. */
  readonly kind: 'struct';
  /** How it is declared. */
  readonly shape: Shape;
  /** Its fields in declaration order. */
  readonly fields: readonly FieldDescriptor[];
}

/** An enum, whose archive begins with a tag of one byte. */
export interface EnumDescriptor extends NamedDescriptor {
  /** Says that it is an enum. */
  readonly kind: 'enum';
  /** Type of the tag. */
  readonly tag: 'u8';
  /** Its variants in declaration order. */
  readonly variants: readonly VariantDescriptor[];
  /** The unit variant that an unknown tag reads as. */
  readonly defaultVariant?: string;
}

/** How a struct or variant is declared: `{ a: A }`, `(A, B)`, or nothing. */
export type Shape = 'named' | 'tuple' | 'unit';

/** A variant of an enum. */
export interface VariantDescriptor {
  /** Its name. */
  readonly name: string;
  /** The byte that stands for it. */
  readonly tag: number;
  /** How it is declared. */
  readonly shape: Shape;
  /** Its fields; offsets count from the start of the enum, tag included. */
  readonly fields: readonly FieldDescriptor[];
}

/** A field: what stands in it, and what readers should know about it. */
export type FieldDescriptor = Inside<PlaceDescriptor> & {
  /** Its name; `0`, `1`, … in tuples. */
  readonly name: string;
  /** What JavaScript makes of 64-bit integers in it. */
  readonly ts?: Int64Mode;
  /** Whether equal short strings are shared. */
  readonly intern?: boolean;
  /** Former names. */
  readonly aliases?: readonly string[];
  /** What readers take when the writer's version has no such field. */
  readonly default?: unknown;
};

/** What JavaScript makes of a 64-bit integer: all of its values, or safe integers as numbers. */
export type Int64Mode = 'number' | 'bigint';

/** A place inside of something that has offsets. */
export type Inside<P> = P & {
  /** From the start of what contains it. */
  readonly offset: number;
};

/** A number, boolean or character. */
export type ScalarName =
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

/** What stands somewhere, with its size and alignment. */
export type PlaceDescriptor = {
  /** Bytes of the archived form. */
  readonly size: number;
  /** Alignment of the archived form. */
  readonly align: number;
} & KindDescriptor;

/** What a value is. */
export type KindDescriptor =
  | { readonly kind: ScalarName | 'unit' | 'string' | 'boxstr' }
  | { readonly kind: 'vec' | 'boxslice' | 'box'; readonly elem: PlaceDescriptor }
  | { readonly kind: 'option'; readonly elem: Inside<PlaceDescriptor> }
  | { readonly kind: 'array'; readonly elem: PlaceDescriptor; readonly length: number }
  | { readonly kind: 'tuple'; readonly elems: readonly Inside<PlaceDescriptor>[] }
  | {
      readonly kind: 'hashmap' | 'btreemap';
      readonly key: PlaceDescriptor;
      readonly value: PlaceDescriptor;
    }
  | { readonly kind: 'type'; readonly type: string; readonly recursive?: boolean };
