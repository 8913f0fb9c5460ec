/**
 * Sizes, alignments and offsets of archives, by the rules of rkyv 0.8 (docs/formats/archive.md);
 * canonical texts and their hashes. A descriptor goes in, the same with everything computed comes
 * out; where it said something else before, it is refused.
 */

import { BusbarError } from '../errors.js';
import type { Descriptor, Field, Place, Scalar, Shape, UserType, Variant } from './descriptor.js';
import { xxh64 } from './xxh64.js';

/** A place with everything computed. */
export interface Laid extends Place {
  readonly size: number;
  readonly align: number;
  readonly offset: number;
  readonly elem?: Laid;
  readonly elems?: readonly Laid[];
}

export interface LaidField extends Laid {
  readonly name: string;
}

export interface LaidVariant extends Variant {
  readonly fields: readonly LaidField[];
}

/** A user type with everything computed. */
export type LaidType = LaidStruct | LaidEnum;

interface LaidCommon {
  readonly name: string;
  readonly size: number;
  readonly align: number;
  readonly hash: string;
  readonly text: string;
}

export interface LaidStruct extends LaidCommon {
  readonly kind: 'struct';
  readonly shape: Shape;
  readonly fields: readonly LaidField[];
}

export interface LaidEnum extends LaidCommon {
  readonly kind: 'enum';
  readonly tag: 'u8';
  readonly variants: readonly LaidVariant[];
}

/** All types of a descriptor, computed and checked. */
export function layOut(descriptor: Descriptor): ReadonlyMap<string, LaidType> {
  const { abi, format, root, types } = descriptor;
  if (abi !== 1) throw wrong('abi', `is ${String(abi)}, not 1`);
  if (format !== FORMAT) throw wrong('format', `is ${String(format)}, not ${FORMAT}`);
  const layer = new Layer(types ?? {});
  layer.type(root, root);
  layer.settle();
  return layer.done;
}

class Layer {
  readonly done = new Map<string, LaidType>();
  private readonly open = new Set<string>();
  private readonly types: Readonly<Record<string, UserType>>;

  constructor(types: Readonly<Record<string, UserType>>) {
    this.types = types;
  }

  /** Lays out a user type that stands at `path`. */
  type(name: string, path: string): LaidType {
    const known = this.done.get(name);
    if (known !== undefined) return known;
    const type = Object.hasOwn(this.types, name) ? this.types[name] : undefined;
    if (type === undefined) throw wrong(path, `is of type ${name}, which is not described`);
    if (!NAME.test(name)) throw wrong(path, `is of type ${name}, which is no name`);
    if (this.open.has(name)) throw wrong(path, `contains ${name} in itself; say recursive`);
    this.open.add(name);
    const laid = type.kind === 'struct' ? this.struct(name, type) : this.enum(name, type, path);
    this.open.delete(name);
    agree(name, type, laid, ['tag', 'size', 'align', 'text', 'hash']);
    this.done.set(name, laid);
    this.recursive(type);
    return laid;
  }

  private struct(name: string, type: UserType & { kind: 'struct' }): LaidType {
    const { fields, size, align } = this.fields(type.fields, 0, 1, name);
    const { shape } = type;
    const text = this.text(`struct ${name}(${size},${align})${this.spellFields(shape, fields)}`);
    return { name, kind: 'struct', shape, fields, size, align, text, hash: hash(text) };
  }

  private enum(name: string, type: UserType & { kind: 'enum' }, path: string): LaidType {
    if (type.kind !== 'enum') throw wrong(path, 'is neither struct nor enum');
    let [size, align] = [1, 1];
    const tags = new Set<number>();
    const variants = type.variants.map((variant) => {
      const { tag } = variant;
      const isFree = Number.isInteger(tag) && tag >= 0 && tag < 256 && !tags.has(tag);
      if (!isFree) throw wrong(`${name}.${variant.name}`, `has tag ${tag}, which it cannot have`);
      tags.add(tag);
      const laid = this.fields(variant.fields, 1, 1, `${name}.${variant.name}`);
      [size, align] = [Math.max(size, laid.size), Math.max(align, laid.align)];
      return { ...variant, fields: laid.fields };
    });
    size = alignUp(size, align);
    const parts = variants.map((variant) => {
      return `${variant.name}=${variant.tag}${this.spellFields(variant.shape, variant.fields)}`;
    });
    const text = this.text(`enum ${name}(${size},${align}){${parts.join(';')}}`);
    return { name, kind: 'enum', tag: 'u8', variants, size, align, text, hash: hash(text) };
  }

  /** Says of types that stand in themselves what they take, which is known only now. */
  settle(): void {
    for (const type of this.done.values()) {
      eachMention(type, (place) => {
        if (place.recursive !== true) return;
        const { size, align } = this.done.get(place.type as string) as LaidType;
        Object.assign(place, { size, align });
      });
    }
  }

  /** Types that are mentioned by name only are needed as well, but not for the layout. */
  private recursive(type: UserType): void {
    eachMention(type, (place) => {
      if (place.recursive === true) this.type(place.type as string, place.type as string);
    });
  }

  /** Fields behind `size` bytes, as C lays them out. */
  private fields(
    fields: readonly Field[],
    size: number,
    align: number,
    path: string,
  ): { fields: LaidField[]; size: number; align: number } {
    const names = new Set<string>();
    const laid = fields.map((field) => {
      const at = `${path}.${field.name}`;
      if (names.has(field.name)) throw wrong(at, 'is there twice');
      names.add(field.name);
      const place = this.place(field, at);
      const offset = alignUp(size, place.align);
      [size, align] = [offset + place.size, Math.max(align, place.align)];
      agree(at, field, { offset }, ['offset']);
      return { ...place, name: field.name, offset };
    });
    return { fields: laid, size: alignUp(size, align), align };
  }

  private place(place: Place, path: string): Laid {
    const laid = { ...place, ...this.measure(place, path), offset: 0 } as Laid;
    // What a type takes that contains itself is known only when it is done.
    if (place.recursive !== true) agree(path, place, laid, ['size', 'align']);
    return laid;
  }

  private measure(place: Place, path: string): Omit<Laid, 'kind' | 'offset'> {
    const size = SCALARS[place.kind as Scalar] as number | undefined;
    if (size !== undefined) return { size, align: size };
    const elem = place.elem === undefined ? undefined : this.place(place.elem, `${path}[]`);
    if (NEEDS_ELEM.has(place.kind) && elem === undefined) throw wrong(path, 'has no elem');
    switch (place.kind) {
      case 'unit':
        return { size: 0, align: 1 };
      case 'string':
      case 'boxstr':
        return { size: 8, align: 4 };
      case 'vec':
      case 'boxslice':
        return { size: 8, align: 4, elem: elem as Laid };
      case 'box':
        return { size: 4, align: 4, elem: elem as Laid };
      case 'option':
        return optional(elem as Laid, place, path);
      case 'array':
        return array(elem as Laid, place, path);
      case 'tuple':
        return this.tuple(place, path);
      case 'type': {
        const name = place.type as string;
        // Behind a pointer, so that what is in it does not matter for what is around it.
        if (place.recursive === true && this.open.has(name)) return { size: 0, align: 1 };
        const type = this.type(name, path);
        return { size: type.size, align: type.align };
      }
      default:
        throw unsupported(path, place.kind);
    }
  }

  private tuple(place: Place, path: string): Omit<Laid, 'kind' | 'offset'> {
    const named = (place.elems ?? []).map((elem, i) => ({ ...elem, name: `${i}` }));
    const { fields, size, align } = this.fields(named, 0, 1, path);
    return { size, align, elems: fields };
  }

  private text(body: string): string {
    return `abi1;${FORMAT};${body}`;
  }

  private spellFields(shape: Shape, fields: readonly LaidField[]): string {
    if (shape === 'unit') return '';
    if (shape === 'tuple') return `(${fields.map((field) => this.spell(field)).join(';')})`;
    return `{${fields.map((field) => `${field.name}:${this.spell(field)}`).join(';')}}`;
  }

  private spell(place: Place): string {
    const elem = (): string => this.spell(place.elem as Place);
    switch (place.kind) {
      case 'unit':
        return '()';
      case 'string':
        return 'str';
      case 'vec':
      case 'boxslice':
      case 'box':
        return `${place.kind}<${elem()}>`;
      case 'option':
        return `opt<${elem()}>`;
      case 'array':
        return `[${elem()};${place.length}]`;
      case 'tuple':
        return `(${(place.elems ?? []).map((each) => this.spell(each)).join(',')})`;
      case 'type': {
        const name = place.type as string;
        return place.recursive === true ? `@${name}` : `${name}#${this.type(name, name).hash}`;
      }
      default:
        return place.kind;
    }
  }
}

/** Calls `visit` for every place of a user type within another. */
function eachMention(type: UserType, visit: (place: Place) => void): void {
  const walk = (place: Place): void => {
    if (place.kind === 'type') visit(place);
    for (const part of [place.elem, place.key, place.value, ...(place.elems ?? [])]) {
      if (part !== undefined) walk(part);
    }
  };
  const groups = type.kind === 'struct' ? [type.fields] : type.variants.map((v) => v.fields);
  for (const field of groups.flat()) walk(field);
}

function optional(elem: Laid, place: Place, path: string): Omit<Laid, 'kind' | 'offset'> {
  const offset = alignUp(1, elem.align);
  agree(`${path}[]`, place.elem as Place, { offset }, ['offset']);
  const size = alignUp(offset + elem.size, elem.align);
  return { size, align: elem.align, elem: { ...elem, offset } };
}

function array(elem: Laid, { length }: Place, path: string): Omit<Laid, 'kind' | 'offset'> {
  if (!Number.isInteger(length) || (length as number) < 0) throw wrong(path, 'has no length');
  return { size: elem.size * (length as number), align: elem.align, elem };
}

/** Refuses a descriptor that says something else than what was computed. */
function agree(path: string, said: object, computed: object, names: readonly string[]): void {
  for (const name of names) {
    const [theirs, ours] = [Reflect.get(said, name), Reflect.get(computed, name)] as unknown[];
    if (theirs === undefined || theirs === ours) continue;
    throw wrong(path, `has ${name} ${String(theirs)} and not ${String(ours)}`);
  }
}

function alignUp(size: number, align: number): number {
  const end = Math.ceil(size / align) * align;
  if (end <= SIZE_MAX) return end;
  throw new BusbarError('ERR_SCHEMA_INVALID', 'a type takes more than 2 GiB');
}

function hash(text: string): string {
  return xxh64(text).toString(16).padStart(16, '0');
}

function wrong(path: string, what: string): BusbarError {
  return new BusbarError('ERR_SCHEMA_INVALID', `the descriptor is wrong: ${path} ${what}`);
}

function unsupported(path: string, kind: string): BusbarError {
  return new BusbarError('ERR_NOT_SUPPORTED', `${path} is a ${kind}, which cannot be read yet`);
}

const FORMAT = 'rkyv0.8/le/aligned/p32';
const NAME = /^[\p{ID_Start}_][\p{ID_Continue}]*(\.[\p{ID_Start}_][\p{ID_Continue}]*)*$/u;
const SIZE_MAX = 2 ** 31 - 1;

/** Size, and alignment, of each scalar. */
const SCALARS: Readonly<Record<Scalar, number>> = {
  bool: 1,
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  char: 4,
  u64: 8,
  i64: 8,
  f64: 8,
  u128: 16,
  i128: 16,
};

const NEEDS_ELEM: ReadonlySet<string> = new Set(['vec', 'boxslice', 'box', 'option', 'array']);
