/**
 * Views: cursors that read an archive in place. A cursor is moved, not made, from one value to the
 * next, so reading numbers allocates nothing; what a getter of a struct, list or map returns is
 * another cursor, the same one each time.
 *
 * Members of this package begin with `$` on cursors of structs, because no Rust field can.
 */

import { inspect } from 'node:util';

import { BusbarError, show } from '../errors.js';
import type { MapOps, MapRules, Visit } from './maps.js';
import { region, limits, enterArchive, tooShort } from './region.js';

/** Members of every cursor over a value of type T. */
export interface Cursor<T> {
  /** A copy of what the cursor stands on, as plain values. */
  $toObject(): T;
}

/** A cursor that goes to another archive instead of being made again. */
export interface Movable<V> {
  /** The cursor itself, moved. */
  $move(bytes: Uint8Array, offset?: number, size?: number): V;
}

/** A cursor that can be moved to another archive. */
export interface RootCursor<T> extends Cursor<T> {
  /**
   * Moves the cursor to the archive in `bytes`, or in `size` of its bytes from `offset` on, and
   * returns it. Nested cursors that were taken from it are not moved.
   */
  $move(bytes: Uint8Array, offset?: number, size?: number): this;
}

type Plain = string | number | bigint | boolean | null | undefined | Uint8Array;

/** What reading T in place looks like: plain values, and cursors for everything else. */
export type ViewOf<T> = T extends Plain
  ? T
  : T extends ReadonlyMap<infer K, infer V>
    ? MapView<K, V>
    : T extends readonly (infer E)[]
      ? number extends T['length']
        ? ListView<E>
        : TupleView<T>
      : StructView<T>;

/** A cursor over a struct, an enum with data, or the wrapper of a nested option. */
export type StructView<T> = { readonly [K in keyof T]: ViewOf<T[K]> } & Cursor<T>;

/** A cursor over a tuple. */
export type TupleView<T> = {
  readonly [K in keyof T as K extends `${number}` ? K : never]: ViewOf<T[K]>;
} & Cursor<T>;

/** A cursor over the root of an archive. */
export type RootView<T> = (T extends Plain ? { readonly $value: T } : ViewOf<T>) & RootCursor<T>;

/** Reads the elements of a list in place. */
export type ListView<T> = ListCursor<T, ViewOf<T>>;

/** Reads the entries of a map in place. */
export type MapView<K, V> = MapCursor<K, V, ViewOf<V>>;

/**
 * What every cursor is printed and serialised as: a copy of what it stands on, not the memory
 * around it.
 */
// oxlint-disable-next-line typescript/no-extraneous-class -- its members are defined below
export abstract class ShownCursor {}

/**
 * A member of cursors that keeps them from being cloned, which would copy all the memory around:
 * with private members, reading or making cursors would be slower.
 */
export const UNCLONED: unique symbol = Symbol(
  'A cursor; clone what $toObject(), toArray() or toMap() gives. It',
);

/** Hides the members of a cursor whose type has a field called as what JSON asks for. */
export function hide(cursor: ShownCursor): void {
  for (const name of Object.keys(cursor)) {
    Object.defineProperty(cursor, name, { enumerable: false });
  }
}

interface Copies {
  $toObject?(): unknown;
  toArray?(): unknown;
  toMap?(): unknown;
}

function copied(this: Copies): unknown {
  return this.$toObject?.() ?? this.toArray?.() ?? this.toMap?.();
}

function shown(this: Copies): unknown {
  try {
    return copied.call(this);
  } catch (error) {
    return `[a cursor that cannot be read: ${error instanceof Error ? error.message : ''}]`;
  }
}

// Not as methods: the fields of a type may have these names.
Object.defineProperties(ShownCursor.prototype, {
  toJSON: { value: copied, configurable: true, writable: true },
  [inspect.custom]: { value: shown, configurable: true, writable: true },
});

/** Reads the elements of a list in place: of values T, seen as V. */
export abstract class ListCursor<T, V> extends ShownCursor {
  /** @internal */
  $d: DataView = region.d;
  /** @internal */
  $b: Buffer = region.b;
  /** @internal */
  $p = 0;
  /** @internal */
  $lo = 0;
  /** @internal */
  $n = 0;
  /** @internal */
  readonly $uncloned: symbol = UNCLONED;

  /** How many elements there are. */
  get length(): number {
    return this.$n;
  }

  /** @internal */
  $set(d: DataView, b: Buffer, p: number, lo: number, length: number): this {
    if (this.$d !== d) {
      this.$d = d;
      this.$b = b;
    }
    this.$p = p;
    this.$lo = lo;
    this.$n = length;
    return this;
  }

  /** An element; cursors of elements are one and the same. Throws if there is no such element. */
  abstract at(index: number): V;

  /** The elements in order; if they are cursors, one and the same cursor. */
  *[Symbol.iterator](): Generator<V, void, undefined> {
    for (let index = 0; index < this.$n; index++) yield this.at(index);
  }

  /** A copy of everything in it. */
  abstract toArray(): T[];
}

/** The error for an index that is not there. */
export function noElement(index: number, length: number): BusbarError {
  const message = `there is no element ${index}; there are ${length}`;
  return new BusbarError('ERR_INVALID_ARGUMENT', message);
}

/**
 * Reads the entries of a map in place: of values V, seen as W. Looking up is a walk: for many
 * lookups, take `toMap()`.
 */
export class MapCursor<K, V, W> extends ShownCursor {
  readonly #ops: MapOps<K, V>;
  readonly #rules: MapRules<K, V>;
  readonly #view: (d: DataView, b: Buffer, p: number, lo: number) => W;
  /** @internal */
  readonly $uncloned: symbol = UNCLONED;
  #d: DataView = region.d;
  #b: Buffer = region.b;
  #p = 0;
  #lo = 0;

  /** @internal */
  constructor(
    ops: MapOps<K, V>,
    rules: MapRules<K, V>,
    view: (d: DataView, b: Buffer, p: number, lo: number) => W,
  ) {
    super();
    this.#ops = ops;
    this.#rules = rules;
    this.#view = view;
  }

  /** @internal */
  $set(d: DataView, b: Buffer, p: number, lo: number): this {
    if (this.#d !== d) {
      this.#d = d;
      this.#b = b;
    }
    this.#p = p;
    this.#lo = lo;
    return this;
  }

  /** How many entries there are. */
  get size(): number {
    return this.#d.getUint32(this.#p + 4, true);
  }

  /**
   * The value of a key.
   *
   * @throws BusbarError `ERR_INVALID_ARGUMENT` if it is none of the type that keys have
   */
  get(key: K): W | undefined {
    let found: W | undefined;
    const keyAt = this.#keys();
    this.#visit((k, v) => {
      if (!this.#isSame(keyAt(k), key)) return false;
      found = this.#value(v);
      return true;
    });
    return found;
  }

  /** Whether there is such a key. */
  has(key: K): boolean {
    return this.get(key) !== undefined;
  }

  /** Calls `visit` with each entry; cursors of values are one and the same. */
  forEach(visit: (value: W, key: K) => void): void {
    const keyAt = this.#keys();
    this.#visit((k, v) => {
      visit(this.#value(v), keyAt(k));
      return false;
    });
  }

  /**
   * The keys, copied, with their values; if those are cursors, with one and the same cursor. The
   * order is that of the archive.
   */
  *[Symbol.iterator](): Generator<[K, W], void, undefined> {
    const places: [key: number, value: number][] = [];
    this.#visit((k, v) => {
      places.push([k, v]);
      return false;
    });
    const keyAt = this.#keys();
    for (const [k, v] of places) yield [keyAt(k), this.#value(v)];
  }

  /** The keys, copied. */
  keys(): K[] {
    const keys: K[] = [];
    this.forEach((_, key) => keys.push(key));
    return keys;
  }

  /** A copy of everything in it. */
  toMap(): Map<K, V> {
    limit(this.#lo, this.#p);
    return this.#ops.read(this.#d, this.#b, this.#p);
  }

  #visit(visit: Visit): void {
    const budget = { left: this.#p - this.#lo };
    this.#ops.visit(this.#d, this.#p, this.#lo, budget, visit);
  }

  #isSame(known: K, key: K): boolean {
    try {
      return this.#rules.rules.compare(known, key) === 0;
    } catch (cause) {
      const message = `no key of the map is ${show(key)}`;
      throw new BusbarError('ERR_INVALID_ARGUMENT', message, { cause });
    }
  }

  /** What reads the keys of one walk: together, as in `toMap()`, they read each byte once. */
  #keys(): (p: number) => K {
    let left = this.#p - this.#lo;
    let empties = 0;
    return (p) => {
      limits.lo = this.#lo;
      limits.left = left;
      limits.empties = empties;
      const key = this.#rules.key.read(this.#d, this.#b, p);
      ({ left, empties } = limits);
      return key;
    };
  }

  #value(p: number): W {
    return this.#view(this.#d, this.#b, p, this.#lo);
  }
}

/** Lets a copy of something at `p`, in an archive from `lo` on, read what lies between. */
export function limit(lo: number, p: number): void {
  limits.lo = lo;
  limits.left = p - lo;
  limits.empties = 0;
}

/** The part of `bytes` that a cursor is moved to, as the position of its root. */
export function rootOf(
  name: string,
  bytes: Uint8Array,
  size: number,
  offset: number,
  length: number,
): number {
  // First of all: it says what is wrong with what is no memory.
  const start = enterArchive(name, bytes, 0) - bytes.length;
  const isInside =
    Number.isInteger(offset) &&
    Number.isInteger(length) &&
    offset >= 0 &&
    length >= 0 &&
    offset + length <= bytes.length;
  if (!isInside) {
    const message = `there are no ${length} bytes at ${offset}; there are ${bytes.length}`;
    throw new BusbarError('ERR_INVALID_ARGUMENT', message);
  }
  if (length < size) throw tooShort(name, bytes, length, size);
  return start + offset + length - size;
}
