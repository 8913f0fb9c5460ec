/**
 * Readers, writers and cursors of a plan without code generation, for where that is forbidden:
 * every form becomes an object of closures. What generated code does, this does, some times slower.
 */

import {
  gapsIn,
  slotsOf,
  slotsOfType,
  typeForm,
  type Form,
  type FormOf,
  type Part,
  type Plan,
  type TypeForm,
  type VariantForm,
} from './forms.js';
import { keyRules } from './key-forms.js';
import { interpretedView, type ViewMaker } from './interpret-views.js';
import {
  checkLength,
  copyBytes,
  fixBox,
  fixList,
  lengthOf,
  putBytes,
  readBytes,
  writeBlob,
  zero,
} from './lists.js';
import { fixMap, mapOps, type MapOps, type MapRules } from './maps.js';
import * as numbers from './numbers.js';
import { unknownVariant } from './problems.js';
import { claim } from './region.js';
import type { Sink } from './sink.js';
import * as strings from './strings.js';

/** What can be done with a form; values are whatever the form's values are. */
export interface Ops {
  readonly form: Form;
  readonly size: number;
  readonly align: number;
  readonly slots: number;
  read(d: DataView, b: Buffer, p: number): unknown;
  /** Phase one of writing. */
  out(s: Sink, value: never): void;
  /** Phase two of writing. */
  fix(s: Sink, d: DataView, value: never, p: number): void;
  readonly map?: {
    readonly ops: MapOps<unknown, unknown>;
    readonly rules: MapRules<unknown, unknown>;
  };
}

type Behaviour = Pick<Ops, 'read' | 'out' | 'fix' | 'map'>;

/** A plan, interpreted. */
export class Interpreter {
  readonly plan: Plan;
  readonly #types = new Map<string, Ops>();
  readonly #views: ViewMaker;

  constructor(plan: Plan) {
    this.plan = plan;
    this.#views = interpretedView(this);
  }

  /** The root type. */
  root(): { readonly ops: Ops; readonly makeView: () => object } {
    const { root } = this.plan;
    return { ops: this.type(root), makeView: () => this.#views.root(root) };
  }

  /** A user type. */
  type(key: string): Ops {
    const known = this.#types.get(key);
    if (known !== undefined) return known;
    const type = typeForm(this.plan, key);
    const { size, align } = type;
    // Types may mention themselves: what is below is filled in after the type is known.
    const ops = {
      form: { form: 'type', type: key, size, align } as const,
      size,
      align,
      slots: slotsOfType(this.plan, type),
    } as Ops;
    this.#types.set(key, ops);
    return Object.assign(ops, type.form === 'struct' ? this.#struct(type) : this.#enum(type));
  }

  /** Any form. */
  ops(form: Form): Ops {
    if (form.form === 'type') return this.type(form.type);
    const { size, align } = form;
    const slots = slotsOf(this.plan, form);
    return { form, size, align, slots, ...this.#behaviour(form) };
  }

  #behaviour(form: Exclude<Form, FormOf<'type'>>): Behaviour {
    switch (form.form) {
      case 'number':
        return number(form);
      case 'long':
        return long(form);
      case 'huge':
        return {
          read: (d, _, p) => numbers.readHuge(d, p, form.signed),
          out: nothing,
          fix: (_, d, value, p) => numbers.writeHuge(d, p, value, form.signed),
        };
      case 'bool':
        return {
          read: (d, _, p) => d.getUint8(p) !== 0,
          out: nothing,
          fix(_, d, value: unknown, p) {
            if (typeof value !== 'boolean') numbers.bad(value, 'a boolean');
            d.setUint8(p, value ? 1 : 0);
          },
        };
      case 'char':
        return {
          read: (d, _, p) => numbers.readChar(d, p),
          out: nothing,
          fix: (_, d, value, p) => numbers.writeChar(d, p, value),
        };
      case 'unit':
        return { read: () => null, out: nothing, fix: nothing };
      case 'string':
        return {
          read: form.intern ? strings.readShared : strings.readString,
          out: (s, value) => strings.putString(s, value),
          fix: (s, d, _, p) => strings.fixString(s, d, p),
        };
      case 'boxstr':
        return {
          read: strings.readBoxStr,
          out: (s, value) => strings.putBoxStr(s, value),
          fix: (s, d, _, p) => fixList(s, d, p),
        };
      case 'bytes':
        return {
          read: readBytes,
          out: (s, value) => putBytes(s, value),
          fix: (s, d, _, p) => fixList(s, d, p),
        };
      case 'blob':
        return {
          read: (_, b, p) => copyBytes(b, p, form.length),
          out: nothing,
          fix: (s, _, value, p) => writeBlob(s.b, p, value, form.length),
        };
      default:
        return this.#compound(form);
    }
  }

  #compound(form: Form): Behaviour {
    switch (form.form) {
      case 'list':
        return list(this.ops(form.elem));
      case 'array':
        return array(this.ops(form.elem), form.length);
      case 'box':
        return box(this.ops(form.elem));
      case 'option':
        return option(this.ops(form.elem), form);
      case 'some': {
        const elem = this.ops(form.elem);
        const read = form.nested
          ? (d: DataView, b: Buffer, p: number) => ({ some: elem.read(d, b, p) })
          : elem.read;
        return { read, out: nothing, fix: nothing };
      }
      case 'tuple':
        return this.#parts(form.parts, 'tuple', gapsIn(form.parts, 0, form.size));
      case 'map':
        return this.#map(form);
      case 'constant': {
        const { value } = form;
        const isPlain = value === null || typeof value !== 'object';
        const read = isPlain ? () => value : () => structuredClone(value);
        return { read, out: nothing, fix: nothing };
      }
      default:
        throw new TypeError(`invariant: ${form.form} is no compound form`);
    }
  }

  #map(form: FormOf<'map'>): Behaviour {
    const rules = {
      sorted: form.sorted,
      key: this.ops(form.key),
      value: this.ops(form.value),
      rules: keyRules(this.plan, form.key),
      readsOnly: this.plan.readsOnly,
    } as unknown as MapRules<unknown, unknown>;
    const ops = mapOps(rules);
    return {
      read: (d, b, p) => ops.read(d, b, p),
      out: (s, value) => ops.out(s, value),
      fix: (s, d, _, p) => fixMap(s, d, form.sorted, p),
      map: { ops, rules },
    };
  }

  #struct(type: Extract<TypeForm, { form: 'struct' }>): Behaviour {
    const shape = type.shape === 'tuple' ? 'tuple' : 'named';
    return this.#parts(type.parts, shape, gapsIn(type.parts, 0, type.size));
  }

  #parts(
    parts: readonly Part[],
    shape: 'named' | 'tuple',
    gaps: readonly (readonly [number, number])[],
  ): Behaviour {
    const done = parts.map(({ name, at, form }) => {
      return { name, at, ops: this.ops(form) };
    });
    const outs = done.filter(({ ops }) => ops.slots > 0);
    const values = (d: DataView, b: Buffer, p: number): unknown[] =>
      done.map(({ at, ops }) => ops.read(d, b, p + at));
    const names = done.map(({ name }) => name);
    return {
      read(d, b, p) {
        const held = values(d, b, p);
        if (shape === 'tuple') return held;
        return Object.fromEntries(names.map((name, index) => [name, held[index]]));
      },
      out(s, value) {
        if (isNothing(value)) numbers.bad(value, 'an object');
        for (const { name, ops } of outs) ops.out(s, value[name]);
      },
      fix(s, d, value, p) {
        if (isNothing(value)) numbers.bad(value, 'an object');
        for (const { name, at, ops } of done) ops.fix(s, d, value[name], p + at);
        for (const [start, end] of gaps) zero(d, p + start, p + end);
      },
    };
  }

  #enum(type: Extract<TypeForm, { form: 'enum' }>): Behaviour {
    const { name, size, fallback } = type;
    const bodies = type.variants.map((variant) => this.#variant(type, variant));
    const byTag = new Map(bodies.map((body) => [body.tag, body]));
    const byName = new Map(bodies.map((body) => [body.name, body]));
    const bodyOf = (value: unknown): (typeof bodies)[number] => {
      const kind: unknown = type.isPlain ? value : (value as { kind?: unknown } | null)?.kind;
      const body = byName.get(kind as string);
      return body ?? numbers.bad(kind, `one of ${[...byName.keys()].join(', ')}`);
    };
    return {
      read(d, b, p) {
        const tag = d.getUint8(p);
        const body = byTag.get(tag);
        if (body === undefined) {
          // The writer need not have the variant that stands for those it has.
          if (fallback === undefined) throw unknownVariant(name, tag);
          return type.isPlain ? fallback : { kind: fallback };
        }
        if (type.isPlain) return body.name;
        if (body.shape === 'unit') return { kind: body.name };
        return { kind: body.name, value: body.parts.read(d, b, p) };
      },
      out(s, value) {
        const body = bodyOf(value);
        if (body.shape !== 'unit') body.parts.out(s, (value as { value: never }).value);
      },
      fix(s, d, value, p) {
        const body = bodyOf(value);
        d.setUint8(p, body.tag);
        if (body.shape === 'unit') zero(d, p + 1, p + size);
        else body.parts.fix(s, d, (value as { value: never }).value, p);
      },
    };
  }

  #variant(
    type: TypeForm,
    variant: VariantForm,
  ): { name: string; tag: number; shape: string; parts: Behaviour } {
    const { name, tag, shape } = variant;
    const kind = shape === 'tuple' ? 'tuple' : 'named';
    const gaps = gapsIn(variant.parts, 1, type.size);
    return {
      name,
      tag,
      shape,
      parts: this.#parts(variant.parts, kind, gaps),
    };
  }
}

function nothing(): void {
  // Forms without anything out of line, and forms that only readers know.
}

function isNothing(value: unknown): boolean {
  return value === null || typeof value !== 'object';
}

const GETTERS = {
  u8: (d: DataView, p: number) => d.getUint8(p),
  u16: (d: DataView, p: number) => d.getUint16(p, true),
  u32: (d: DataView, p: number) => d.getUint32(p, true),
  i8: (d: DataView, p: number) => d.getInt8(p),
  i16: (d: DataView, p: number) => d.getInt16(p, true),
  i32: (d: DataView, p: number) => d.getInt32(p, true),
  f32: (d: DataView, p: number) => d.getFloat32(p, true),
  f64: (d: DataView, p: number) => d.getFloat64(p, true),
} as const;

const SETTERS = {
  u8: (d: DataView, p: number, value: number) => d.setUint8(p, value),
  u16: (d: DataView, p: number, value: number) => d.setUint16(p, value, true),
  u32: (d: DataView, p: number, value: number) => d.setUint32(p, value, true),
  i8: (d: DataView, p: number, value: number) => d.setInt8(p, value),
  i16: (d: DataView, p: number, value: number) => d.setInt16(p, value, true),
  i32: (d: DataView, p: number, value: number) => d.setInt32(p, value, true),
  f32: (d: DataView, p: number, value: number) => d.setFloat32(p, value, true),
  f64: (d: DataView, p: number, value: number) => d.setFloat64(p, value, true),
} as const;

const FITS = {
  u8: (value: number) => (value & 255) === value,
  u16: (value: number) => (value & 65535) === value,
  u32: (value: number) => value >>> 0 === value,
  i8: (value: number) => (value << 24) >> 24 === value,
  i16: (value: number) => (value << 16) >> 16 === value,
  i32: (value: number) => (value | 0) === value,
  f32: (value: number) => {
    numbers.checkF32(value);
    return true;
  },
  f64: (value: number) => typeof value === 'number',
} as const;

function number(form: FormOf<'number'>): Behaviour {
  const [get, set, fits] = [GETTERS[form.scalar], SETTERS[form.scalar], FITS[form.scalar]];
  return {
    read: form.big ? (d, _, p) => BigInt(get(d, p)) : (d, _, p) => get(d, p),
    out: nothing,
    fix(_, d, value, p) {
      if (!fits(value)) numbers.bad(value, `a number of type ${form.scalar}`);
      set(d, p, value);
    },
  };
}

function long({ js, signed }: FormOf<'long'>): Behaviour {
  if (js === 'bigint') {
    return {
      read: (d, _, p) => (signed ? d.getBigInt64(p, true) : d.getBigUint64(p, true)),
      out: nothing,
      fix: (_, d, value, p) => numbers.writeBig(d, p, value, signed),
    };
  }
  const [read, write] = signed
    ? [numbers.readI64, numbers.writeI64]
    : [numbers.readU64, numbers.writeU64];
  return {
    read: (d, _, p) => read(d, p),
    out: nothing,
    fix: (_, d, value, p) => write(d, p, value),
  };
}

function list(elem: Ops): Behaviour {
  const { size, align, slots } = elem;
  return {
    read(d, b, p) {
      const length = d.getUint32(p + 4, true);
      const at = claim(d, p, length, size);
      const values: unknown[] = [];
      for (let index = 0; index < length; index++) values.push(elem.read(d, b, at + index * size));
      return values;
    },
    out(s, value: ArrayLike<never>) {
      const length = lengthOf(value, size);
      if (size === 0) s.addEmpties(length);
      const base = s.rp;
      s.reserve(length * slots + 2);
      if (slots > 0) {
        for (let index = 0; index < length; index++) elem.out(s, value[index] as never);
      }
      const at = s.take(length * size, align);
      s.ri = base;
      for (let index = 0; index < length; index++) {
        elem.fix(s, s.d, value[index] as never, at + index * size);
      }
      s.done();
      s.rp = base;
      s.push2(at, length);
    },
    fix: (s, d, _, p) => fixList(s, d, p),
  };
}

function array(elem: Ops, length: number): Behaviour {
  const { size, slots } = elem;
  return {
    read(d, b, p) {
      const values: unknown[] = [];
      for (let index = 0; index < length; index++) values.push(elem.read(d, b, p + index * size));
      return values;
    },
    out(s, value: ArrayLike<never>) {
      checkLength(value, length);
      if (slots === 0) return;
      for (let index = 0; index < length; index++) elem.out(s, value[index] as never);
    },
    fix(s, d, value: ArrayLike<never>, p) {
      checkLength(value, length);
      for (let index = 0; index < length; index++) {
        elem.fix(s, d, value[index] as never, p + index * size);
      }
    },
  };
}

function box(elem: Ops): Behaviour {
  return {
    read: (d, b, p) => elem.read(d, b, claim(d, p, 1, elem.size)),
    out(s, value) {
      const base = s.rp;
      s.reserve(elem.slots + 1);
      elem.out(s, value);
      const at = s.take(elem.size, elem.align);
      s.ri = base;
      elem.fix(s, s.d, value, at);
      s.done();
      s.rp = base;
      s.push(at - s.base);
    },
    fix: (s, d, _, p) => fixBox(s, d, p),
  };
}

function option(elem: Ops, form: FormOf<'option'>): Behaviour {
  const { nested, size, align: at } = form;
  const held = (value: unknown): never =>
    (nested ? numbers.wrapped(value as { some: never }) : value) as never;
  return {
    read(d, b, p) {
      if (!numbers.isSome(d, p)) return null;
      const value = elem.read(d, b, p + at);
      return nested ? { some: value } : value;
    },
    out(s, value) {
      if (value !== null && value !== undefined) elem.out(s, held(value));
    },
    fix(s, d, value, p) {
      if (value === null || value === undefined) return zero(d, p, p + size);
      d.setUint8(p, 1);
      zero(d, p + 1, p + at);
      elem.fix(s, d, held(value), p + at);
    },
  };
}
