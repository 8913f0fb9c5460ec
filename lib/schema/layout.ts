/**
 * Sizes, alignments and offsets of archives by rkyv 0.8's rules: kinds go in, numbers come out.
 * What a descriptor claims is not looked at; sizes of user types come from whoever calls.
 */

import type {
  FieldDescriptor,
  Inside,
  KindDescriptor,
  PlaceDescriptor,
  ScalarName,
  TypeDescriptor,
  VariantDescriptor,
} from './descriptor.js';
import { join, schemaInvalid } from './problems.js';

/** Size and alignment. */
export interface Layout {
  readonly size: number;
  readonly align: number;
}

/** Answers with the layout of a user type. */
export type Lookup = (name: string) => Layout;

/** The largest archive that a 32-bit relative pointer reaches across. */
export const ARCHIVE_BYTES_MAX: number = 2 ** 31 - 1;

/** Size of every scalar, which is its alignment, too. */
export const SCALAR_BYTES: Readonly<Record<ScalarName, number>> = {
  bool: 1,
  u8: 1,
  u16: 2,
  u32: 4,
  u64: 8,
  u128: 16,
  i8: 1,
  i16: 2,
  i32: 4,
  i64: 8,
  i128: 16,
  f32: 4,
  f64: 8,
  char: 4,
};

/** Whether a kind is a scalar. */
export function isScalar(kind: string): kind is ScalarName {
  return Object.hasOwn(SCALAR_BYTES, kind);
}

/** The next multiple of `align`, a power of two. */
export function alignUp(offset: number, align: number): number {
  return Math.ceil(offset / align) * align;
}

/** The type with every size, alignment and offset recomputed. */
export function layOut(name: string, type: TypeDescriptor, lookup: Lookup): TypeDescriptor {
  const run = new Run(lookup);
  if (type.kind === 'struct') {
    const { fields, ...layout } = run.fields(name, type.fields, { size: 0, align: 1 });
    return { ...type, ...layout, fields };
  }
  let union = { size: 1, align: 1 };
  const variants: VariantDescriptor[] = [];
  for (const variant of type.variants) {
    const path = join(name, variant.name);
    const { fields, ...layout } = run.fields(path, variant.fields, { size: 1, align: 1 });
    variants.push({ ...variant, fields });
    union = {
      size: Math.max(union.size, layout.size),
      align: Math.max(union.align, layout.align),
    };
  }
  const size = bounded(name, alignUp(union.size, union.align));
  return { ...type, size, align: union.align, variants };
}

/** A layout, and the parts as they were laid out. */
interface Measured extends Layout {
  readonly elem?: PlaceDescriptor;
  readonly elems?: readonly Inside<PlaceDescriptor>[];
  readonly key?: PlaceDescriptor;
  readonly value?: PlaceDescriptor;
}

class Run {
  readonly #lookup: Lookup;

  constructor(lookup: Lookup) {
    this.#lookup = lookup;
  }

  /** Lays out fields as C does, behind what is already there. */
  fields(
    path: string,
    fields: readonly FieldDescriptor[],
    start: Layout,
  ): Layout & { fields: FieldDescriptor[] } {
    let { size, align } = start;
    const done = fields.map((field) => {
      const at = join(path, field.name);
      const place = this.place(at, field);
      const offset = alignUp(size, place.align);
      size = bounded(at, offset + place.size);
      align = Math.max(align, place.align);
      return { ...field, ...place, offset } as FieldDescriptor;
    });
    return { size: bounded(path, alignUp(size, align)), align, fields: done };
  }

  place<K extends KindDescriptor>(path: string, kind: K): PlaceDescriptor {
    const copy = { ...kind } as KindDescriptor & Partial<PlaceDescriptor>;
    return { ...copy, ...this.#measure(path, kind) } as PlaceDescriptor;
  }

  #measure(path: string, place: KindDescriptor): Measured {
    if (isScalar(place.kind)) {
      return { size: SCALAR_BYTES[place.kind], align: SCALAR_BYTES[place.kind] };
    }
    switch (place.kind) {
      case 'unit':
        return { size: 0, align: 1 };
      case 'string':
      case 'boxstr':
        return { size: 8, align: 4 };
      case 'vec':
      case 'boxslice':
        return { size: 8, align: 4, elem: this.place(`${path}[]`, place.elem) };
      case 'box':
        return { size: 4, align: 4, elem: this.place(path, place.elem) };
      case 'option': {
        const elem = this.place(`${path}[]`, place.elem);
        const size = bounded(path, alignUp(1, elem.align) + elem.size);
        const { align } = elem;
        return { size: alignUp(size, align), align, elem: placeAt(elem, align) };
      }
      case 'array': {
        const elem = this.place(`${path}[]`, place.elem);
        return { size: bounded(path, elem.size * place.length), align: elem.align, elem };
      }
      case 'tuple':
        return this.#tuple(path, place.elems);
      case 'hashmap':
      case 'btreemap': {
        const key = this.place(join(path, 'key'), place.key);
        const value = this.place(join(path, 'value'), place.value);
        return { size: place.kind === 'hashmap' ? 12 : 8, align: 4, key, value };
      }
      case 'type': {
        const { size, align } = this.#lookup(place.type);
        return { size, align };
      }
      default:
        throw schemaInvalid(path, `the kind ${JSON.stringify(place.kind)} is unknown`);
    }
  }

  #tuple(path: string, elems: readonly Inside<PlaceDescriptor>[]): Measured {
    let [size, align] = [0, 1];
    const done = elems.map((elem, index) => {
      const place = this.place(join(path, String(index)), elem);
      const offset = alignUp(size, place.align);
      size = bounded(path, offset + place.size);
      align = Math.max(align, place.align);
      return placeAt(place, offset);
    });
    return { size: alignUp(size, align), align, elems: done };
  }
}

function placeAt(place: PlaceDescriptor, offset: number): Inside<PlaceDescriptor> {
  return { ...place, offset } as Inside<PlaceDescriptor>;
}

function bounded(path: string, size: number): number {
  if (size <= ARCHIVE_BYTES_MAX) return size;
  throw schemaInvalid(path, 'takes more than 2 GiB, which no archive can hold');
}
