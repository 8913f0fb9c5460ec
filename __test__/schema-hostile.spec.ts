/** What codecs refuse: archives, values and descriptors that somebody made to hurt. */

import test from 'ava';

import { compile } from '../index.js';
import { headerOf } from '../lib/cli/c-header.js';
import { sourceOf } from '../lib/schema/source.js';
import { describe, type TypeSketch } from './helpers/schemas.js';

const one = (fields: TypeSketch): ReturnType<typeof describe> => describe('a.T', { 'a.T': fields });
const MODES = ['generated', 'interpreted'] as const;
const REFUSED = { code: 'ERR_SERIALIZE_FAILED' };
const INVALID = { code: 'ERR_ARCHIVE_INVALID' };

for (const mode of MODES) {
  test(`[T34] ${mode}: no fraction is too small to be refused as an integer`, (t) => {
    const codec = compile<{ a: number; l: number[] }>(one({ a: 'u64', l: ['vec', 'u64'] }), {
      mode,
      u64: 'number',
    });
    for (const a of [5e-324, -5e-324, 1e-314, -1e-310, 0.5]) {
      t.throws(() => codec.encode({ a, l: [] }), REFUSED, `${a}`);
      t.throws(() => codec.encode({ a: 1, l: [a] }), REFUSED, `${a}`);
    }
    for (const a of [0, 1, 2 ** 32, 2 ** 52 - 1, 2 ** 52, Number.MAX_SAFE_INTEGER]) {
      t.is(codec.decode(codec.encode({ a, l: [a] })).a, a);
    }
  });

  test(`[T34] ${mode}: what merely has a length is no list`, (t) => {
    const codec = compile<{ a: (string | null)[] }>(one({ a: ['vec', ['option', 'string']] }), {
      mode,
    });
    for (const text of ['{"a":{"length":4294967295}}', '{"a":{"length":2}}', '{"a":"ab"}']) {
      t.throws(() => codec.encode(JSON.parse(text) as never), { ...REFUSED, message: /an array/ });
    }
  });

  test(`[T35] ${mode}: keys that share their bytes are not read again and again`, (t) => {
    const codec = compile<{ m: Map<string, number> }>(one({ m: ['hashmap', 'string', 'u8'] }), {
      mode,
    });
    const long = 'x'.repeat(4000);
    const short = Array.from({ length: 20 }, (_, index) => `key-number-${index + 10}`);
    const archive = codec.encode({ m: new Map([long, ...short].map((key) => [key, 1])) });
    t.is(codec.view(archive).m.get('key-number-12'), 1);
    const [length, at] = [(13 & 0x3f) | 0x80, archive.indexOf(long)];
    const shared = ((4000 & ~0x3f) << 2) | (4000 & 0x3f) | 0x80;
    for (let p = 0; p + 8 <= archive.length; p += 4) {
      if (archive.readUInt32LE(p) !== length) continue;
      archive.writeUInt32LE(shared, p);
      archive.writeInt32LE(at - p, p + 4);
    }
    const { m } = codec.view(archive);
    const looks = [
      () => m.get('absent'),
      () => m.has('absent'),
      () => m.keys(),
      () => [...m],
      () => m.toMap(),
      () => codec.decode(archive),
    ];
    for (const look of looks) t.throws(look, INVALID);
  });

  test(`[T34] ${mode}: memory that a getter gives away is an error, not a success`, (t) => {
    const codec = compile<{ a: number; b: number }>(one({ a: 'u32', b: 'f32' }), { mode });
    const memory = new ArrayBuffer(16);
    const value = {
      get a(): number {
        structuredClone(memory, { transfer: [memory] });
        return 1;
      },
      b: 2,
    };
    const error = t.throws(() => codec.encodeInto(value, new Uint8Array(memory), 0)) as Error & {
      code: string;
    };
    t.true(['ERR_BUFFER_DETACHED', 'ERR_SERIALIZE_FAILED'].includes(error.code), error.code);
  });

  test(`[T34] ${mode}: what is no object has no fields, not even absent ones`, (t) => {
    const options = compile<object>(one({ a: ['option', 'u32'], b: 'unit' }), { mode });
    for (const value of [42, 'hello', true, () => 1, null, undefined]) {
      t.throws(() => options.encode(value as never), { ...REFUSED, message: /an object/ });
    }
    const types = {
      'a.T': { s: 'a.U', e: 'a.E' },
      'a.U': { a: ['option', 'u8'] },
      'a.E': { enum: { A: null, B: { u: 'unit', o: ['option', 'u8'] } } },
    } as const;
    const nested = compile<object>(describe('a.T', types), { mode });
    t.notThrows(() => nested.encode({ s: { a: 1 }, e: { kind: 'A' } }));
    t.throws(() => nested.encode({ s: 5, e: { kind: 'A' } }), REFUSED);
    t.throws(() => nested.encode({ s: {}, e: { kind: 'B', value: 5 } }), REFUSED);
  });

  test(`[T34] ${mode}: a value that says something else the second time is refused`, (t) => {
    const codec = compile<object>(
      one({ x: 'string', a: ['option', 'string'], l: ['vec', ['option', 'string']], b: 'u8' }),
      { mode },
    );
    const fickle = (): object => {
      let count = 0;
      return {
        enumerable: true,
        get: () => (count++ % 2 === 0 ? null : 'a text that is not short'),
      };
    };
    const value = { x: 'zzz', a: null, l: [null], b: 1 };
    t.throws(() => codec.encode(Object.defineProperty({ ...value }, 'a', fickle())), REFUSED);
    const l = Object.defineProperty([null], '0', fickle());
    t.throws(() => codec.encode({ ...value, l }), REFUSED);
    const bytes = compile<{ b: number[] }>(one({ b: ['vec', 'u8'] }), { mode });
    let count = 0;
    const b = Object.defineProperty([1], '0', { get: () => (count++ === 0 ? 1 : 300) });
    t.deepEqual([...(bytes.decode(bytes.encode({ b })).b as Iterable<number>)], [1]);
  });

  test(`[T06] ${mode}: types that mention each other twice are rules once`, (t) => {
    const types: Record<string, TypeSketch> = { 'a.L22': { a: 'u8' } };
    for (let level = 21; level >= 0; level--) {
      const next = `a.L${level + 1}`;
      types[`a.L${level}`] = { a: next, b: next };
    }
    // Twice as long with each of them, this would take an hour.
    const root = { 'a.T': { m: ['hashmap', 'a.L0', 'u8'] }, ...types };
    t.notThrows(() => compile(describe('a.T', root as Record<string, TypeSketch>), { mode }));
    const circle = { 'a.T': { m: ['btreemap', 'a.K', 'u8'] }, 'a.K': { k: ['vec', '@a.K'] } };
    t.throws(() => compile(describe('a.T', circle as Record<string, TypeSketch>), { mode }), {
      code: 'ERR_SCHEMA_INVALID',
      message: /contains itself/,
    });
  });

  test(`[T35] ${mode}: lists of nothing are bounded together, wherever one looks`, (t) => {
    const codec = compile<{ a: null[][] }>(one({ a: ['vec', ['vec', 'unit']] }), { mode });
    const lists = (count: number): Buffer => {
      const bytes = Buffer.alloc(count * 8 + 8);
      for (let index = 0; index < count; index++) {
        bytes.writeInt32LE(-8 * index, 8 * index);
        bytes.writeUInt32LE(4096, 8 * index + 4);
      }
      bytes.writeInt32LE(-8 * count, 8 * count);
      bytes.writeUInt32LE(count, 8 * count + 4);
      return bytes;
    };
    t.notThrows(() => codec.validate(lists(16)));
    t.is(codec.decode(lists(16)).a.length, 16);
    t.throws(() => codec.validate(lists(17)), INVALID);
    t.throws(() => codec.decode(lists(17)), INVALID);
    t.throws(() => compile(one({ a: ['array', ['array', 'u32', '0'], '4000000'] }), { mode }), {
      code: 'ERR_SCHEMA_INVALID',
    });
  });

  test(`[T35] ${mode}: what views refuse has a code`, (t) => {
    const types = { 'a.T': { n: ['option', ['box', '@a.T']] } } as const;
    const deep = compile<{ n: unknown }>(describe('a.T', types), { mode });
    const [count, size] = [50_000, deep.encode({ n: null }).length];
    const archive = Buffer.alloc(count * size);
    for (let index = 1; index < count; index++) {
      archive[index * size] = 1;
      archive.writeInt32LE(-size - 4, index * size + 4);
    }
    t.throws(() => deep.view(archive).$toObject(), INVALID);
    t.throws(() => JSON.stringify(deep.view(archive)), INVALID);
    t.throws(() => deep.view(null as never), { code: 'ERR_INVALID_ARGUMENT' });

    const map = compile<{ m: Map<string, number> }>(one({ m: ['hashmap', 'string', 'u8'] }), {
      mode,
    });
    const { m } = map.view(map.encode({ m: new Map([['a', 1]]) }));
    t.throws(() => m.get(5 as never), { code: 'ERR_INVALID_ARGUMENT' });
  });
}

test('[T10] a default is no variant that holds something', (t) => {
  const shape = { 'a.S': { enum: { Circle: ['f32'], Dot: null } } } as const;
  const of = (fallback: string): object => ({
    abi: 1,
    format: 'rkyv0.8/le/aligned/p32',
    root: 'a.T',
    types: {
      ...describe('a.S', shape).types,
      'a.T': {
        kind: 'struct',
        fields: [{ name: 's', kind: 'type', type: 'a.S', default: fallback }],
      },
    },
  });
  t.notThrows(() => compile(JSON.stringify(of('Dot'))));
  t.throws(() => compile(JSON.stringify(of('Circle'))), { code: 'ERR_SCHEMA_INVALID' });
});

test('[T38] aliases are names: nothing that a terminal would obey', (t) => {
  const of = (name: string, alias: string): string =>
    JSON.stringify({
      abi: 1,
      format: 'rkyv0.8/le/aligned/p32',
      root: 'a.T',
      types: { 'a.T': { kind: 'struct', fields: [{ name, kind: 'u8', aliases: [alias] }] } },
    });
  t.notThrows(() => compile(of('a', 'before')));
  for (const alias of ['\u001B]0;pwned\u0007', 'two\nlines', '', '1']) {
    t.throws(() => compile(of('a', alias)), { code: 'ERR_SCHEMA_INVALID', message: /alias/ });
  }
});

test('[T38] generated names are names, and no two of them the same', (t) => {
  const wide = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`f${index}`, 'f32']));
  const types = {
    'm.Foo': { a: 'u8' },
    'm.IntoFoo': { a: 'u8' },
    'm._1': { a: 'u8' },
    'm.Float32Array': { a: 'u8' },
    'm.Wide': wide as TypeSketch,
  };
  const source = sourceOf(describe('m.Foo', types));
  const made = [...source.matchAll(/^(?:export )?(?:function|class|interface|type) (\S+?)[ (<]/gm)];
  const names = made.map(([, name]) => name as string);
  t.deepEqual(new Set(names).size, names.length, names.join(' '));
  for (const name of names) t.regex(name, /^[\p{ID_Start}_$][\p{ID_Continue}$]*$/u);
  t.false(names.includes('Float32Array'));
  t.notThrows(() => compile(describe('m._1', { 'm._1': { a: 'u8' } })));

  const clashing = {
    'm.A.B': { a: 'u8' },
    'm.A_B': { a: 'u8' },
    'm.E': { enum: { F_G: null } },
    'm.E_F': { enum: { G: null } },
  } as const;
  const header = headerOf(describe('m.A.B', clashing));
  const declared = [...header.matchAll(/^(?:\} |typedef uint8_t |#define )(\w+)/gm)];
  const all = declared.map(([, name]) => name as string);
  t.deepEqual(new Set(all).size, all.length, all.join(' '));
  t.true(all.includes('m_A_B'));
});
