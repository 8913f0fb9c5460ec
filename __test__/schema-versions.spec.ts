/** Versions of a type: what comparing them says, and what reading one as another gives. */

import test from 'ava';

import { readFileSync } from 'node:fs';

import { compile, SchemaError, type CompileOptions } from '../index.js';
import { compareDescriptors } from '../lib/schema/compare.js';
import type { Descriptor } from '../lib/schema/descriptor.js';
import { random, seedOfRun } from './helpers/data.js';
import { pairOf } from './helpers/pairs.js';
import { describe, type Sketch, type TypeSketch } from './helpers/schemas.js';

type Types = Readonly<Record<string, TypeSketch>>;

const order = (fields: TypeSketch, more: Types = {}): Descriptor =>
  describe('market.Order', { 'market.Order': fields, ...more });
const one = (a: Sketch): Descriptor => order({ a });
const side = (names: readonly string[], more: object = {}): Descriptor => {
  const list = Object.fromEntries(names.map((name) => [name, null]));
  return describe('m.Side', { 'm.Side': { enum: list, ...more } as TypeSketch });
};
const node = (v: Sketch): Descriptor =>
  describe('a.Node', { 'a.Node': { v, n: ['vec', '@a.Node'] } });

type Case = readonly [
  writer: Descriptor,
  reader: Descriptor,
  kind: 'identical' | 'resolvable' | 'incompatible',
  ...reasons: string[],
];

const BOTH = order({ a: 'string', b: 'string' });

/** Rust compares the same pairs: crates/busbar-types/tests/it/comparisons.rs. */
const CASES: readonly Case[] = [
  [one('string'), one('string'), 'identical'],
  [one('string'), order({ a: { of: 'string', default: 'x' } }), 'identical'],
  [one('string'), BOTH, 'incompatible', 'Order.b: added without a default'],
  [BOTH, one('string'), 'resolvable', 'Order.b: removed'],
  [BOTH, order({ b: 'string', a: 'string' }), 'resolvable', 'Order: fields reordered'],
  [
    one('string'),
    order({ a: 'string', b: { of: 'string', default: '' } }),
    'resolvable',
    'Order.b: added with a default',
  ],
  [
    one('string'),
    order({ a: 'string', b: ['option', 'string'] }),
    'resolvable',
    'Order.b: added, reads as None',
  ],
  [
    one('string'),
    order({ b: { of: 'string', aliases: ['a'] } }),
    'resolvable',
    'Order.b: renamed from a',
  ],
  [one('u8'), one('u64'), 'resolvable', 'Order.a: u8 → u64'],
  [one('i8'), one('i128'), 'resolvable', 'Order.a: i8 → i128'],
  [one('u32'), one('i64'), 'resolvable', 'Order.a: u32 → i64'],
  [one('f32'), one('f64'), 'resolvable', 'Order.a: f32 → f64'],
  [one('u16'), one('i16'), 'incompatible', 'Order.a: u16 → i16'],
  [one('i8'), one('u64'), 'incompatible', 'Order.a: i8 → u64'],
  [one('u64'), one('u32'), 'incompatible', 'Order.a: u64 → u32'],
  [one('f64'), one('f32'), 'incompatible', 'Order.a: f64 → f32'],
  [one('u8'), one('f64'), 'incompatible', 'Order.a: u8 → f64'],
  [one('char'), one('u32'), 'incompatible', 'Order.a: char → u32'],
  [one('string'), one(['option', 'string']), 'resolvable', 'Order.a: str → opt<str>'],
  [one(['option', 'string']), one('string'), 'incompatible', 'Order.a: opt<str> → str'],
  [one(['vec', 'string']), one(['vec', 'u32']), 'incompatible', 'Order.a[]: str → u32'],
  [
    one(['array', 'u8', '3']),
    one(['array', 'u8', '4']),
    'incompatible',
    'Order.a: [u8;3] → [u8;4]',
  ],
  [
    one(['tuple', 'u8', 'string']),
    one(['tuple', 'u16', 'string']),
    'resolvable',
    'Order.a.0: u8 → u16',
  ],
  [
    one(['btreemap', 'u8', 'u8']),
    one(['btreemap', 'u16', 'string']),
    'incompatible',
    'Order.a[]: u8 → str',
    'Order.a[key]: u8 → u16',
  ],
  [
    one(['box', ['vec', 'f32']]),
    one(['box', ['vec', 'f64']]),
    'resolvable',
    'Order.a[]: f32 → f64',
  ],
  [side(['Buy', 'Sell']), side(['Buy', 'Sell', 'Hold']), 'resolvable', 'Side.Hold: variant added'],
  [
    side(['Buy', 'Sell', 'Hold']),
    side(['Buy', 'Sell']),
    'resolvable',
    'Side.Hold: unknown variant, an error when it comes',
  ],
  [
    side(['Buy', 'Sell', 'Hold']),
    side(['Buy', 'Sell'], { defaultVariant: 'Sell' }),
    'resolvable',
    'Side.Hold: unknown variant, reads as Sell',
  ],
  [
    side(['Buy', 'Sell']),
    side(['Sell', 'Buy']),
    'incompatible',
    'Side.Sell: tag 1 → 0',
    'Side.Buy: tag 0 → 1',
  ],
  [
    side(['Buy', 'Sell']),
    side(['Buy', 'Hold']),
    'incompatible',
    'Side.Hold: its tag stood for another variant',
  ],
  [node('u8'), node('u8'), 'identical'],
  [node('u8'), node('u16'), 'resolvable', 'Node.v: u8 → u16'],
  [side(['Buy']), one('u8'), 'incompatible', 'Order: m.Side → market.Order'],
];

for (const [index, [writer, reader, kind, ...reasons]] of CASES.entries()) {
  test(`[T10] pair ${index} is ${kind}: ${reasons.join('; ')}`, (t) => {
    const comparison = compile(reader).compare(writer);
    t.deepEqual([...comparison.reasons], reasons);
    t.is(comparison.kind, kind);
    t.is(comparison.firstDifference, reasons[0]?.split(': ')[0] ?? null);
    const resolve = (): unknown => compile(reader).resolve(JSON.stringify(writer));
    if (kind !== 'incompatible') {
      t.notThrows(resolve);
      return;
    }
    const error = t.throws(resolve, { instanceOf: SchemaError, code: 'ERR_SCHEMA_MISMATCH' });
    t.true(error?.message.includes(reasons[0] as string), error?.message);
  });
}

test('[T10] Rust compares the same pairs', (t) => {
  const ours = CASES.map(([writer, reader]) => {
    const { kind, reasons } = compareDescriptors(writer, reader);
    return { writer, reader, kind, reasons };
  });
  const recorded = new URL('fixtures/comparisons.json', import.meta.url);
  t.deepEqual(JSON.parse(readFileSync(recorded, 'utf8')), JSON.parse(JSON.stringify(ours)));
});

const MODES: readonly CompileOptions[] = [{ mode: 'generated' }, { mode: 'interpreted' }];

for (const options of MODES) {
  const read = (writer: Descriptor, reader: Descriptor, value: unknown): unknown => {
    const archive = compile(writer, options).encode(value);
    const resolved = compile(reader, options).resolve(writer);
    resolved.validate(archive);
    const decoded = resolved.decode(archive);
    const view = resolved.view(archive) as { $toObject(): unknown };
    if (JSON.stringify(view.$toObject(), big) !== JSON.stringify(decoded, big)) {
      throw new Error('the view shows something else');
    }
    return decoded;
  };

  test(`[T10] ${options.mode}: reads numbers, strings and lists of other versions`, (t) => {
    for (const [from, to, value, expected] of READS) {
      t.deepEqual(
        read(one(from), one(to), { a: value }),
        { a: expected },
        JSON.stringify([from, to]),
      );
    }
  });

  test(`[T10] ${options.mode}: fills in what is missing`, (t) => {
    for (const [sketch, value, expected] of DEFAULTS) {
      const reader = order({ a: 'u8', b: { of: sketch, default: value } as Sketch });
      t.deepEqual(read(one('u8'), reader, { a: 1 }), { a: 1, b: expected }, JSON.stringify(sketch));
    }
    for (const [sketch, value] of MISFITS) {
      const wrong = order({ a: 'u8', b: { of: sketch, default: value } as Sketch });
      const resolve = (): unknown => compile(wrong, options).resolve(one('u8'));
      const message = `${JSON.stringify(sketch)} ${JSON.stringify(value)}`;
      t.throws(resolve, { code: 'ERR_SCHEMA_INVALID' }, message);
    }
  });

  test(`[T10] ${options.mode}: reads enums with other variants`, (t) => {
    const [two, three] = [
      ['Buy', 'Sell'],
      ['Buy', 'Sell', 'Hold'],
    ];
    t.is(read(side(two), side(three), 'Sell'), 'Sell');
    const newer = compile(side(three), options).encode('Hold');
    const strict = compile(side(two), options).resolve(side(three));
    t.throws(() => strict.decode(newer), { code: 'ERR_SCHEMA_VARIANT' });
    t.is(strict.decode(compile(side(three), options).encode('Buy')), 'Buy');
    t.is(read(side(three), side(two, { defaultVariant: 'Buy' }), 'Hold'), 'Buy');
    const shape = (x: string): Descriptor =>
      describe('m.Shape', { 'm.Shape': { enum: { Empty: null, Dot: { x, y: 'u8' } } } });
    const moved = read(shape('u8'), shape('u64'), { kind: 'Dot', value: { x: 3, y: 4 } });
    t.deepEqual(moved, { kind: 'Dot', value: { x: 3n, y: 4 } });
  });

  test(`[T10] ${options.mode}: unknown variants read as one that the writer lacks, too`, (t) => {
    const ours = describe('m.Side', { 'm.Side': { enum: { A: null, U: null } } });
    const reader = JSON.parse(JSON.stringify(ours));
    Object.assign(reader.types['m.Side'], { defaultVariant: 'U' });
    reader.types['m.Side'].variants[1].tag = 5;
    for (const key of ['text', 'hash']) delete reader.types['m.Side'][key];
    const writer = side(['A', 'B']);
    t.is(read(writer, reader, 'B'), 'U');
    t.is(read(writer, reader, 'A'), 'A');
    const view = compile<string>(reader, options)
      .resolve(writer)
      .view(compile(writer, options).encode('B'));
    t.is((view as unknown as { $value: string }).$value, 'U');
    const shape = (more: object): Descriptor =>
      describe('m.Shape', { 'm.Shape': { enum: { Empty: null, ...more } } as TypeSketch });
    const older = JSON.parse(JSON.stringify(shape({ Odd: null, Dot: ['u8'] })));
    Object.assign(older.types['m.Shape'], { defaultVariant: 'Odd' });
    older.types['m.Shape'].variants[1].tag = 7;
    older.types['m.Shape'].variants[2].tag = 2;
    for (const key of ['text', 'hash']) delete older.types['m.Shape'][key];
    const newer = shape({ Line: ['u8'] });
    const line = { kind: 'Line', value: [3] };
    t.deepEqual(read(newer, older, line), { kind: 'Odd' });
    const cursor = compile(older, options)
      .resolve(newer)
      .view(compile(newer, options).encode(line)) as unknown as { kind: string; value: unknown };
    t.is(cursor.kind, 'Odd');
    t.is(cursor.value, undefined);
  });

  test(`[T10] ${options.mode}: cursors show defaults as they show what was written`, (t) => {
    const more: Types = { 'm.Shape': { enum: { Dot: ['u8'], Empty: null } } as TypeSketch };
    const reader = order(
      {
        a: 'u8',
        tags: { of: ['vec', 'string'], default: ['x', 'a text that is not inline'] },
        grid: { of: ['array', ['vec', 'u16'], '2'], default: [[1], [2, 3]] },
        pair: { of: ['tuple', 'u8', 'string'], default: [5, 'five'] },
        map: { of: ['hashmap', 'string', 'u8'], default: [] },
        tree: { of: ['btreemap', 'u8', ['vec', 'u8']], default: [] },
        shape: { of: 'm.Shape', default: 'Empty' },
        boxed: { of: ['box', ['vec', 'u32']], default: [7] },
        bytes: { of: ['vec', 'u8'], default: [1, 2] },
      } as TypeSketch,
      more,
    );
    interface Shown {
      a: number;
      tags: string[];
      grid: number[][];
      pair: [number, string];
      map: Map<string, number>;
      tree: Map<number, Uint8Array>;
      shape: { kind: string; value?: unknown };
      boxed: number[];
      bytes: Uint8Array;
    }
    const writer = one('u8');
    const codec = compile<Shown>(reader, options).resolve(writer);
    const [first, second] = [1, 2].map((a) => compile(writer, options).encode({ a }));
    const view = codec.view(first as Buffer);
    for (const archive of [first, second]) {
      view.$move(archive as Buffer);
      t.deepEqual(view.tags.toArray(), ['x', 'a text that is not inline']);
      t.is(view.tags.at(1), 'a text that is not inline');
      t.is(view.tags.length, 2);
      t.deepEqual([...view.tags], ['x', 'a text that is not inline']);
      t.deepEqual(view.grid.at(1).toArray(), [2, 3]);
      t.is(view.pair[1], 'five');
      t.deepEqual(view.pair.$toObject(), [5, 'five']);
      t.is(view.map.size, 0);
      t.deepEqual(view.map.toMap(), new Map());
      t.is(view.tree.get(3), undefined);
      const { shape } = view as unknown as { shape: { kind: string; $toObject(): unknown } };
      t.is(shape.kind, 'Empty');
      t.deepEqual(shape.$toObject(), { kind: 'Empty' });
      t.deepEqual(view.boxed.toArray(), [7]);
      t.deepEqual(view.bytes, Uint8Array.of(1, 2));
    }
    t.is(view.a, 2);
    t.deepEqual(view.$toObject(), codec.decode(second as Buffer));
  });

  test(`[T10] ${options.mode}: reads types inside of types, also of themselves`, (t) => {
    const tree = {
      v: 1,
      n: [
        { v: 2, n: [] },
        { v: 3, n: [{ v: 4, n: [] }] },
      ],
    };
    t.deepEqual(read(node('u8'), node('u32'), tree), tree);
    const inner = (fields: TypeSketch): Descriptor =>
      order({ in: 'm.In', list: ['vec', 'm.In'] }, { 'm.In': fields });
    const a = inner({ x: 'u8', gone: 'string', y: 'string' });
    const b = inner({ y: 'string', x: 'u16', z: ['option', 'u8'] });
    const item = { x: 1, gone: 'a text that is not inline', y: 'another that is not' };
    const left = { y: 'another that is not', x: 1, z: null };
    t.deepEqual(read(a, b, { in: item, list: [item, item] }), { in: left, list: [left, left] });
  });

  test(`[T10] ${options.mode}: random structs read as random later versions of themselves`, (t) => {
    const seed = seedOfRun();
    t.log(`BUSBAR_SEED=${seed}`);
    const chance = random(seed);
    for (let round = 0; round < 100; round++) {
      const { writer, reader, value, expected } = evolve(chance);
      t.deepEqual(read(writer, reader, value), expected, JSON.stringify([writer, reader]));
    }
  });
}

test('[T18] a typed pipe reads another version of a type where that is allowed', async (t) => {
  const { client, server } = await pairOf(t, 'shm');
  const old = compile<{ a: string; b: string }>(BOTH);
  const next = compile<{ b: string; c: number }>(
    order({ b: 'string', c: { of: 'u8', default: 7 } }),
  );
  const sender = client.typed(old);
  await sender.send({ a: '1', b: '2' });
  const refused = await t.throwsAsync(server.typed(next).receive(), {
    code: 'ERR_SCHEMA_MISMATCH',
  });
  const difference = `market.Order (${old.hash.toString(16).padStart(16, '0')})`;
  t.true(refused.message.includes(difference), refused.message);
  t.regex(refused.message, /Order.c: added with a default; .* resolve: true/);
  await sender.send({ a: '3', b: '4' });
  const far = server.typed(next, { resolve: true });
  t.deepEqual(await far.receive(), { b: '4', c: 7 });
  await sender.sendBatch([
    { a: '5', b: '6' },
    { a: '7', b: 'a longer one' },
  ]);
  await client.close();
  const seen: unknown[] = [];
  await far.consume((batch) => {
    const first = batch.view(0);
    for (let i = 0; i < batch.length; i++) {
      const { b, c } = batch.view(i);
      t.is(batch.view(i), first, 'one cursor for all');
      seen.push([b, c]);
    }
  });
  t.deepEqual(seen, [
    ['6', 7],
    ['a longer one', 7],
  ]);
});

/** A place of the writer's, one of the reader's, what is written, what is read. */
const READS: readonly (readonly [Sketch, Sketch, unknown, unknown])[] = [
  ['u8', 'u16', 200, 200],
  ['u8', 'u64', 200, 200n],
  ['u32', { of: 'u64', ts: 'number' }, 4e9, 4e9],
  ['i8', 'i64', -3, -3n],
  ['u16', 'i128', 65535, 65535n],
  ['u64', 'u128', 2n ** 64n - 1n, 2n ** 64n - 1n],
  ['i64', 'i128', -(2n ** 63n), -(2n ** 63n)],
  ['u64', 'i128', 2n ** 63n, 2n ** 63n],
  [{ of: 'u64', ts: 'number' }, 'u128', 5, 5n],
  ['f32', 'f64', 0.5, 0.5],
  ['u8', ['option', 'u64'], 9, 9n],
  ['string', ['option', 'string'], 'a text that is not inline', 'a text that is not inline'],
  [['option', 'u8'], ['option', ['option', 'u8']], 3, { some: 3 }],
  [['option', 'u8'], ['option', 'u16'], null, null],
  [['vec', 'u8'], ['vec', 'u16'], Uint8Array.of(1, 2), [1, 2]],
  [['vec', 'u8'], ['option', ['vec', 'u8']], Uint8Array.of(1, 2), Uint8Array.of(1, 2)],
  [
    ['array', 'f32', '2'],
    ['array', 'f64', '2'],
    [0.5, 2],
    [0.5, 2],
  ],
  [
    ['tuple', 'u8', 'string'],
    ['tuple', 'u32', ['option', 'string']],
    [1, 'b'],
    [1, 'b'],
  ],
  [['box', 'u8'], ['box', 'u64'], 5, 5n],
  [
    ['btreemap', 'u8', 'f32'],
    ['btreemap', 'u64', 'f64'],
    new Map([
      [1, 0.5],
      [2, 4],
    ]),
    new Map([
      [1n, 0.5],
      [2n, 4],
    ]),
  ],
];

const MISFITS: readonly (readonly [Sketch, unknown])[] = [
  ['u8', 'text'],
  ['u8', 256],
  ['u8', -1],
  ['i8', 128],
  ['u32', 1.5],
  ['u64', '18446744073709551616'],
  ['u64', 2 ** 60],
  [{ of: 'u64', ts: 'number' }, '9007199254740993'],
  ['f32', 1e39],
  ['string', 'half \ud800 of a pair'],
  [['vec', 'string'], ['\udc00']],
  ['f64', 'much'],
  ['char', 'ab'],
  ['char', ''],
  ['char', '\ud800'],
  [
    ['array', 'u8', '2'],
    [1, 256],
  ],
];

const DEFAULTS: readonly (readonly [Sketch, unknown, unknown])[] = [
  ['bool', true, true],
  ['u8', 7, 7],
  ['u64', '18446744073709551615', 2n ** 64n - 1n],
  ['i64', -5, -5n],
  [{ of: 'u64', ts: 'number' }, 5, 5],
  ['i128', '-170141183460469231731687303715884105728', -(2n ** 127n)],
  ['f64', -0.5, -0.5],
  ['f64', '-Infinity', -Infinity],
  ['f32', 'NaN', NaN],
  ['f32', 0.1, 0.10000000149011612],
  [
    ['array', 'f32', '2'],
    [0.1, '-Infinity'],
    [Math.fround(0.1), -Infinity],
  ],
  ['char', 'é', 'é'],
  ['char', '😀', '😀'],
  ['string', 'none', 'none'],
  [['option', 'u8'], null, null],
  [['option', 'u8'], 3, 3],
  [['vec', 'u8'], [1, 2], Uint8Array.of(1, 2)],
  [
    ['vec', 'string'],
    ['a', 'b'],
    ['a', 'b'],
  ],
  [
    ['array', 'u16', '2'],
    [1, 2],
    [1, 2],
  ],
  [['hashmap', 'string', 'u8'], [], new Map()],
];

interface Evolution {
  readonly writer: Descriptor;
  readonly reader: Descriptor;
  readonly value: unknown;
  readonly expected: unknown;
}

/** A struct, a value of it, a later version of the struct, and what the value is in that one. */
function evolve(chance: () => number): Evolution {
  const below = (end: number): number => Math.floor(chance() * end);
  const fields: [string, Sketch, unknown][] = [];
  const kept: [string, Sketch, unknown][] = [];
  for (let i = 1 + below(10); i > 0; i--) {
    const [from, to, value, expected] = READS[below(READS.length)] as (typeof READS)[number];
    const name = `f${i}`;
    fields.push([name, from, value]);
    if (chance() < 0.2) continue;
    if (chance() < 0.5) kept.push([name, to, expected]);
    else kept.push([`${name}_renamed`, { of: to, aliases: [name] } as Sketch, expected]);
  }
  for (let i = below(4); i > 0; i--) {
    const [sketch, json, value] = DEFAULTS[below(DEFAULTS.length)] as (typeof DEFAULTS)[number];
    kept.push([`added${i}`, { of: sketch, default: json } as Sketch, value]);
  }
  const moved = kept.map((field) => [chance(), field] as const).sort((a, b) => a[0] - b[0]);
  const later = moved.map(([, field]) => field);
  const types = (list: typeof fields): Descriptor =>
    order(Object.fromEntries(list.map(([name, sketch]) => [name, sketch])));
  const values = (list: typeof fields): unknown =>
    Object.fromEntries(list.map(([name, , value]) => [name, value]));
  return {
    writer: types(fields),
    reader: types(later),
    value: values(fields),
    expected: values(later),
  };
}

function big(_: string, value: unknown): unknown {
  if (value instanceof Map) return [...(value as Map<unknown, unknown>)];
  return typeof value === 'bigint' ? `${value}n` : value;
}
