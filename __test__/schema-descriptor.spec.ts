/** Descriptors: read, recomputed, compared; texts and hashes by an independent XXH64. */

import test from 'ava';

import { checkDescriptor, subDescriptor } from '../lib/schema/check.js';
import { compile } from '../lib/schema/codec.js';
import type { Descriptor } from '../lib/schema/descriptor.js';
import { SchemaError } from '../lib/schema/problems.js';
import { xxh64 } from '../lib/schema/xxh64.js';
import { describe, SAMPLES, type Sketch, type TypeSketch } from './helpers/schemas.js';

const { Position, Order, Shape, Kitchen } = SAMPLES as Record<string, Descriptor>;

test('[T25] XXH64 agrees with its published vectors and with the example of the format', (t) => {
  const vectors: readonly [string, bigint][] = [
    ['', 0xef46db3751d8e999n],
    ['a', 0xd24ec4f1a98c6e5bn],
    ['abc', 0x44bc2cf5ad770999n],
    ['Nobody inspects the spammish repetition', 0xfbcea83c8a378bf1n],
  ];
  for (const [text, hash] of vectors) t.is(xxh64(text), hash, text);
  const text =
    'abi1;rkyv0.8/le/aligned/p32;struct market.Position(48,8)' +
    '{id:u64;pos:[f32;3];vel:[f32;3];flags:u32;ts:u64}';
  t.is(xxh64(text), 0x800e54b1aa538d22n);
  t.is(Position!.types['market.Position']!.text, text);
  t.is(Position!.types['market.Position']!.hash, '800e54b1aa538d22');
});

test('[T25] nested types enter a text by name and hash, recursive ones by name', (t) => {
  const { text, hash } = Order!.types['market.Side']!;
  t.is(text, 'abi1;rkyv0.8/le/aligned/p32;enum market.Side(1,1){Buy=0;Sell=1}');
  t.true(Order!.types['market.Order']!.text.includes(`side:market.Side#${hash};`));
  t.is(
    Shape!.types['all.Shape']!.text,
    'abi1;rkyv0.8/le/aligned/p32;enum all.Shape(32,8){Empty=0;Rgb=1(u8;u8;u8);' +
      'Circle=2{radius:f32};Label=3(str);Pair=4(u16;boxstr;opt<u64>)}',
  );
  t.true(SAMPLES['Node']!.types['all.Node']!.text.includes('children:vec<@all.Node>'));
  t.true(Kitchen!.types['all.Kitchen']!.text.includes('tup:(u8,str,u32);u:all.Unit#'));
  t.true(Kitchen!.types['all.Kitchen']!.text.includes('oo:opt<opt<u16>>;'));
});

test('[T07] offsets are those that rkyv gives the same struct', (t) => {
  const order = Order!.types['market.Order']!;
  const fields = order.kind === 'struct' ? order.fields : [];
  t.deepEqual(
    fields.map(({ offset }) => offset),
    [0, 8, 16, 24, 32, 40, 48],
  );
  t.like(order, { size: 64, align: 8 });
  t.like(fields[6], { size: 12, elem: { offset: 4 } });
});

test('[T01] a descriptor survives the way through JSON and is checked once', (t) => {
  for (const descriptor of Object.values(SAMPLES)) {
    const checked = checkDescriptor(JSON.stringify(descriptor));
    t.deepEqual(checked, JSON.parse(JSON.stringify(descriptor)));
    t.is(checkDescriptor(checked), checked);
    t.true(Object.isFrozen(checked.types));
  }
  t.deepEqual(Object.keys(subDescriptor(Order!, 'market.Side').types), ['market.Side']);
});

type Mutable = { [member: string]: Mutable & string & number };
const lies: readonly [path: string, message: RegExp, change: (json: Mutable) => unknown][] = [
  [
    'market.Order.price',
    /offset is 16, but should be 24/,
    (j) => (field(j, 3)['offset'] = num(16)),
  ],
  ['market.Order.note[]', /offset is 1, but/, (j) => (field(j, 6)['elem']!['offset'] = num(1))],
  ['market.Order.tags[]', /size is 4, but/, (j) => (field(j, 5)['elem']!['size'] = num(4))],
  ['market.Side', /its size is 4/, (j) => (side(j)['size'] = num(4))],
  ['market.Side', /its hash is "0{16}"/, (j) => (side(j)['hash'] = num('0'.repeat(16)))],
  ['market.Side', /its text is "abi1"/, (j) => (side(j)['text'] = num('abi1'))],
  ['market.Side', /not 16 hexadecimal/, (j) => (side(j)['hash'] = num('xyz'))],
  ['', /root type "market.No"/, (j) => (j['root'] = num('market.No'))],
  ['', /abi is 2/, (j) => (j['abi'] = num(2))],
  ['', /"rkyv0.8\/be" archives/, (j) => (j['format'] = num('rkyv0.8/be'))],
  ['market.Order.id', /"usize" is unknown/, (j) => (field(j, 0)['kind'] = num('usize'))],
  ['market.Order', /mentions "market.Gone"/, (j) => (field(j, 2)['type'] = num('market.Gone'))],
  ['market.Order.a:b', /malformed/, (j) => (field(j, 1)['name'] = num('a:b'))],
  ['market.Order.id', /doubled/, (j) => (field(j, 1)['name'] = num('id'))],
  ['market.Side.Sell', /tag 0 is doubled/, (j) => (side(j)['variants']![1]!['tag'] = num(0))],
  ['market.Order.tags[]', /is no object/, (j) => (field(j, 5)['elem'] = num(null))],
  ['market.Order.id', /"size" is no integer/, (j) => (field(j, 0)['size'] = num(-1))],
  ['market.Order.id', /ts is "int"/, (j) => (field(j, 0)['ts'] = num('int'))],
  ['market.Order.note', /an alias is the name/, (j) => (field(j, 6)['aliases'] = num(['id']))],
  ['market.Side', /no unit variant/, (j) => (side(j)['defaultVariant'] = num('Hold'))],
];

for (const [path, message, change] of lies) {
  test(`[T38] refuses a descriptor that lies: ${path} ${message.source}`, (t) => {
    const json = JSON.parse(JSON.stringify(Order)) as Mutable;
    change(json);
    const error = t.throws(() => checkDescriptor(json), { instanceOf: SchemaError, message });
    t.like(error, { code: 'ERR_SCHEMA_INVALID', path });
  });
}

const circles: readonly [string, TypeSketch, RegExp | null][] = [
  ['itself', { n: '@a.Node' }, /contains itself/],
  ['an option of itself', { n: ['option', '@a.Node'] }, /contains itself/],
  ['a vec of itself, unmarked', { n: ['vec', 'a.Node'] }, /marked recursive/],
  ['a vec of itself, marked', { n: ['vec', '@a.Node'] }, null],
];

for (const [name, sketch, message] of circles) {
  test(`[T06] a type of ${name} is ${message === null ? 'accepted' : 'refused'}`, (t) => {
    const make = (): Descriptor => checkDescriptor(describe('a.Node', { 'a.Node': sketch }));
    if (message === null) t.is(make().types['a.Node']?.size, 8);
    else t.throws(make, { code: 'ERR_SCHEMA_INVALID', message });
  });
}

test('[T06 T38] a mark of a circle is refused where there is none', (t) => {
  const leaf: TypeSketch = { n: 'u8' };
  const node: TypeSketch = { next: ['vec', '@a.Node'] };
  const wrong = { code: 'ERR_SCHEMA_INVALID', message: /recursive, which does not lead back/ };
  for (const types of [
    { 'a.Root': { x: ['vec', '@a.Leaf'] }, 'a.Leaf': leaf },
    { 'a.Root': { x: ['vec', '@a.Node'] }, 'a.Node': node },
    {
      'a.Root': { x: ['vec', 'a.Node'] },
      'a.Node': { ...node, l: ['vec', '@a.Leaf'] },
      'a.Leaf': leaf,
    },
  ] as Record<string, TypeSketch>[]) {
    t.throws(() => checkDescriptor(describe('a.Root', types)), wrong);
  }
  const ring: Record<string, TypeSketch> = {
    'a.Root': { x: ['vec', 'a.One'] },
    'a.One': { x: ['vec', 'a.Two'] },
    'a.Two': { x: ['vec', '@a.Root'] },
  };
  t.notThrows(() => checkDescriptor(describe('a.Root', ring)));
  // As long as there may be types, or none of the walks may recurse.
  const long: Record<string, TypeSketch> = {};
  for (let i = 0; i < 4000; i++) long[`a.T${i}`] = { x: ['vec', `@a.T${(i + 1) % 4000}`] };
  t.notThrows(() => checkDescriptor(describe('a.T0', long)));
});

test('[T38] descriptors that fold out into very much are compiled all the same', (t) => {
  const doubled = describe('a.T20', doubling(20, 'u8'));
  t.throws(() => describe('a.T200', doubling(200, 'unit')), { message: /take no bytes/ });
  const units = { u: ['array', 'unit', String(2 ** 32 - 1)] };
  t.throws(() => describe('a.Units', { 'a.Units': units }), { message: /take no bytes/ });
  let arrays: Sketch = 'u16';
  for (let level = 0; level < 6; level++) arrays = ['array', ['tuple', arrays], '16'];
  const nested = describe('a.Nested', { 'a.Nested': { a: arrays } });
  for (const descriptor of [doubled, nested]) {
    for (const mode of ['generated', 'interpreted'] as const) {
      const codec = compile(descriptor, { mode });
      t.is(codec.resolve(JSON.stringify(descriptor)).hash, codec.hash);
    }
  }
});

/** Each type holds the one before it twice. */
function doubling(levels: number, leaf: string): Record<string, TypeSketch> {
  const types: Record<string, TypeSketch> = { 'a.T0': { s: leaf } };
  for (let level = 1; level <= levels; level++) {
    types[`a.T${level}`] = { l: `a.T${level - 1}`, r: `a.T${level - 1}` };
  }
  return types;
}

test('[T38] refuses what no archive can hold, and what is no descriptor at all', (t) => {
  const big = { n: ['array', 'u64', String(2 ** 31)] };
  t.throws(() => describe('a.Big', { 'a.Big': big }), {
    message: /^a.Big.n: takes more than 2 GiB/,
  });
  for (const source of [null, 7, [], '{', '[]', {}, { abi: 1 }]) {
    t.throws(() => checkDescriptor(source), { code: 'ERR_SCHEMA_INVALID' });
  }
});

function num(value: unknown): Mutable & string & number {
  return value as Mutable & string & number;
}

function field(json: Mutable, index: number): Mutable {
  return json['types']!['market.Order']!['fields']![index]!;
}

function side(json: Mutable): Mutable {
  return json['types']!['market.Side']!;
}
