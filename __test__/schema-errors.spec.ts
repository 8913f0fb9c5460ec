/** What cannot be written is refused with its place in the value. */

import test from 'ava';

import { BusbarError, compile, SchemaError } from '../index.js';
import { describe } from './helpers/schemas.js';

const MODES = ['generated', 'interpreted'] as const;

const BOOK = describe('m.Book', {
  'm.Book': {
    orders: ['vec', 'm.Order'],
    best: ['option', 'm.Order'],
    levels: ['btreemap', 'string', 'm.Order'],
    grid: ['array', ['array', 'f32', '2'], '2'],
    pair: ['tuple', 'u8', 'string'],
    twice: ['option', ['option', 'u8']],
    shape: 'm.Shape',
    key: ['array', 'u8', '3'],
    raw: ['vec', 'u8'],
  },
  'm.Order': { id: 'u64', price: 'f32', tags: ['vec', 'string'] },
  'm.Shape': { enum: { None: null, Dot: ['m.Order'] } } as never,
});

const order = (more: object = {}): object => ({ id: 1n, price: 2, tags: ['a'], ...more });

const GOOD = {
  orders: [order(), order()],
  best: null,
  levels: new Map([['up', order()]]),
  grid: [
    [1, 2],
    [3, 4],
  ],
  pair: [7, 'seven'],
  twice: { some: 3 },
  shape: { kind: 'None' },
  key: [1, 2, 3],
  raw: [4, 5],
};

/** What is wrong, where, and what is said of it. */
const WRONG: readonly (readonly [wrong: object, path: string, message: RegExp])[] = [
  [{ orders: [order(), order(), order({ price: 'x' })] }, 'orders[2].price', /"x".*type f32/],
  [{ orders: [order(), null] }, 'orders[1]', /null; it must be an object/],
  [{ orders: [order(), undefined] }, 'orders[1]', /undefined; it must be an object/],
  [{ orders: [order({ tags: ['a', 'b', 3] })] }, 'orders[0].tags[2]', /must be a string/],
  [{ orders: [order({ tags: undefined })] }, 'orders[0].tags', /must be an array/],
  [{ orders: null }, 'orders', /null; it must be an array/],
  [{ best: order({ id: 5 }) }, 'best.id', /must be a bigint/],
  [{ best: { id: 1n, price: 2 } }, 'best.tags', /must be an array/],
  [{ levels: new Map([['up', order({ id: -1n })]]) }, 'levels["up"].id', /0 to 2\^64-1/],
  [{ levels: new Map([['up', null]]) }, 'levels["up"]', /must be an object/],
  [{ levels: new Map([[3, order()]]) }, 'levels[key 0]', /must be a string/],
  [{ levels: {} }, 'levels', /must be a Map/],
  [{ grid: [[1, 2], [3]] }, 'grid[1]', /an array of 2/],
  [{ grid: [[1, 2], null] }, 'grid[1]', /null; it must be an array/],
  [{ grid: [[1, 2], 'ab'] }, 'grid[1]', /must be an array/],
  [
    {
      grid: [
        [1, 1e39],
        [3, 4],
      ],
    },
    'grid[0][1]',
    /1e\+39.*3\.4028235e38/,
  ],
  [{ pair: [256, 'x'] }, 'pair[0]', /type u8/],
  [{ pair: null }, 'pair', /must be an object/],
  [{ twice: { some: 256 } }, 'twice.some', /type u8/],
  [{ twice: { none: 1 } }, 'twice', /null or \{ some/],
  [{ shape: { kind: 'Line' } }, 'shape', /one of None, Dot/],
  [{ shape: { kind: 'Dot' } }, 'shape.value', /must be an object/],
  [{ shape: { kind: 'Dot', value: [order({ price: null })] } }, 'shape.value[0].price', /f32/],
  [{ key: [1, 2, 300] }, 'key[2]', /300; it must be a number of type u8/],
  [{ raw: [1, -1] }, 'raw[1]', /-1; it must be a number of type u8/],
  [{ raw: 'text' }, 'raw', /must be a Uint8Array/],
];

for (const mode of MODES) {
  test(`[T34] ${mode}: every error names the path of what cannot be written`, (t) => {
    const codec = compile(BOOK, { mode });
    t.notThrows(() => codec.encode(GOOD));
    for (const [wrong, path, message] of WRONG) {
      const value = { ...GOOD, ...wrong };
      const target = Buffer.alloc(4096);
      const ways = [
        () => codec.encode(value),
        () => codec.encodeInto(value, target),
        () => codec.encodedSize(value),
      ];
      for (const way of ways) {
        const error = t.throws(way, { instanceOf: SchemaError, message }, path);
        t.like(error, { code: 'ERR_SERIALIZE_FAILED', path: `m.Book.${path}` });
        t.true(error?.message.startsWith(`m.Book.${path}: `), error?.message);
      }
    }
    t.notThrows(() => codec.encode(GOOD), 'a refusal leaves nothing behind');
  });

  test(`[T34] ${mode}: numbers that f32 cannot hold are refused, not made infinite`, (t) => {
    const fixed = compile<{ a: number; b: number[] }>(
      describe('m.P', { 'm.P': { a: 'f32', b: ['array', 'f32', '2'] } }),
      { mode },
    );
    const largest = 3.4028234663852886e38;
    const roundsDown = 3.4028235677973362e38;
    const roundsUp = 3.4028235677973366e38;
    for (const a of [largest, -largest, roundsDown, -roundsDown, Infinity, -Infinity, NaN, 0]) {
      const archive = fixed.encode({ a, b: [a, a] });
      const read = Math.fround(a);
      t.deepEqual(fixed.decode(archive), { a: read, b: [read, read] }, `${a}`);
    }
    for (const a of [roundsUp, -roundsUp, 1e39, Number.MAX_VALUE]) {
      const message = /^m\.P\.a: .*3\.4028235e38/;
      t.throws(() => fixed.encode({ a, b: [1, 2] }), { code: 'ERR_SERIALIZE_FAILED', message });
      t.throws(() => fixed.encode({ a: 1, b: [1, a] }), { message: /^m\.P\.b\[1\]: / });
    }
    const text = { a: 1, b: [1, '2' as unknown as number] };
    t.throws(() => fixed.encode(text), { message: /^m\.P\.b\[1\]: .*"2".*f32/ });
  });

  test(`[T02 T34] ${mode}: a struct of many numbers is written whole, and all checked`, (t) => {
    const names = Array.from({ length: 60 }, (_, index) => `n${index}`);
    const kinds = ['u64', 'f32', 'f32', 'u8', 'i64'];
    const of = (index: number): string => kinds[index % kinds.length] ?? '';
    const fields = Object.fromEntries(names.map((name, index) => [name, of(index)]));
    const codec = compile<Record<string, number>>(describe('m.Wide', { 'm.Wide': fields }), {
      mode,
      u64: 'number',
    });
    const value = Object.fromEntries(names.map((name, index) => [name, index]));
    t.deepEqual(codec.decode(codec.encode(value)), value);
    for (const [name, wrong] of [
      ['n59', 0.5],
      ['n58', -1],
      ['n57', 1e39],
      ['n55', 2 ** 53],
    ] as const) {
      const message = new RegExp(`^m\\.Wide\\.${name}: `);
      t.throws(() => codec.encode({ ...value, [name]: wrong }), { message }, name);
    }
  });

  test(`[T34] ${mode}: what getters throw keeps its place and its cause`, (t) => {
    const codec = compile(BOOK, { mode });
    const cause = new RangeError('no price today');
    const bad = {
      ...order(),
      get price(): number {
        throw cause;
      },
    };
    const error = t.throws(() => codec.encode({ ...GOOD, orders: [order(), bad] }), {
      message: 'm.Book.orders[1].price: no price today',
    });
    t.is((error as Error).cause, cause);
    let calls = 0;
    const once = {
      ...order(),
      get price(): unknown {
        return ++calls === 1 ? 'x' : 1;
      },
    };
    t.throws(() => codec.encode({ ...GOOD, best: once }), {
      code: 'ERR_SERIALIZE_FAILED',
      message: /^m\.Book.*type f32/,
    });
  });

  test(`[T02] ${mode}: values of a fixed size are written at any offset, in any memory`, (t) => {
    const sketch = {
      'm.F': {
        a: 'u64',
        b: 'f64',
        c: ['option', 'u32'],
        d: 'bool',
        e: 'i16',
        f: 'm.In',
        g: ['array', 'm.In', '2'],
        h: 'f32',
        i: 'i64',
      },
      'm.In': { x: 'f32', y: 'u8', kind: 'm.K' },
      'm.K': { enum: { A: null, B: ['f32', 'u16'] } },
    };
    const codec = compile(describe('m.F', sketch as never), { mode, u64: 'number' });
    const inner = (x: number): object => ({ x, y: 3, kind: { kind: 'B', value: [0.5, 9] } });
    const value = {
      a: 2 ** 53 - 1,
      b: -0.25,
      c: 0xffff_ffff,
      d: true,
      e: -2,
      f: { x: 1.5, y: 2, kind: { kind: 'A' } },
      g: [inner(1), inner(2)],
      h: -1.5,
      i: -(2 ** 40) - 1,
    };
    const expected = codec.encode(value);
    t.deepEqual(codec.decode(expected), value as never);
    t.is(expected.length, codec.encodedSize(value as never));
    const size = expected.length;
    const odd = new ArrayBuffer(size + 29);
    const growing = Reflect.construct(ArrayBuffer, [size + 8, { maxByteLength: 4096 }]) as never;
    const memories = [odd, new SharedArrayBuffer(size + 16), growing];
    for (const memory of memories) {
      for (let from = 0; from < 9; from++) {
        const target = new Uint8Array(memory as ArrayBuffer, from);
        if (target.length < size + 8) continue;
        target.fill(0xee);
        const offset = 8 - from;
        t.is(codec.encodeInto(value as never, target, offset), size);
        t.deepEqual(Buffer.from(target.subarray(offset, offset + size)), expected);
        t.is(codec.encodeInto(value as never, target.subarray(1), 0), size);
        t.deepEqual(Buffer.from(target.subarray(1, 1 + size)), expected, `from ${from}`);
      }
    }
    const moved = new Uint8Array(size);
    codec.encodeInto(value as never, moved);
    structuredClone(moved.buffer, { transfer: [moved.buffer] });
    const error = t.throws(() => codec.encodeInto(value as never, moved), {
      instanceOf: BusbarError,
    });
    t.regex(error?.code ?? '', /^ERR_BUFFER_(DETACHED|TOO_SMALL)$/);
  });
}
