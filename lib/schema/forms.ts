/**
 * Forms: what a place in an archive is for JavaScript. A plan is the forms of a root type and of
 * all types it mentions; readers, writers and validators are made from it, by code generation or
 * without. A plan made here is of one version; `resolution.ts` makes plans that read another one's.
 */

import { typeOf } from './check.js';
import type {
  Descriptor,
  EnumDescriptor,
  FieldDescriptor,
  Int64Mode,
  KindDescriptor,
  PlaceDescriptor,
  Shape,
} from './descriptor.js';
import type { Layout } from './layout.js';

/** Numbers of at most 32 bits, and floats. */
export type NumberName = 'u8' | 'u16' | 'u32' | 'i8' | 'i16' | 'i32' | 'f32' | 'f64';

/** What stands in a place. */
export type Form = Layout &
  (
    | { readonly form: 'number'; readonly scalar: NumberName; readonly big: boolean }
    | { readonly form: 'long'; readonly signed: boolean; readonly js: Int64Mode }
    | { readonly form: 'huge'; readonly signed: boolean }
    | { readonly form: 'bool' | 'char' | 'unit' }
    | { readonly form: 'string' | 'boxstr'; readonly intern: boolean }
    | { readonly form: 'bytes' }
    | { readonly form: 'blob'; readonly length: number }
    | { readonly form: 'list'; readonly elem: Form }
    | { readonly form: 'array'; readonly elem: Form; readonly length: number }
    | { readonly form: 'box'; readonly elem: Form }
    | { readonly form: 'option'; readonly elem: Form; readonly nested: boolean }
    | { readonly form: 'some'; readonly elem: Form; readonly nested: boolean }
    | { readonly form: 'tuple'; readonly parts: readonly Part[] }
    | { readonly form: 'map'; readonly sorted: boolean; readonly key: Form; readonly value: Form }
    | { readonly form: 'type'; readonly type: string }
    | { readonly form: 'constant'; readonly value: unknown; readonly shown: Shown | null }
  );

/** A value in an archive of its own, for the cursors of those that are shown by one. */
export interface Shown {
  readonly place: Form;
  readonly d: DataView;
  readonly b: Buffer;
  readonly at: number;
}

/** One of the forms. */
export type FormOf<K extends Form['form']> = Extract<Form, { form: K }>;

/** A form inside of something, at an offset. */
export interface Part {
  readonly name: string;
  readonly at: number;
  readonly form: Form;
}

/** A user type. */
export type TypeForm = Layout & { readonly name: string } & (
    | { readonly form: 'struct'; readonly shape: Shape; readonly parts: readonly Part[] }
    | {
        readonly form: 'enum';
        readonly variants: readonly VariantForm[];
        /** Whether values are mere strings, because no variant holds anything. */
        readonly isPlain: boolean;
        /** What an unknown tag reads as. */
        readonly fallback: string | undefined;
      }
  );

/** A variant of an enum. */
export interface VariantForm {
  readonly name: string;
  readonly tag: number;
  readonly shape: Shape;
  readonly parts: readonly Part[];
}

/** The forms of a root type and of all types it mentions, by a key of their own. */
export interface Plan {
  readonly root: string;
  readonly types: ReadonlyMap<string, TypeForm>;
  /** Whether it reads what another version wrote, so that nothing can be written by it. */
  readonly readsOnly: boolean;
}

/** What a user may choose about JavaScript values. */
export interface FormOptions {
  readonly u64: Int64Mode;
  readonly intern: boolean;
}

/** The plan of a checked descriptor. */
export function planOf(descriptor: Descriptor, options: FormOptions): Plan {
  const types = new Map<string, TypeForm>();
  for (const [name, type] of Object.entries(descriptor.types)) {
    const { size, align } = type;
    const layout = { name, size, align };
    const parts = (fields: readonly FieldDescriptor[]): Part[] =>
      fields.map((field) => {
        return { name: field.name, at: field.offset, form: fieldForm(field, options) };
      });
    if (type.kind === 'struct') {
      const form = { form: 'struct', shape: type.shape, parts: parts(type.fields) } as const;
      types.set(name, { ...layout, ...form });
    } else {
      const variants = type.variants.map(({ fields, ...variant }) => {
        return { ...variant, parts: parts(fields) };
      });
      const fallback = type.defaultVariant;
      types.set(name, { ...layout, form: 'enum', variants, isPlain: isPlain(type), fallback });
    }
  }
  typeOf(descriptor, descriptor.root);
  return { root: descriptor.root, types, readsOnly: false };
}

/** Whether values of an enum are mere strings. */
export function isPlain(type: EnumDescriptor): boolean {
  return type.variants.every(({ shape }) => shape === 'unit');
}

/** What a field says about its 64-bit integers and strings, on top of the options. */
export function fieldOptions(field: FieldDescriptor, options: FormOptions): FormOptions {
  return { u64: field.ts ?? options.u64, intern: field.intern ?? options.intern };
}

function fieldForm(field: FieldDescriptor, options: FormOptions): Form {
  return formOf(field, fieldOptions(field, options));
}

/** The form of a place. */
export function formOf(place: PlaceDescriptor, options: FormOptions): Form {
  const { size, align } = place;
  return { size, align, ...kindForm(place, options) } as Form;
}

function kindForm(place: KindDescriptor, options: FormOptions): object {
  const inner = (elem: PlaceDescriptor): Form => formOf(elem, options);
  switch (place.kind) {
    case 'bool':
    case 'char':
    case 'unit':
      return { form: place.kind };
    case 'string':
    case 'boxstr':
      return { form: place.kind, intern: options.intern };
    case 'u64':
    case 'i64':
      return { form: 'long', signed: place.kind === 'i64', js: options.u64 };
    case 'u128':
    case 'i128':
      return { form: 'huge', signed: place.kind === 'i128' };
    case 'vec':
    case 'boxslice':
      if (place.elem.kind === 'u8') return { form: 'bytes' };
      return { form: 'list', elem: inner(place.elem) };
    case 'array':
      if (place.elem.kind === 'u8') return { form: 'blob', length: place.length };
      return { form: 'array', elem: inner(place.elem), length: place.length };
    case 'box':
      return { form: 'box', elem: inner(place.elem) };
    case 'option':
      return { form: 'option', elem: inner(place.elem), nested: isNullable(place.elem) };
    case 'tuple': {
      const part = (elem: (typeof place.elems)[number], index: number): Part => {
        return { name: String(index), at: elem.offset, form: inner(elem) };
      };
      return { form: 'tuple', parts: place.elems.map(part) };
    }
    case 'hashmap':
    case 'btreemap': {
      const sorted = place.kind === 'btreemap';
      return { form: 'map', sorted, key: inner(place.key), value: inner(place.value) };
    }
    case 'type':
      return { form: 'type', type: place.type };
    default:
      return { form: 'number', scalar: place.kind, big: false };
  }
}

/** Whether `null` is among the values, so that an option of it needs a wrapper. */
export function isNullable(place: KindDescriptor): boolean {
  if (place.kind === 'box') return isNullable(place.elem);
  return place.kind === 'option' || place.kind === 'unit';
}

/** Whether a form has parts outside of its own bytes. */
export function hasOut(plan: Plan, form: Form): boolean {
  return slotsOf(plan, form) > 0;
}

/**
 * How many numbers the writer must remember of a form between writing what is out of line and
 * writing the form itself; at most, since an absent value needs none.
 */
export function slotsOf(plan: Plan, form: Form): number {
  switch (form.form) {
    case 'string':
    case 'boxstr':
    case 'bytes':
    case 'list':
    case 'map':
      return 2;
    case 'box':
      return 1;
    case 'array':
      return form.length * slotsOf(plan, form.elem);
    case 'option':
    case 'some':
      return slotsOf(plan, form.elem);
    case 'tuple':
      return slotsOfParts(plan, form.parts);
    case 'type':
      return slotsOfType(plan, typeForm(plan, form.type));
    default:
      return 0;
  }
}

/** As {@link slotsOf}, of a user type. */
export function slotsOfType(plan: Plan, type: TypeForm): number {
  const known = SLOTS.get(type);
  if (known !== undefined) return known;
  const slots =
    type.form === 'struct'
      ? slotsOfParts(plan, type.parts)
      : Math.max(0, ...type.variants.map(({ parts }) => slotsOfParts(plan, parts)));
  SLOTS.set(type, slots);
  return slots;
}

/** Each type is asked for once: types of types of types would be asked for without end. */
const SLOTS = new WeakMap<TypeForm, number>();

function slotsOfParts(plan: Plan, parts: readonly Part[]): number {
  return parts.reduce((sum, { form }) => sum + slotsOf(plan, form), 0);
}

/** The user type with that key. */
export function typeForm(plan: Plan, key: string): TypeForm {
  const type = plan.types.get(key);
  if (type === undefined) throw new TypeError(`invariant: the plan has no type ${key}`);
  return type;
}

/** Bytes from `from` to `to` that no part covers, as ranges: padding, which is written as zeros. */
export function gapsIn(
  parts: readonly Part[],
  from: number,
  to: number,
): readonly (readonly [start: number, end: number])[] {
  const gaps: [number, number][] = [];
  let at = from;
  for (const part of parts) {
    if (part.at > at) gaps.push([at, part.at]);
    at = part.at + part.form.size;
  }
  if (to > at) gaps.push([at, to]);
  return gaps;
}
