/**
 * Descriptors for the specs, written the way types are declared: `describe('m.A', { 'm.A': {…} })`
 * fills in what follows from that. Whether what is filled in is right, the golden archives tell.
 */

import { readFileSync } from 'node:fs';

import { completeDescriptor } from '../../lib/schema/check.js';
import type { Descriptor } from '../../lib/schema/descriptor.js';

/** A place or a kind by its word: `'u8'`, `['vec', 'string']`, `{ kind: 'u64', ts: 'number' }`. */
export type Sketch = string | readonly unknown[] | { readonly [member: string]: unknown };
type Fields = Readonly<Record<string, Sketch>> | readonly Sketch[] | null;
export type TypeSketch = Fields | { readonly enum: Readonly<Record<string, Fields>> };

/** A complete descriptor of sketched types. */
export function describe(root: string, types: Readonly<Record<string, TypeSketch>>): Descriptor {
  const drafts = Object.entries(types).map(([name, type]) => [name, typeFrom(type)]);
  return completeDescriptor({
    abi: 1,
    format: 'rkyv0.8/le/aligned/p32',
    root,
    types: Object.fromEntries(drafts),
  });
}

function typeFrom(sketch: TypeSketch): object {
  const blank = { size: 0, align: 1, hash: '0'.repeat(16), text: '' };
  if (sketch === null || !('enum' in sketch) || typeof sketch['enum'] === 'string') {
    return { kind: 'struct', ...blank, ...fieldsFrom(sketch as Fields) };
  }
  const { enum: list, ...rest } = sketch as { enum: Record<string, Fields> };
  const variants = Object.entries(list).map(([name, fields], tag) => ({
    name,
    tag,
    ...fieldsFrom(fields),
  }));
  return { kind: 'enum', tag: 'u8', ...blank, variants, ...rest };
}

function fieldsFrom(sketch: Fields): object {
  if (sketch === null) return { shape: 'unit', fields: [] };
  const shape = Array.isArray(sketch) ? 'tuple' : 'named';
  const fields = Object.entries(sketch).map(([name, place]) => ({
    name,
    offset: 0,
    ...placeFrom(place as Sketch),
  }));
  return { shape, fields };
}

function placeFrom(sketch: Sketch): object {
  const blank = { size: 0, align: 1 };
  if (typeof sketch === 'string') {
    if (!sketch.includes('.')) return { kind: sketch, ...blank };
    const recursive = sketch.startsWith('@');
    return {
      kind: 'type',
      type: sketch.replace('@', ''),
      ...blank,
      ...(recursive ? { recursive } : {}),
    };
  }
  if (Array.isArray(sketch)) return { ...blank, ...kindFrom(sketch as [string, ...Sketch[]]) };
  const { of, ...rest } = sketch as { of: Sketch };
  return { ...placeFrom(of), ...rest };
}

function kindFrom([kind, first = 'unit', second = 'unit', ...more]: [string, ...Sketch[]]): object {
  if (kind === 'hashmap' || kind === 'btreemap') {
    return { kind, key: placeFrom(first), value: placeFrom(second) };
  }
  if (kind === 'tuple') {
    const elems = [first, ...(second === 'unit' ? [] : [second]), ...more];
    return { kind, elems: elems.map((elem) => ({ ...placeFrom(elem), offset: 0 })) };
  }
  const elem = { ...placeFrom(first), ...(kind === 'option' ? { offset: 0 } : {}) };
  if (kind === 'array') return { kind, elem, length: Number(second) };
  return { kind, elem };
}

/** Archives that rkyv made, by name. */
export interface Golden {
  readonly name: string;
  readonly type: string;
  readonly hex: string;
  /** Of hash maps: the keys in the order in which rkyv met them, since buckets follow from it. */
  readonly order?: Readonly<Record<string, readonly unknown[]>>;
}

/** Archives made by rkyv 0.8.18 of the types in {@link SAMPLES}. */
export const GOLDEN: readonly Golden[] = readJson('rkyv-golden.json') as Golden[];

/** Archives made by rkyv 0.8.16, in hex. */
export const VECTORS = readJson('rkyv-vectors.json') as Readonly<Record<string, string>>;

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../fixtures/schema/${name}`, import.meta.url), 'utf8'));
}

const TRIPLE = ['array', 'f32', '3'];
const POSITION = {
  id: { of: 'u64', ts: 'number' },
  pos: TRIPLE,
  vel: TRIPLE,
  flags: 'u32',
  ts: { of: 'u64', ts: 'number' },
};
const SIDE = { enum: { Buy: null, Sell: null } };
const ORDER = {
  id: { of: 'u64', ts: 'number' },
  symbol: { of: 'string', intern: true },
  side: 'market.Side',
  price: 'f64',
  qty: 'f64',
  tags: ['vec', 'string'],
  note: ['option', 'string'],
};
const SHAPE = {
  enum: {
    Empty: null,
    Rgb: ['u8', 'u8', 'u8'],
    Circle: { radius: 'f32' },
    Label: ['string'],
    Pair: ['u16', 'boxstr', ['option', 'u64']],
  },
} as const;

/** Everything there is, once. */
export const KITCHEN: TypeSketch = {
  b: 'bool',
  u8_: 'u8',
  u16_: 'u16',
  u32_: 'u32',
  u64_: 'u64',
  u128_: 'u128',
  i8_: 'i8',
  i16_: 'i16',
  i32_: 'i32',
  i64_: 'i64',
  i128_: 'i128',
  f32_: 'f32',
  f64_: 'f64',
  ch: 'char',
  unit: 'unit',
  s: 'string',
  bs: 'boxstr',
  bytes: ['vec', 'u8'],
  words: ['vec', 'u32'],
  slice: ['boxslice', 'u16'],
  boxed: ['box', 'u64'],
  arr: ['array', 'u16', '3'],
  bytes4: ['array', 'u8', '4'],
  ou8: ['option', 'u8'],
  ou16: ['option', 'u16'],
  oo: ['option', ['option', 'u16']],
  tup: ['tuple', 'u8', 'string', 'u32'],
  u: 'all.Unit',
  pt: 'all.Pt',
  shape: 'all.Shape',
  shapes: ['vec', 'all.Shape'],
  nested: ['vec', ['vec', 'string']],
  ostr: ['option', 'string'],
  oarr: ['array', ['option', 'string'], '2'],
  empty: ['vec', 'u64'],
  tail: 'u8',
};

/** Descriptors of the golden archives, by the name of the Rust type. */
export const SAMPLES: Readonly<Record<string, Descriptor>> = {
  Position: describe('market.Position', { 'market.Position': POSITION }),
  Order: describe('market.Order', { 'market.Order': ORDER, 'market.Side': SIDE }),
  Snapshot: describe('market.Snapshot', {
    'market.Snapshot': { entities: ['vec', 'market.Entity'] },
    'market.Entity': { position: 'market.Position', name: 'string' },
    'market.Position': POSITION,
  }),
  Shape: describe('all.Shape', { 'all.Shape': SHAPE }),
  Kitchen: describe('all.Kitchen', {
    'all.Kitchen': KITCHEN,
    'all.Shape': SHAPE,
    'all.Unit': null,
    'all.Pt': ['f32', 'f64'],
  }),
  Maps: describe('all.Maps', {
    'all.Maps': {
      names: ['hashmap', 'string', 'u32'],
      by_id: ['hashmap', 'u64', 'string'],
      tree: ['btreemap', 'u32', 'string'],
      words: ['btreemap', 'string', ['vec', 'u16']],
      e1: ['hashmap', 'u8', 'u8'],
      e2: ['btreemap', 'u8', 'u8'],
    },
  }),
  Trees: describe('all.Trees', {
    'all.Trees': {
      small: ['btreemap', 'u8', 'u64'],
      words: ['btreemap', 'string', ['vec', 'string']],
      pairs: ['btreemap', ['tuple', 'u16', 'bool'], 'all.Shape'],
    },
    'all.Shape': SHAPE,
  }),
  Tables: describe('all.Tables', {
    'all.Tables': {
      nums: ['hashmap', 'i32', 'u8'],
      strs: ['hashmap', 'string', 'string'],
      bigs: ['hashmap', 'u64', 'u16'],
      huge: ['hashmap', 'i128', 'bool'],
      bytes: ['hashmap', ['vec', 'u8'], 'u8'],
      ints: ['hashmap', ['array', 'u16', '3'], 'u8'],
      tups: ['hashmap', ['tuple', 'i8', ['option', 'char']], 'u8'],
      keys: ['hashmap', 'all.Key', 'u32'],
    },
    'all.Key': {
      enum: { None: null, Num: ['u32', 'string'], Named: { flag: 'bool', ch: 'char' } },
    },
  }),
  Tick: describe('market.Tick', {
    'market.Tick': { tick: 'u64', entities: ['vec', 'market.Entity'] },
    'market.Entity': { position: 'market.Position', name: 'string' },
    'market.Position': POSITION,
  }),
  Node: describe('all.Node', {
    'all.Node': {
      name: 'string',
      children: ['vec', '@all.Node'],
      next: ['option', ['box', '@all.Node']],
    },
  }),
};
