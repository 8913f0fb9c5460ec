/**
 * Validation of received bytes by the rules of rkyv's bytecheck: every value is one of its type,
 * and everything out of line lies in the part of the archive that nobody claimed yet, in the order
 * in which it is mentioned (docs/formats). Exactly what Rust accepts is accepted.
 *
 * A range of unclaimed bytes is narrowed on the way in: what an object points to lies before the
 * object, and after whatever was claimed before.
 */

import { isUtf8 } from 'node:buffer';

import { typeForm, type Form, type FormOf, type Part, type Plan, type TypeForm } from './forms.js';
import { checkDensity, controlsOf, mapLayout } from './maps.js';
import { isScalarValue } from './numbers.js';
import { archiveInvalid, join } from './problems.js';
import { claimEmpties, enterArchive, region, unreadable } from './region.js';
import { inlineLength } from './strings.js';

/** Throws unless the bytes are an archive. */
export type Validate = (bytes: Uint8Array) => void;

/** Checks what stands at `p`. `null`: any bytes will do. */
type Check = ((c: Claims, p: number) => void) | null;

/** The validator of a plan of one version. */
export function validator(plan: Plan): Validate {
  const maker = new Maker(plan);
  const { name, size, align } = typeForm(plan, plan.root);
  const check = maker.type(plan.root);
  return (bytes) => {
    const p = enterArchive(name, bytes, size);
    const claims = new Claims(region.d, region.b, bytes.byteOffset, p + size);
    try {
      claims.within(p, size, align, name, () => check?.(claims, p));
    } catch (error) {
      throw unreadable(name, error);
    }
  };
}

/** The bytes that nobody claimed yet, as far as those may be claimed who are being checked. */
class Claims {
  readonly d: DataView;
  readonly b: Buffer;
  readonly #base: number;
  #lo: number;
  #hi: number;

  constructor(d: DataView, b: Buffer, lo: number, hi: number) {
    this.d = d;
    this.b = b;
    this.#base = lo;
    this.#lo = lo;
    this.#hi = hi;
  }

  /** Throws unless the bytes can be claimed. */
  check(p: number, size: number, align: number, path: string): void {
    if (p < this.#lo || p + size > this.#hi) {
      throw archiveInvalid(path, 'it lies outside of the archive, or in bytes of something else');
    }
    if (((p - this.#base) & (align - 1)) !== 0) throw archiveInvalid(path, 'it is not aligned');
  }

  /** Claims bytes; what they point to is claimed while `run` runs. */
  within(p: number, size: number, align: number, path: string, run: () => void): void {
    this.check(p, size, align, path);
    const hi = this.#hi;
    this.#hi = p;
    run();
    this.#hi = hi;
    this.#lo = p + size;
  }
}

class Maker {
  readonly #plan: Plan;
  readonly #types = new Map<string, { check: Check }>();

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  type(key: string): Check {
    const known = this.#types.get(key);
    // A type within itself: what it checks is known when the first check runs.
    if (known !== undefined) return (c, p) => known.check?.(c, p);
    const entry: { check: Check } = { check: null };
    this.#types.set(key, entry);
    const type = typeForm(this.#plan, key);
    entry.check = type.form === 'struct' ? this.#parts(type.parts, type.name) : this.#enum(type);
    return entry.check;
  }

  #parts(parts: readonly Part[], path: string): Check {
    const checks = parts.flatMap(({ name, at, form }) => {
      const check = this.#form(form, join(path, name));
      return check === null ? [] : [{ at, check }];
    });
    if (checks.length === 0) return null;
    return (c, p) => {
      for (const { at, check } of checks) check(c, p + at);
    };
  }

  #enum(type: Extract<TypeForm, { form: 'enum' }>): Check {
    const checks = new Map(
      type.variants.map(({ name, tag, parts }) => {
        return [tag, this.#parts(parts, join(type.name, name))] as const;
      }),
    );
    return (c, p) => {
      const tag = c.d.getUint8(p);
      const check = checks.get(tag);
      if (check === undefined) throw archiveInvalid(type.name, `${tag} is the tag of no variant`);
      check?.(c, p);
    };
  }

  #form(form: Form, path: string): Check {
    switch (form.form) {
      case 'bool':
        return (c, p) => {
          if (c.d.getUint8(p) > 1) throw archiveInvalid(path, 'a boolean is neither 0 nor 1');
        };
      case 'char':
        return (c, p) => {
          if (!isScalarValue(c.d.getUint32(p, true)))
            throw archiveInvalid(path, 'it is no character');
        };
      case 'string':
        return stringCheck(path);
      case 'boxstr':
        return (c, p) => {
          const at = p + c.d.getInt32(p, true);
          const length = c.d.getUint32(p + 4, true);
          c.within(at, length, 1, path, () => checkText(c, at, length, path));
        };
      case 'bytes':
        return (c, p) => {
          const at = p + c.d.getInt32(p, true);
          c.within(at, c.d.getUint32(p + 4, true), 1, path, () => undefined);
        };
      case 'list':
        return this.#list(form, path);
      case 'array': {
        const check = this.#form(form.elem, `${path}[]`);
        const { size } = form.elem;
        if (check === null) return null;
        return (c, p) => {
          for (let index = 0; index < form.length; index++) check(c, p + index * size);
        };
      }
      case 'box': {
        const check = this.#form(form.elem, path);
        const { size, align } = form.elem;
        return (c, p) => {
          const at = p + c.d.getInt32(p, true);
          c.within(at, size, align, path, () => check?.(c, at));
        };
      }
      case 'option': {
        const check = this.#form(form.elem, path);
        return (c, p) => {
          const tag = c.d.getUint8(p);
          if (tag > 1) throw archiveInvalid(path, `${tag} is the tag of no option`);
          if (tag === 1) check?.(c, p + form.align);
        };
      }
      case 'tuple':
        return this.#parts(form.parts, path);
      case 'map':
        return form.sorted ? this.#tree(form, path) : this.#table(form, path);
      case 'type':
        return this.type(form.type);
      default:
        return null;
    }
  }

  #list(form: FormOf<'list'>, path: string): Check {
    const check = this.#form(form.elem, `${path}[]`);
    const { size, align } = form.elem;
    return (c, p) => {
      const at = p + c.d.getInt32(p, true);
      const length = c.d.getUint32(p + 4, true);
      if (size === 0) claimEmpties(length);
      c.within(at, length * size, align, path, () => {
        if (check === null) return;
        // Without bytes there is nothing that could differ from one element to the next.
        const count = size === 0 ? Math.min(length, 1) : length;
        for (let index = 0; index < count; index++) check(c, at + index * size);
      });
    };
  }

  #table({ key, value }: FormOf<'map'>, path: string): Check {
    const { entry } = mapLayout(key, value);
    const [checkKey, checkValue] = this.#entry(key, value, path);
    return (c, p) => {
      const length = c.d.getUint32(p + 4, true);
      const capacity = c.d.getUint32(p + 8, true);
      if (length === 0 && capacity === 0) return;
      if (length >= capacity) throw archiveInvalid(path, 'a table has no free bucket');
      checkDensity(length, capacity);
      const controls = p + c.d.getInt32(p, true);
      const size = capacity * entry.size + controlsOf(capacity);
      c.within(controls - capacity * entry.size, size, entry.align, path, () => {
        let count = 0;
        for (let bucket = 0; bucket < capacity; bucket++) {
          if (c.d.getUint8(controls + bucket) >= 0x80) continue;
          const at = controls - (bucket + 1) * entry.size;
          checkKey?.(c, at);
          checkValue?.(c, at + entry.value);
          count++;
        }
        if (count !== length)
          throw archiveInvalid(path, `a table of ${length} has ${count} entries`);
        checkWrapped(c, controls, capacity, path);
      });
    };
  }

  #tree({ key, value }: FormOf<'map'>, path: string): Check {
    const [checkKey, checkValue] = this.#entry(key, value, path);
    const { node, leaf, inner } = mapLayout(key, value);
    const entries = (c: Claims, at: number, count: number): void => {
      for (let index = 0; index < count; index++) {
        checkKey?.(c, at + node.keys + index * key.size);
        checkValue?.(c, at + node.values + index * value.size);
      }
    };
    const walk = (c: Claims, p: number): number => {
      const at = p + c.d.getInt32(p, true);
      c.check(at, node.size, node.align, path);
      const kind = c.d.getUint8(at);
      if (kind > 1) throw archiveInvalid(path, `${kind} is no kind of node`);
      let total = 0;
      if (kind === 0) {
        c.within(at, leaf.size, leaf.align, path, () => {
          total = c.d.getUint32(at + node.tail, true);
          if (total > 5) throw archiveInvalid(path, `a node has ${total} entries`);
          entries(c, at, total);
        });
        return total;
      }
      c.within(at, inner.size, inner.align, path, () => {
        total = 5;
        for (let child = at + node.tail; child <= at + node.tail + 20; child += 4) {
          if (c.d.getInt32(child, true) !== 1) total += walk(c, child);
        }
        entries(c, at, 5);
      });
      return total;
    };
    return (c, p) => {
      const length = c.d.getUint32(p + 4, true);
      if (length === 0) return;
      const total = walk(c, p);
      if (total !== length) throw archiveInvalid(path, `a map of ${length} has ${total} entries`);
    };
  }

  #entry(key: Form, value: Form, path: string): readonly [Check, Check] {
    return [this.#form(key, join(path, 'key')), this.#form(value, join(path, 'value'))];
  }
}

function stringCheck(path: string): Check {
  return (c, p) => {
    const word = c.d.getUint32(p, true);
    if ((word & 0xc0) !== 0x80) return checkText(c, p, inlineLength(c.b, p), path);
    const length = (word & 0x3f) | ((word >>> 2) & ~0x3f);
    if (length <= 8) throw archiveInvalid(path, 'a short string is not inline');
    const at = p + c.d.getInt32(p + 4, true);
    c.within(at, length, 1, path, () => checkText(c, at, length, path));
  };
}

function checkText(c: Claims, p: number, length: number, path: string): void {
  let seen = 0;
  if (length <= 32) {
    for (let index = 0; index < length; index++) seen |= c.b[p + index] as number;
    if (seen < 0x80) return;
  }
  if (!isUtf8(c.b.subarray(p, p + length))) throw archiveInvalid(path, 'a string is not UTF-8');
}

/** The control bytes behind those of the buckets repeat the first ones. */
function checkWrapped(c: Claims, controls: number, capacity: number, path: string): void {
  const end = Math.min(2 * capacity, controlsOf(capacity) - capacity);
  for (let index = capacity; index < end; index++) {
    if (c.d.getUint8(controls + index) !== c.d.getUint8(controls + (index % capacity))) {
      throw archiveInvalid(path, 'the control bytes of a table do not repeat');
    }
  }
}
