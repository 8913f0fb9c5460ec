/**
 * Reading another version of a type in place: a plan of the reader's values at the writer's
 * offsets. What the writer has and the reader does not is passed over; what the writer does not
 * have is a constant. Reading then costs what reading the own version costs.
 */

import { typeOf } from './check.js';
import { sourceOf } from './compare.js';
import { valueOfDefault } from './defaults.js';
import type {
  Descriptor,
  EnumDescriptor,
  FieldDescriptor,
  KindDescriptor,
  PlaceDescriptor,
} from './descriptor.js';
import {
  fieldOptions,
  formOf,
  isNullable,
  isPlain,
  type Form,
  type FormOptions,
  planOf,
  type Part,
  type Plan,
  type Shown,
  type TypeForm,
} from './forms.js';
import { Interpreter } from './interpret.js';
import { isScalar } from './layout.js';
import { join } from './problems.js';
import { writeNew } from './writing.js';

/** The plan that reads archives of `writer` as values of `reader`; the two must be resolvable. */
export function resolvedPlan(writer: Descriptor, reader: Descriptor, options: FormOptions): Plan {
  const resolution = new Resolution(writer, reader, options);
  return {
    root: resolution.type(writer.root, reader.root),
    types: resolution.types,
    readsOnly: true,
  };
}

class Resolution {
  /** By the writer's and the reader's name: one type may be read as two. */
  readonly types = new Map<string, TypeForm>();
  readonly #writer: Descriptor;
  readonly #reader: Descriptor;
  readonly #options: FormOptions;
  /** The reader's own plan, if one of its defaults is shown by a cursor. */
  #own: Plan | undefined;

  constructor(writer: Descriptor, reader: Descriptor, options: FormOptions) {
    this.#writer = writer;
    this.#reader = reader;
    this.#options = options;
  }

  /** The key of what reads the writer's type as the reader's. */
  type(writer: string, reader: string): string {
    const key = `${writer}>${reader}`;
    if (this.types.has(key)) return key;
    const [theirs, ours] = [typeOf(this.#writer, writer), typeOf(this.#reader, reader)];
    const layout = { name: reader, size: theirs.size, align: theirs.align };
    const parts: Part[] = [];
    if (theirs.kind === 'struct' && ours.kind === 'struct') {
      // Known before its parts are: types may mention themselves.
      this.types.set(key, { ...layout, form: 'struct', shape: ours.shape, parts });
      parts.push(...this.#parts(reader, theirs.fields, ours.fields));
    } else if (theirs.kind === 'enum' && ours.kind === 'enum') {
      this.#enum(key, layout, theirs, ours);
    }
    return key;
  }

  #enum(
    key: string,
    layout: { readonly name: string; readonly size: number; readonly align: number },
    theirs: EnumDescriptor,
    ours: EnumDescriptor,
  ): void {
    const held = theirs.variants.flatMap((their) => {
      const our = ours.variants.find(({ name }) => name === their.name);
      if (our === undefined) return [];
      const { name, tag, shape } = our;
      const parts: Part[] = [];
      return [{ variant: { name, tag, shape, parts }, their, our }];
    });
    const variants = held.map(({ variant }) => variant);
    const fallback = ours.defaultVariant;
    this.types.set(key, { ...layout, form: 'enum', variants, isPlain: isPlain(ours), fallback });
    for (const { variant, their, our } of held) {
      const path = join(layout.name, our.name);
      variant.parts.push(...this.#parts(path, their.fields, our.fields));
    }
  }

  #parts(
    path: string,
    theirs: readonly FieldDescriptor[],
    ours: readonly FieldDescriptor[],
  ): readonly Part[] {
    return ours.map((our) => {
      const options = fieldOptions(our, this.#options);
      const their = sourceOf(our, theirs);
      const { name } = our;
      if (their === undefined) {
        const value = valueOfDefault(
          join(path, name),
          our.default ?? null,
          our,
          options,
          this.#reader,
        );
        const shown = this.#shown(value, our, options);
        return { name, at: 0, form: { form: 'constant', value, shown, size: 0, align: 1 } };
      }
      return { name, at: their.offset, form: this.#form(their, our, options) };
    });
  }

  /** A default in an archive of its own, if cursors show it by a cursor. */
  #shown(value: unknown, our: FieldDescriptor, options: FormOptions): Shown | null {
    if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return null;
    if (this.#own === undefined) {
      this.#own = planOf(this.#reader, this.#options);
      for (const [key, type] of this.#own.types) this.types.set(key, type);
    }
    const place = formOf(our, options);
    const { size, align, slots, ...ops } = new Interpreter(this.#own).ops(place);
    const bytes = writeNew(
      { name: our.name, plan: () => this.#own as Plan },
      (s) => {
        s.reserve(slots);
        ops.out(s, value as never);
        const p = s.take(size, align);
        s.ri = 0;
        ops.fix(s, s.d, value as never, p);
      },
      value,
    );
    const archive = Buffer.from(Uint8Array.from(bytes).buffer);
    const d = new DataView(archive.buffer);
    return { place, d, b: archive, at: archive.length - size };
  }

  /** The form of the writer's place, read as the reader's. */
  #form(their: PlaceDescriptor, our: KindDescriptor, options: FormOptions): Form {
    const { size, align } = their;
    if (our.kind === 'option' && their.kind !== 'option') {
      const elem = this.#form(their, our.elem, options);
      return { form: 'some', elem, nested: isNullable(our.elem), size, align };
    }
    if (isScalar(their.kind) && isScalar(our.kind)) {
      return { size, align, ...scalarForm(their, our.kind, options) } as Form;
    }
    // What is of the same kind has the writer's form, with the parts resolved.
    const form = formOf({ ...our, size, align } as PlaceDescriptor, options);
    return { ...form, ...this.#inner(their, our, form, options) } as Form;
  }

  #inner(their: KindDescriptor, our: KindDescriptor, form: Form, options: FormOptions): object {
    if (form.form === 'bytes' || form.form === 'blob') return {};
    if ('elem' in their && 'elem' in our)
      return { elem: this.#form(their.elem, our.elem, options) };
    if (their.kind === 'tuple' && our.kind === 'tuple') {
      const parts = their.elems.map((elem, index) => ({
        name: String(index),
        at: elem.offset,
        form: this.#form(elem, our.elems[index] as KindDescriptor, options),
      }));
      return { parts };
    }
    if ('key' in their && 'key' in our) {
      const key = this.#form(their.key, our.key, options);
      return { key, value: this.#form(their.value, our.value, options) };
    }
    if (their.kind === 'type' && our.kind === 'type') {
      return { type: this.type(their.type, our.type) };
    }
    return {};
  }
}

/** A number of the writer's, as what the reader makes of its own wider one. */
function scalarForm(their: PlaceDescriptor, our: string, options: FormOptions): object {
  const isBig = /^[ui]128$/.test(our) || (/^[ui]64$/.test(our) && options.u64 === 'bigint');
  const form = formOf(their, options);
  if (form.form === 'number' && /^[ui]/.test(our)) return { ...form, big: isBig };
  if (form.form === 'long') return { ...form, js: isBig ? 'bigint' : 'number' };
  return form;
}
