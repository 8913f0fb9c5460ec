/** Cursors without code generation: classes whose getters are closures over the forms. */

import { typeForm, type Form, type Part } from './forms.js';
import type { Interpreter, Ops } from './interpret.js';
import { viewBytes } from './lists.js';
import { isSome } from './numbers.js';
import { unknownVariant } from './problems.js';
import { checkEmpties, region, target, unreadable } from './region.js';
import * as strings from './strings.js';
import { limit, ListCursor, MapCursor, noElement, rootOf, ShownCursor, UNCLONED } from './views.js';

/** Reads a place in place. */
type Look = (d: DataView, b: Buffer, p: number, lo: number) => unknown;

/** Makes cursors. */
export interface ViewMaker {
  /** A cursor over archives of that type. */
  root(key: string): object;
}

/** What a cursor stands on. */
class Place extends ShownCursor {
  readonly $uncloned: symbol = UNCLONED;
  #d: DataView = region.d;
  #b: Buffer = region.b;
  #p = 0;
  #lo = 0;

  $set(d: DataView, b: Buffer, p: number, lo: number): this {
    this.#d = d;
    this.#b = b;
    this.#p = p;
    this.#lo = lo;
    return this;
  }

  $look(look: Look): unknown {
    return look(this.#d, this.#b, this.#p, this.#lo);
  }
}

/** The cursors of an interpreted plan. */
export function interpretedView(interpreter: Interpreter): ViewMaker {
  return new Maker(interpreter);
}

class Maker implements ViewMaker {
  readonly #interpreter: Interpreter;
  readonly #classes = new Map<string, new () => Place>();

  constructor(interpreter: Interpreter) {
    this.#interpreter = interpreter;
  }

  root(key: string): object {
    const { name, size } = typeForm(this.#interpreter.plan, key);
    const make = this.#class(key);
    const cursor = new make();
    const $move = (bytes: Uint8Array, offset = 0, length?: number): Place => {
      // What is no memory at all, `rootOf` refuses.
      const taken = length ?? ((bytes as Uint8Array | null)?.length ?? 0) - offset;
      const p = rootOf(name, bytes, size, offset, taken);
      return cursor.$set(region.d, region.b, p, p + size - taken);
    };
    return Object.defineProperty(cursor, '$move', { value: $move });
  }

  #class(key: string): new () => Place {
    const known = this.#classes.get(key);
    if (known !== undefined) return known;
    const type = typeForm(this.#interpreter.plan, key);
    const ops = this.#interpreter.type(key);
    const made = cursorClass(ops);
    this.#classes.set(key, made);
    if (type.form === 'struct') this.#getters(made, type.parts);
    else if (type.isPlain) getter(made, '$value', () => (d, b, p) => ops.read(d, b, p));
    else this.#variants(made, key);
    return made;
  }

  #getters(made: new () => Place, parts: readonly Part[]): void {
    for (const { name, at, form } of parts) {
      getter(made, name, () => {
        const look = this.#look(form);
        return (d, b, p, lo) => look(d, b, p + at, lo);
      });
    }
  }

  #variants(made: new () => Place, key: string): void {
    const type = typeForm(this.#interpreter.plan, key);
    if (type.form !== 'enum') return;
    const byTag = new Map(type.variants.map((variant) => [variant.tag, variant]));
    getter(made, 'kind', () => (d, _, p) => {
      const tag = d.getUint8(p);
      const name = byTag.get(tag)?.name ?? type.fallback;
      if (name === undefined) throw unknownVariant(type.name, tag);
      return name;
    });
    getter(made, 'value', () => {
      const cursors = new Map<string, Place>();
      return (d, b, p, lo) => {
        const variant = byTag.get(d.getUint8(p));
        if (variant === undefined || variant.shape === 'unit') return undefined;
        const { name, shape, parts } = variant;
        let cursor = cursors.get(name);
        if (cursor === undefined) {
          const form = { form: 'tuple', parts, size: type.size, align: type.align } as const;
          const ops = this.#interpreter.ops(form);
          const read = (x: DataView, y: Buffer, z: number): unknown => {
            const list = ops.read(x, y, z) as unknown[];
            if (shape === 'tuple') return list;
            return Object.fromEntries(parts.map((part, index) => [part.name, list[index]]));
          };
          const held = cursorClass({ ...ops, read });
          this.#getters(held, parts);
          cursors.set(name, (cursor = new held()));
        }
        return cursor.$set(d, b, p, lo);
      };
    });
  }

  /** How a form is read in place, with cursors of its own. */
  #look(form: Form): Look {
    switch (form.form) {
      case 'string':
        return form.intern ? strings.viewShared : strings.viewString;
      case 'boxstr':
        return strings.viewBoxStr;
      case 'bytes':
        return viewBytes;
      case 'blob':
        return (_, b, p) => new Uint8Array(b.buffer, p, form.length);
      case 'list': {
        const view = this.#list(form.elem);
        const { size } = form.elem;
        return (d, b, p, lo) => {
          const length = d.getUint32(p + 4, true);
          if (size === 0) checkEmpties(length);
          return view.$set(d, b, target(d, p, length * size, lo), lo, length);
        };
      }
      case 'array': {
        const view = this.#list(form.elem);
        return (d, b, p, lo) => view.$set(d, b, p, lo, form.length);
      }
      case 'box': {
        const look = this.#look(form.elem);
        return (d, b, p, lo) => look(d, b, target(d, p, form.elem.size, lo), lo);
      }
      case 'option': {
        const look = this.#look(form.elem);
        const inner: Look = (d, b, p, lo) => look(d, b, p + form.align, lo);
        const held = form.nested ? wrapped(inner) : inner;
        return (d, b, p, lo) => (isSome(d, p) ? held(d, b, p, lo) : null);
      }
      case 'some': {
        const look = this.#look(form.elem);
        return form.nested ? wrapped(look) : look;
      }
      case 'tuple': {
        const made = cursorClass(this.#interpreter.ops(form));
        this.#getters(made, form.parts);
        const cursor = new made();
        return (d, b, p, lo) => cursor.$set(d, b, p, lo);
      }
      case 'map': {
        const { map } = this.#interpreter.ops(form);
        if (map === undefined) throw new TypeError('invariant: a map has operations of maps');
        const value = this.#look(form.value);
        const view = new MapCursor(map.ops, map.rules, value);
        return (d, b, p, lo) => view.$set(d, b, p, lo);
      }
      case 'type':
        return this.#type(form.type);
      case 'constant': {
        if (form.shown === null) break;
        const { place, d, b, at } = form.shown;
        const look = this.#look(place);
        return () => look(d, b, at, 0);
      }
      default:
        break;
    }
    const ops = this.#interpreter.ops(form);
    return (d, b, p) => ops.read(d, b, p);
  }

  #type(key: string): Look {
    const type = typeForm(this.#interpreter.plan, key);
    const ops = this.#interpreter.type(key);
    if (type.form === 'enum' && type.isPlain) return (d, b, p) => ops.read(d, b, p);
    let cursor: Place | undefined;
    return (d, b, p, lo) => (cursor ??= new (this.#class(key))()).$set(d, b, p, lo);
  }

  #list(form: Form): ListCursor<unknown, unknown> {
    const ops = this.#interpreter.ops(form);
    let look: Look | undefined;
    const lookAt = (): Look => (look ??= this.#look(form));
    return new InterpretedList(ops, lookAt);
  }
}

class InterpretedList extends ListCursor<unknown, unknown> {
  readonly #ops: Ops;
  readonly #look: () => Look;

  constructor(ops: Ops, look: () => Look) {
    super();
    this.#ops = ops;
    this.#look = look;
  }

  override at(index: number): unknown {
    if (!(index >= 0 && index < this.length && Number.isInteger(index))) {
      throw noElement(index, this.length);
    }
    const p = this.$p + index * this.#ops.size;
    return this.#look()(this.$d, this.$b, p, this.$lo);
  }

  override toArray(): unknown[] {
    const { size } = this.#ops;
    limit(this.$lo, this.$p + this.length * size);
    const values: unknown[] = [];
    for (let index = 0; index < this.length; index++) {
      values.push(this.#ops.read(this.$d, this.$b, this.$p + index * size));
    }
    return values;
  }
}

function wrapped(look: Look): Look {
  return (d, b, p, lo) => ({ some: look(d, b, p, lo) });
}

function cursorClass(ops: Pick<Ops, 'read' | 'size'>): new () => Place {
  return class extends Place {
    $toObject(): unknown {
      return this.$look((d, b, p, lo) => {
        limit(lo, p + ops.size);
        try {
          return ops.read(d, b, p);
        } catch (error) {
          throw unreadable('', error);
        }
      });
    }
  };
}

/** Defines a getter whose closure, with cursors of its own, is made for each cursor when needed. */
function getter(made: new () => Place, name: string, look: () => Look): void {
  const looks = new WeakMap<Place, Look>();
  Object.defineProperty(made.prototype, name, {
    enumerable: true,
    configurable: true,
    get(this: Place) {
      let own = looks.get(this);
      if (own === undefined) looks.set(this, (own = look()));
      return this.$look(own);
    },
  });
}
