/** Codecs against archives that rkyv made, with generated code and without. */

import test from 'ava';

import { checkDescriptor } from '../lib/schema/check.js';
import { compile, type ArchiveCodec, type CompileOptions } from '../lib/schema/codec.js';
import type { Descriptor } from '../lib/schema/descriptor.js';
import { BufferTooSmallError, SchemaError } from '../lib/schema/problems.js';
import { describe, GOLDEN, SAMPLES, VECTORS, type Golden } from './helpers/schemas.js';
import { inOrder, plain, sorted } from './helpers/schema-values.js';

type Mode = 'generated' | 'interpreted';
const MODES: readonly Mode[] = ['generated', 'interpreted'];

const NAMED: Readonly<Record<string, string>> = {
  position: 'Position',
  order0: 'Order',
  order1: 'Order',
  snapshot3: 'Tick',
};
const PUBLISHED: readonly Golden[] = Object.entries(NAMED).map(([name, type]) => {
  return { name: `${name} of 0.8.16`, type, hex: VECTORS[name]! };
});

function codecOf<T>(type: string, options: CompileOptions): ArchiveCodec<T> {
  return compile<T>(SAMPLES[type]!, options);
}

for (const mode of MODES) {
  for (const { name, type, hex, order } of [...GOLDEN, ...PUBLISHED]) {
    test(`[T09 T26] ${mode}: ${name} is read, and written byte for byte as rkyv does`, (t) => {
      const codec = codecOf<Record<string, unknown>>(type, { mode });
      const archive = Buffer.from(hex, 'hex');
      t.is(codec.isGenerated, mode === 'generated');
      const value = codec.decode(archive);
      t.notThrows(() => codec.validate(archive));
      t.is(codec.encodedSize(value), archive.length);
      t.deepEqual(sorted(codec.decode(codec.encode(value))), sorted(value));
      t.deepEqual(codec.view(archive).$toObject(), value);
      // Buckets of hash maps follow from the order of insertion, which an archive does not tell.
      if (type === 'Maps') return;
      const ordered = order === undefined ? value : inOrder(value, order);
      t.is(codec.encode(ordered).toString('hex'), hex);
    });
  }

  test(`[T09] ${mode}: values are what the format says`, (t) => {
    const kitchen = codecOf('Kitchen', { mode }).decode(archiveOf('kitchen'));
    t.deepEqual(kitchen, {
      b: true,
      u8_: 200,
      u16_: 60000,
      u32_: 4_000_000_000,
      u64_: 2n ** 64n - 6n,
      u128_: 2n ** 128n - 8n,
      i8_: -5,
      i16_: -30000,
      i32_: -2_000_000_000,
      i64_: -(2n ** 63n) + 3n,
      i128_: -12345678901234567890123456789n,
      f32_: 1.5,
      f64_: -2.25,
      ch: 'é',
      unit: null,
      s: 'out of line string',
      bs: 'boxed str',
      bytes: Uint8Array.of(1, 2, 3, 4, 5),
      words: [7, 8, 9],
      slice: [1, 2, 3],
      boxed: 77n,
      arr: [10, 20, 30],
      bytes4: Uint8Array.of(9, 8, 7, 6),
      ou8: 3,
      ou16: null,
      oo: { some: null },
      tup: [4, 'tuple string long', 99],
      u: {},
      pt: [0.5, 0.25],
      shape: { kind: 'Circle', value: { radius: 2.5 } },
      shapes: [
        { kind: 'Empty' },
        { kind: 'Rgb', value: [1, 2, 3] },
        { kind: 'Label', value: ['a label that is long'] },
        { kind: 'Pair', value: [513, 'päir', 2n ** 40n] },
        { kind: 'Pair', value: [1, '', null] },
      ],
      nested: [[], ['a', 'longer than eight'], ['12345678']],
      ostr: 'optional text',
      oarr: [null, 'é€😀xx'],
      empty: [],
      tail: 255,
    });
    t.deepEqual(codecOf('Order', { mode }).decode(archiveOf('order')), {
      id: 1_000_001,
      symbol: 'BTC-USDT',
      side: 'Sell',
      price: 64152.5,
      qty: 1.5,
      tags: ['algo', 'ioc', 'desk-seven', 'eu'],
      note: 'note for order 0',
    });
    const maps = codecOf<Record<string, Map<unknown, unknown>>>('Maps', { mode });
    const { names, tree } = maps.decode(archiveOf('maps 7'));
    t.is(names!.get('name-00006-of-a-long-key'), 36);
    t.deepEqual([...tree!.keys()], [0, 7, 14, 21, 28, 35, 42]);
  });

  test(`[T09] ${mode}: cursors read in place, nested ones are moved, not made`, (t) => {
    const codec = codecOf<Snapshot>('Snapshot', { mode });
    const archive = archiveOf('snapshot');
    const view = codec.view(archive);
    t.is(view.entities.length, 4);
    const first = view.entities.at(0);
    t.is(first.position.id, 1_000_000);
    t.is(first.name, 'entity-000000');
    t.is(view.entities.at(2), first, 'the same cursor');
    t.is(first.name, 'short');
    t.is(first.position.pos.at(1), 1.25);
    t.deepEqual(first.position.pos.toArray(), [1.5, 1.25, -3.5]);
    t.deepEqual(
      Array.from(view.entities, ({ position }) => position.id),
      [1_000_000, 1_000_001, 1_000_002, 1_000_003],
    );
    t.deepEqual(view.entities.toArray(), codec.decode(archive).entities);
    for (const index of [-1, 4, 0.5, NaN]) {
      t.throws(() => view.entities.at(index), { code: 'ERR_INVALID_ARGUMENT' });
    }
  });

  test(`[T09] ${mode}: cursors show every kind`, (t) => {
    const codec = codecOf<Kitchen>('Kitchen', { mode });
    const archive = archiveOf('kitchen');
    const value = codec.decode(archive);
    const view = codec.view(archive);
    for (const key of Object.keys(value) as (keyof Kitchen & keyof typeof view)[]) {
      t.deepEqual(plain(view[key]), plain(value[key]), key);
    }
    t.is(view.shapes.at(1).kind, 'Rgb');
    t.is(view.shapes.at(0).value, undefined);
    t.is(view.bytes.buffer, archive.buffer, 'not copied');
    t.is(view.nested.at(1).at(1), 'longer than eight');
  });

  test(`[T09] ${mode}: cursors look up the entries of maps`, (t) => {
    const codec = codecOf<Maps>('Maps', { mode });
    const view = codec.view(archiveOf('maps 7'));
    t.is(view.names.size, 7);
    t.is(view.names.get('name-00003-of-a-long-key'), 9);
    t.is(view.names.get('nobody'), undefined);
    t.true(view.tree.has(42));
    t.deepEqual(view.words.get('w4')?.toArray(), [0, 1, 2, 3]);
    t.deepEqual(view.tree.keys(), [0, 7, 14, 21, 28, 35, 42]);
    t.is(view.e1.size + view.e2.size, 0);
    t.deepEqual(view.words.toMap(), codec.decode(archiveOf('maps 7')).words);
  });

  test(`[T02] ${mode}: a cursor moves through a region of archives`, (t) => {
    const codec = codecOf<Position>('Position', { mode });
    const one = codec.decode(archiveOf('position'));
    const region = Buffer.alloc(1000, 0xee);
    const offsets = [0, 48, 104, 952];
    for (const [index, offset] of offsets.entries()) {
      t.is(codec.encodeInto({ ...one, id: index }, region, offset), 48);
    }
    t.is(region[96], 0xee);
    const view = codec.view(region, 0, 48);
    for (const [index, offset] of offsets.entries()) {
      t.is(view.$move(region, offset, 48), view);
      t.is(view.id, index);
      t.is(view.vel.at(2), 9.75);
    }
    t.throws(() => view.$move(region, 0, 47), { code: 'ERR_ARCHIVE_INVALID' });
    const outside = [
      [-1, 48],
      [953, 48],
      [0.5, 48],
      [0, 1001],
    ] as const;
    for (const [offset, size] of outside) {
      t.throws(() => view.$move(region, offset, size), { code: 'ERR_INVALID_ARGUMENT' });
    }
  });

  test(`[T34] ${mode}: a target that is too small is refused, with what it takes`, (t) => {
    for (const name of ['position', 'order', 'kitchen', 'maps 7', 'trees 37']) {
      const { type } = GOLDEN.find((golden) => golden.name === name)!;
      const codec = codecOf(type, { mode });
      const value = codec.decode(archiveOf(name));
      const required = codec.encodedSize(value);
      for (let room = 0; room < required; room += 1 + Math.floor(required / 100)) {
        const target = Buffer.alloc(room + 64, 0xee);
        const error = t.throws(() => codec.encodeInto(value, target.subarray(0, room + 7), 7), {
          instanceOf: BufferTooSmallError,
        });
        t.like(error, { code: 'ERR_BUFFER_TOO_SMALL', required, available: room });
        t.true(
          target.subarray(room + 7).every((byte) => byte === 0xee),
          'nothing behind it',
        );
      }
      const exact = Buffer.alloc(required + 7, 0xee);
      t.is(codec.encodeInto(value, exact, 7), required);
      t.deepEqual(sorted(codec.decode(exact.subarray(7))), sorted(value));
      t.true(
        exact.subarray(0, 7).every((byte) => byte === 0xee),
        'nothing in front of it',
      );
    }
  });

  test(`[T26] ${mode}: padding in the target is zeroed`, (t) => {
    for (const { type, name, hex } of GOLDEN.filter((golden) => golden.order === undefined)) {
      if (type === 'Maps') continue;
      const codec = codecOf(type, { mode });
      const target = Buffer.alloc(hex.length / 2, 0xff);
      codec.encodeInto(codec.decode(archiveOf(name)), target);
      t.is(target.toString('hex'), hex, name);
    }
  });

  test(`[T34] ${mode}: values that are none of the type are refused, with the place`, (t) => {
    const kitchen = codecOf<Record<string, unknown>>('Kitchen', { mode });
    const good = kitchen.decode(archiveOf('kitchen'));
    for (const [path, value] of WRONG) {
      const [field = ''] = path.split(/[.[]/);
      const error = t.throws(
        () => kitchen.encode({ ...good, [field]: value }),
        {
          instanceOf: SchemaError,
          code: 'ERR_SERIALIZE_FAILED',
        },
        `${path}: ${String(value)}`,
      );
      t.true(error?.path.startsWith('all.'), error?.path);
    }
    for (const value of [null, undefined, 7, 'text']) {
      t.throws(() => kitchen.encode(value as never), { code: 'ERR_SERIALIZE_FAILED' });
    }
    const node = codecOf<{ children: unknown[] }>('Node', { mode });
    const circle = { name: 'me', children: [] as unknown[], next: null };
    circle.children.push(circle);
    t.throws(() => node.encode(circle), {
      code: 'ERR_SERIALIZE_FAILED',
      message: /contains itself/,
    });
    t.notThrows(() => kitchen.encode(good), 'and a refusal leaves nothing behind');
  });

  test(`[T09] ${mode}: 64-bit integers are numbers or bigints, by option and by field`, (t) => {
    const type = { a: 'u64', b: { of: 'i64', ts: 'number' }, c: { of: 'u64', ts: 'bigint' } };
    const descriptor = describe('m.Long', { 'm.Long': type });
    const codec = compile<{ a: number; b: number; c: bigint }>(descriptor, { mode, u64: 'number' });
    const big = Number.MAX_SAFE_INTEGER;
    for (const [a, b] of [
      [0, 0],
      [1, -1],
      [big, -big],
      [2 ** 32, -(2 ** 32)],
      [2 ** 40 + 5, big],
    ] as const) {
      const value = { a, b, c: 2n ** 64n - 1n };
      t.deepEqual(codec.decode(codec.encode(value)), value);
    }
    for (const a of [-1, 1.5, 2 ** 53, NaN, Infinity, '5', 5n, null]) {
      const value = { a, b: 0, c: 0n } as never;
      t.throws(() => codec.encode(value), { message: /^m.Long.a: .*safe integer/ });
    }
    for (const b of [-(2 ** 53), 1.5, NaN, '5', 5n]) {
      t.throws(() => codec.encode({ a: 0, b, c: 0n } as never), { message: /^m.Long.b: / });
    }
    for (const c of [-1n, 2n ** 64n, 5]) {
      t.throws(() => codec.encode({ a: 0, b: 0, c } as never), { message: /^m.Long.c: / });
    }
    const huge = compile<{ a: bigint }>(descriptor, { mode }).encode({
      a: 2n ** 53n,
      b: 0,
      c: 0n,
    } as never);
    t.throws(() => codec.decode(huge), { code: 'ERR_ARCHIVE_INVALID', message: /bigint/ });
    t.throws(() => codec.view(huge).a, { code: 'ERR_ARCHIVE_INVALID' });
  });

  test(`[T09] ${mode}: names that mean something to JavaScript are ordinary fields`, (t) => {
    const names = ['constructor', '__proto__', 'toString', 'class', 'at', 'length', 'größe'];
    const type = Object.fromEntries(names.map((name) => [name, 'u8']));
    const sketch = JSON.parse(
      `{${names.map((name) => `${JSON.stringify(name)}:"u8"`).join(',')}}`,
    ) as typeof type;
    const codec = compile<Record<string, number>>(describe('m.Odd', { 'm.Odd': sketch }), { mode });
    const values = names.map((name, index) => [name, index] as const);
    const archive = codec.encode(Object.fromEntries(values));
    t.deepEqual([...archive], [0, 1, 2, 3, 4, 5, 6]);
    const value = codec.decode(archive);
    t.deepEqual(Object.entries(value).sort(), values.map(([name, index]) => [name, index]).sort());
    t.is(Object.getPrototypeOf(value), Object.prototype);
    const view = codec.view(archive) as unknown as Record<string, number>;
    for (const [name, index] of values) t.is(view[name], index, name);
  });

  test(`[T09] ${mode}: a value whose getter encodes another value`, (t) => {
    const codec = codecOf<Record<string, unknown>>('Order', { mode });
    const good = codec.decode(archiveOf('order'));
    let inner: Buffer = Buffer.alloc(0);
    const nosy = {
      ...good,
      get note(): string {
        inner = codec.encode(good);
        return good['note'] as string;
      },
    };
    t.is(codec.encode(nosy).toString('hex'), archiveOf('order').toString('hex'));
    t.is(inner.toString('hex'), archiveOf('order').toString('hex'));
  });

  test(`[T09] ${mode}: strings of all lengths and scripts`, (t) => {
    const codec = compile<{ s: string; b: string; i: string }>(
      describe('m.S', { 'm.S': { s: 'string', b: 'boxstr', i: { of: 'string', intern: true } } }),
      { mode },
    );
    for (const unit of ['a', 'é', '€', '😀', '\0', '\u007f', '\uffff']) {
      for (let length = 0; length <= 40; length++) {
        const text = unit.repeat(length);
        const value = { s: text, b: `${text}x`, i: `y${text}` };
        const archive = codec.encode(value);
        t.deepEqual(codec.decode(archive), value);
        t.notThrows(() => codec.validate(archive));
        t.is(codec.view(archive).i, value.i);
      }
    }
    for (const lone of ['\ud800', '\udfff', 'a lone \ud800', `${'long'.repeat(9)}\udc00`]) {
      const encode = (): unknown => codec.encode({ s: lone, b: '', i: '' });
      t.throws(encode, { code: 'ERR_SERIALIZE_FAILED', message: /surrogates/ });
      t.throws(() => codec.encode({ s: '', b: lone, i: '' }), { code: 'ERR_SERIALIZE_FAILED' });
    }
  });

  test(`[T09] ${mode}: a codec knows its name, hash and text`, (t) => {
    const codec = codecOf('Position', { mode });
    t.is(codec.name, 'market.Position');
    t.is(codec.hash, 0x800e54b1aa538d22n);
    t.true(codec.schemaText.startsWith('abi1;'));
    t.is(codec.layout, checkDescriptor(codec.layout));
    t.is(compile(codec.descriptor, { mode }).hash, codec.hash);
  });

  test(`[T09] ${mode}: arguments that are no bytes are refused`, (t) => {
    const codec = codecOf<Position>('Position', { mode });
    const good = codec.decode(archiveOf('position'));
    for (const bytes of [null, undefined, 'text', {}, new ArrayBuffer(48), [1]]) {
      t.throws(() => codec.decode(bytes as never), undefined, String(bytes));
      t.throws(() => codec.encodeInto(good, bytes as never));
    }
    for (const offset of [-1, 1.5, NaN, 49, '0', null]) {
      t.throws(
        () => codec.encodeInto(good, Buffer.alloc(48), offset as never),
        undefined,
        String(offset),
      );
    }
    t.throws(() => codec.decode(Buffer.alloc(47)), { code: 'ERR_ARCHIVE_INVALID' });
    t.throws(() => compile(SAMPLES['Order'] as Descriptor, { mode: 'fast' as never }), {
      code: 'ERR_INVALID_ARGUMENT',
    });
  });
}

test('[T02] reading numbers in place and writing fixed sizes allocates nothing', async (t) => {
  const { execFile } = await import('node:child_process');
  const { promisify } = await import('node:util');
  const script = new URL('fixtures/schema/allocations.js', import.meta.url).pathname;
  // Large enough that nothing is collected in between.
  const young = ['--min-semi-space-size=64', '--max-semi-space-size=128'];
  const args = ['--expose-gc', ...young, '--import=@oxc-node/core/register', script];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 120_000 });
  const { control, ...work } = JSON.parse(stdout) as Record<string, number>;
  // For 100,000 messages; measuring takes some itself.
  for (const [name, bytes] of Object.entries(work)) t.true(bytes < 4096, `${name}: ${bytes} bytes`);
  t.true((control ?? 0) > 500_000, `copies: ${control} bytes`);
});

test('[T09] a codec is interpreted where code generation is forbidden', async (t) => {
  const { execFile } = await import('node:child_process');
  const { promisify } = await import('node:util');
  const script = new URL('fixtures/schema/forbidden.js', import.meta.url).pathname;
  const forbid = '--disallow-code-generation-from-strings';
  const args = ['--import=@oxc-node/core/register', forbid, script];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  t.deepEqual(JSON.parse(stdout), { auto: false, same: true, forced: 'EvalError' });
});

interface Position {
  id: number;
  pos: number[];
  vel: number[];
  flags: number;
  ts: number;
}

interface Snapshot {
  entities: { position: Position; name: string }[];
}

interface Kitchen {
  b: boolean;
  bytes: Uint8Array;
  nested: string[][];
  shapes: { kind: string; value?: unknown }[];
}

interface Maps {
  names: Map<string, number>;
  tree: Map<number, string>;
  words: Map<string, number[]>;
  e1: Map<number, number>;
  e2: Map<number, number>;
}

const WRONG: readonly (readonly [path: string, value: unknown])[] = [
  ['b', 1],
  ['u8_', 256],
  ['u8_', -1],
  ['u8_', 1.5],
  ['u8_', '1'],
  ['u16_', 65536],
  ['u32_', 2 ** 32],
  ['u32_', undefined],
  ['u64_', 5],
  ['u128_', -1n],
  ['u128_', 2n ** 128n],
  ['i8_', 128],
  ['i16_', -32769],
  ['i32_', 2 ** 31],
  ['i64_', 2n ** 63n],
  ['i128_', 2n ** 127n],
  ['f32_', '1'],
  ['f64_', undefined],
  ['ch', 'ab'],
  ['ch', ''],
  ['ch', '\ud800'],
  ['s', 5],
  ['bs', null],
  ['bytes', [256]],
  ['bytes', 'text'],
  ['words', 'text'],
  ['words', [1, 'two']],
  ['words', null],
  ['words', { length: -1 }],
  ['boxed', 1],
  ['arr', [1, 2]],
  ['arr', [1, 2, 70000]],
  ['bytes4', Uint8Array.of(1)],
  ['ou8', 256],
  ['oo', 5],
  ['tup', [1, 2, 3]],
  ['pt', ['x', 1]],
  ['shape', { kind: 'Square' }],
  ['shape', null],
  ['shape', { kind: 'Circle', value: null }],
  ['shapes', [{ kind: 'Rgb', value: [1, 2, 300] }]],
  ['nested', [['a', 5]]],
  ['ostr', 5],
  ['oarr', [null]],
];

function archiveOf(name: string): Buffer {
  return Buffer.from(GOLDEN.find((golden) => golden.name === name)!.hex, 'hex');
}
