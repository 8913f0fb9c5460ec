/**
 * HashMap and BTreeMap, as rkyv 0.8 archives them (docs/formats): a swiss table whose buckets lie
 * backwards before its control bytes, and a B-tree of five entries a node. Keys and values are read
 * and written by whoever owns the map's type; here is how they are arranged.
 */

import type { KeyRules } from './keys.js';
import { FxHasher } from './keys.js';
import { alignUp } from './layout.js';
import { zero } from './lists.js';
import { bad } from './numbers.js';
import { archiveInvalid } from './problems.js';
import { limits, outside } from './region.js';
import type { Sink } from './sink.js';

/** How keys or values are read and, unless they are of another version, written. */
export interface EntryPart<T> {
  readonly size: number;
  readonly align: number;
  /** Numbers remembered between the phases, at most. */
  readonly slots: number;
  readonly read: (d: DataView, b: Buffer, p: number) => T;
  readonly out: (s: Sink, value: T) => void;
  readonly fix: (s: Sink, d: DataView, value: T, p: number) => void;
}

/** A kind of map. */
export interface MapRules<K, V> {
  readonly sorted: boolean;
  readonly key: EntryPart<K>;
  readonly value: EntryPart<V>;
  readonly rules: KeyRules<K>;
  /** Whether it is of another version, which is only read. */
  readonly readsOnly?: boolean;
}

/** Reads and writes maps of one kind. */
export interface MapOps<K, V> {
  /** Phase one. Phase two is {@link fixMap}. */
  out(s: Sink, map: ReadonlyMap<K, V>): void;
  read(d: DataView, b: Buffer, p: number): Map<K, V>;
  /**
   * Calls `visit` with the positions of each entry, until it answers true. What the walk touches is
   * charged to `budget`.
   */
  visit(d: DataView, p: number, lo: number, budget: Budget, visit: Visit): void;
}

/** How many bytes may still be touched: no archive has the same ones in two maps. */
export interface Budget {
  left: number;
}

/** Is told where a key and its value are; `true` ends the walk. */
export type Visit = (key: number, value: number) => boolean;

const GROUP = 16;
const NODE = 5;
const EMPTY = 0xff;
/** What a pointer says that points nowhere. */
const NOWHERE = 1;
const LEAF = 0;
const INNER = 1;

/** Where things are in a map of one kind. */
export interface MapLayout {
  readonly entry: { readonly size: number; readonly align: number; readonly value: number };
  readonly node: {
    readonly size: number;
    readonly align: number;
    readonly keys: number;
    readonly values: number;
    /** Of the node within a leaf or inner node. */
    readonly tail: number;
  };
  readonly leaf: { readonly size: number; readonly align: number };
  readonly inner: { readonly size: number; readonly align: number };
}

type Sized = { readonly size: number; readonly align: number };

/** Where things are in maps with such keys and values. */
export function mapLayout(key: Sized, value: Sized): MapLayout {
  const align = Math.max(key.align, value.align);
  const at = alignUp(key.size, value.align);
  const entry = { size: alignUp(at + value.size, align), align, value: at };
  const keys = alignUp(1, key.align);
  const values = alignUp(keys + NODE * key.size, value.align);
  const size = alignUp(values + NODE * value.size, align);
  const tail = alignUp(size, 4);
  const outer = Math.max(align, 4);
  return {
    entry,
    node: { size, align, keys, values, tail },
    leaf: { size: alignUp(tail + 4, outer), align: outer },
    inner: { size: alignUp(tail + 4 * (NODE + 1), outer), align: outer },
  };
}

/** Buckets of a table that holds `count` entries. */
export function capacityOf(count: number): number {
  return count === 0 ? 0 : Math.max(Math.floor((count * 8) / 7), count + 1);
}

/** Control bytes of a table with that many buckets. */
export function controlsOf(capacity: number): number {
  return alignUp(capacity, GROUP) + GROUP - 1;
}

/** What reads and writes maps of one kind. */
export function mapOps<K, V>(map: MapRules<K, V>): MapOps<K, V> {
  return map.sorted ? new TreeOps(map) : new TableOps(map);
}

/** Phase two of a map. */
export function fixMap(s: Sink, d: DataView, sorted: boolean, p: number): void {
  const { r, ri } = s;
  s.ri = ri + 2;
  const count = r[ri + 1] as number;
  d.setInt32(p, count === 0 ? NOWHERE : (r[ri] as number) + s.base - p, true);
  d.setUint32(p + 4, count, true);
  if (!sorted) d.setUint32(p + 8, capacityOf(count), true);
}

function entriesOf<K, V>(map: ReadonlyMap<K, V>): [K, V][] {
  if (map instanceof Map) return [...(map as Map<K, V>)];
  return bad(map, 'a Map');
}

/** The first of the sorted keys that says the same as the one before it. */
function doubled<K, V>(
  sorted: readonly (readonly [K, V])[],
  { compare, isPrimitive }: KeyRules<K>,
): readonly [K] | undefined {
  if (isPrimitive === true) return undefined;
  for (let i = 1; i < sorted.length; i++) {
    const [key] = sorted[i] as readonly [K, V];
    const [before] = sorted[i - 1] as readonly [K, V];
    if (compare(before, key) === 0) return [key];
  }
  return undefined;
}

function refuseDoubled<K, V>(sorted: readonly (readonly [K, V])[], rules: KeyRules<K>): void {
  const found = doubled(sorted, rules);
  if (found !== undefined) bad(found[0], 'a key that occurs once');
}

abstract class Base<K, V> {
  protected readonly map: MapRules<K, V>;
  protected readonly layout: MapLayout;

  constructor(map: MapRules<K, V>) {
    this.map = map;
    this.layout = mapLayout(map.key, map.value);
  }

  abstract visit(d: DataView, p: number, lo: number, budget: Budget, visit: Visit): void;

  read(d: DataView, b: Buffer, p: number): Map<K, V> {
    const { key, value, readsOnly } = this.map;
    const entries = new Map<K, V>();
    let count = 0;
    this.visit(d, p, limits.lo, limits, (k, v) => {
      entries.set(key.read(d, b, k), value.read(d, b, v));
      count++;
      return false;
    });
    if (readsOnly === true) this.#checkKept(entries, count);
    return entries;
  }

  /** Throws if keys that the writer tells apart are the same here, so that entries got lost. */
  #checkKept(entries: ReadonlyMap<K, V>, count: number): void {
    const { rules } = this.map;
    if (entries.size === count) {
      if (rules.isPrimitive === true) return;
      const sorted = [...entries].sort(([a], [b]) => rules.compare(a, b));
      if (doubled(sorted, rules) === undefined) return;
    }
    throw archiveInvalid('', 'a key of the map occurs twice, as this version reads it');
  }
}

class TableOps<K, V> extends Base<K, V> implements MapOps<K, V> {
  out(s: Sink, map: ReadonlyMap<K, V>): void {
    const entries = entriesOf(map);
    if (entries.length === 0) return s.push2(s.base, 0);
    const { key, value } = this.map;
    const { rules } = this.map;
    if (rules.isPrimitive !== true) {
      refuseDoubled(
        entries.toSorted(([a], [b]) => rules.compare(a, b)),
        rules,
      );
    }
    const { entry } = this.layout;
    const capacity = capacityOf(entries.length);
    const { controls, buckets } = this.#place(entries, capacity);
    const base = s.rp;
    s.reserve(entries.length * (key.slots + value.slots) + 2);
    const recall: number[] = [];
    for (const index of buckets) {
      recall.push(s.rp);
      const pair = index === undefined ? undefined : entries[index];
      if (pair === undefined) continue;
      key.out(s, pair[0]);
      value.out(s, pair[1]);
    }
    const start = s.take(capacity * entry.size, entry.align);
    const end = start + capacity * entry.size;
    zero(s.d, start, end);
    for (let bucket = 0; bucket < capacity; bucket++) {
      const pair = entries[buckets[bucket] ?? -1];
      if (pair === undefined) continue;
      const p = end - (bucket + 1) * entry.size;
      s.ri = recall[bucket] as number;
      key.fix(s, s.d, pair[0], p);
      value.fix(s, s.d, pair[1], p + entry.value);
    }
    s.rp = base;
    const at = s.take(controls.length, 1);
    s.b.set(controls, at);
    s.push2(at, entries.length);
  }

  /** Which entry goes into which bucket, and the control bytes. */
  #place(
    entries: readonly [K, V][],
    capacity: number,
  ): { controls: Uint8Array; buckets: (number | undefined)[] } {
    const controls = new Uint8Array(controlsOf(capacity)).fill(EMPTY);
    const buckets = Array.from<number | undefined>({ length: capacity });
    const hasher = new FxHasher();
    for (const [index, [key]] of entries.entries()) {
      hasher.reset();
      this.map.rules.hash(hasher, key);
      const bucket = freeBucket(controls, hasher.modulo(capacity), capacity);
      const tag = hasher.high >>> 25;
      controls[bucket] = tag;
      if (bucket < controls.length - capacity) controls[capacity + bucket] = tag;
      buckets[bucket] = index;
    }
    return { controls, buckets };
  }

  override visit(d: DataView, p: number, lo: number, budget: Budget, visit: Visit): void {
    const capacity = d.getUint32(p + 8, true);
    const length = d.getUint32(p + 4, true);
    if (length === 0) return;
    const { entry } = this.layout;
    const at = p + d.getInt32(p, true);
    const [start, end] = [at - capacity * entry.size, at + controlsOf(capacity)];
    budget.left -= end - start;
    if (start < lo || end > p || budget.left < 0) throw outside();
    checkDensity(length, capacity);
    for (let bucket = 0; bucket < capacity; bucket++) {
      if (d.getUint8(at + bucket) >= 0x80) continue;
      const key = at - (bucket + 1) * entry.size;
      if (visit(key, key + entry.value)) return;
    }
  }
}

/** Many empty buckets would make short archives take long; rkyv leaves few. */
export function checkDensity(length: number, capacity: number): void {
  if (capacity <= length * 4 + GROUP) return;
  throw archiveInvalid('', `a table of ${length} has ${capacity} buckets`);
}

/** The first free bucket on the probe sequence from `start`. */
function freeBucket(controls: Uint8Array, start: number, capacity: number): number {
  const probes = alignUp(capacity, GROUP);
  const mask = 2 ** Math.ceil(Math.log2(controls.length)) - 1;
  let [at, stride] = [start, 0];
  for (;;) {
    for (let bit = 0; bit < GROUP; bit++) {
      if (controls[at + bit] === EMPTY) return (at + bit) % capacity;
    }
    do {
      stride += GROUP;
      at = (at + stride) & mask;
    } while (at >= probes);
  }
}

/** A visit to all entries, and where the archive begins. */
interface Walk {
  readonly lo: number;
  readonly budget: Budget;
  readonly visit: Visit;
}

/** An entry of an inner node that is still open, and the child before it. */
type Pending<K, V> = readonly [entry: readonly [K, V], child: number];

class TreeOps<K, V> extends Base<K, V> implements MapOps<K, V> {
  out(s: Sink, map: ReadonlyMap<K, V>): void {
    const { compare } = this.map.rules;
    const entries = entriesOf(map).sort(([a], [b]) => compare(a, b));
    if (entries.length === 0) return s.push2(s.base, 0);
    refuseDoubled(entries, this.map.rules);
    s.reserve(NODE * (this.map.key.slots + this.map.value.slots) + 2);
    s.push2(this.#write(s, entries), entries.length);
  }

  /** Writes the nodes, children first, in the order rkyv does; where the root is. */
  #write(s: Sink, entries: readonly (readonly [K, V])[]): number {
    let height = 1;
    for (let rest = entries.length; rest >= NODE + 1; rest = Math.floor(rest / (NODE + 1)))
      height++;
    const lastLevel = entries.length - ((NODE + 1) ** (height - 1) - 1);
    const open: Pending<K, V>[][] = Array.from({ length: height - 1 }, () => []);
    let leaf: (readonly [K, V])[] = [];
    let [child, next, inLeaves] = [-1, 0, 0];
    const take = (): readonly [K, V] => entries[next++] as readonly [K, V];
    while (next < entries.length) {
      leaf.push(take());
      inLeaves++;
      if (inLeaves !== lastLevel && leaf.length < NODE) continue;
      child = this.#leaf(s, leaf);
      leaf = [];
      if (inLeaves === lastLevel) {
        const inner = open.pop();
        if (inner !== undefined) {
          while (inner.length < NODE && next < entries.length) {
            inner.push([take(), child]);
            child = -1;
          }
          child = this.#inner(s, inner, child);
        }
      }
      for (let closed = 0; ; closed++) {
        const inner = open.at(-1);
        if (inner === undefined) break;
        if (inner.length === NODE) {
          child = this.#inner(s, inner, child);
          open.pop();
          continue;
        }
        inner.push([take(), child]);
        child = -1;
        for (; closed > 0; closed--) open.push([]);
        break;
      }
    }
    if (leaf.length > 0) child = this.#leaf(s, leaf);
    for (let inner = open.pop(); inner !== undefined; inner = open.pop()) {
      child = this.#inner(s, inner, child);
    }
    return child;
  }

  #leaf(s: Sink, entries: readonly (readonly [K, V])[]): number {
    const { leaf, node } = this.layout;
    const p = this.#node(s, entries, LEAF, leaf);
    s.d.setUint32(p + node.tail, entries.length, true);
    return p;
  }

  #inner(s: Sink, entries: readonly Pending<K, V>[], greater: number): number {
    const { inner, node } = this.layout;
    const pairs = entries.map(([entry]) => entry);
    const p = this.#node(s, pairs, INNER, inner);
    for (const [index, child] of [...entries.map(([, one]) => one), greater].entries()) {
      const at = p + node.tail + index * 4;
      s.d.setInt32(at, child < 0 ? NOWHERE : child - at, true);
    }
    return p;
  }

  #node(s: Sink, entries: readonly (readonly [K, V])[], kind: number, layout: Sized): number {
    const { key, value } = this.map;
    const { keys, values } = this.layout.node;
    const base = s.rp;
    for (const [k, v] of entries) {
      key.out(s, k);
      value.out(s, v);
    }
    const p = s.take(layout.size, layout.align);
    zero(s.d, p, p + layout.size);
    s.d.setUint8(p, kind);
    s.ri = base;
    for (const [index, [k, v]] of entries.entries()) {
      key.fix(s, s.d, k, p + keys + index * key.size);
      value.fix(s, s.d, v, p + values + index * value.size);
    }
    s.rp = base;
    return p;
  }

  override visit(d: DataView, p: number, lo: number, budget: Budget, visit: Visit): void {
    // Nodes that several others point to would be walked again and again: each byte counts once.
    if (d.getUint32(p + 4, true) !== 0) this.#walk(d, p, { lo, budget, visit });
  }

  /** Visits the node that the pointer at `p` leads to; whether the walk ended. */
  #walk(d: DataView, p: number, walk: Walk): boolean {
    const { lo, budget, visit } = walk;
    const { node, leaf, inner } = this.layout;
    const at = p + d.getInt32(p, true);
    const isLeaf = at >= lo && at < p && d.getUint8(at) === LEAF;
    const { size } = isLeaf ? leaf : inner;
    budget.left -= size;
    if (at < lo || at + size > p || budget.left < 0) throw outside();
    const count = isLeaf ? d.getUint32(at + node.tail, true) : NODE;
    if (count > NODE) throw outside();
    for (let index = 0; index < count; index++) {
      if (!isLeaf && this.#child(d, at + node.tail + index * 4, walk)) return true;
      const key = at + node.keys + index * this.map.key.size;
      if (visit(key, at + node.values + index * this.map.value.size)) return true;
    }
    return !isLeaf && this.#child(d, at + node.tail + NODE * 4, walk);
  }

  #child(d: DataView, p: number, walk: Walk): boolean {
    return d.getInt32(p, true) !== NOWHERE && this.#walk(d, p, walk);
  }
}
