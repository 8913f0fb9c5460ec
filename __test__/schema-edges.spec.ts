/** What codecs do where callers, peers and types are odd. */

import { inspect } from 'node:util';

import test from 'ava';

import { bindInproc, compile, connectInproc, registry } from '../index.js';
import { OVERFLOW, Sink } from '../lib/schema/sink.js';
import { sourceOf } from '../lib/schema/source.js';
import { describe, type TypeSketch } from './helpers/schemas.js';

const one = (fields: TypeSketch): ReturnType<typeof describe> => describe('a.T', { 'a.T': fields });
const MODES = ['generated', 'interpreted'] as const;

for (const mode of MODES) {
  test(`[T34] ${mode}: a getter that encodes something else disturbs nothing`, (t) => {
    const a = compile<{ id: number; key: Uint8Array }>(
      one({ id: 'u32', key: ['array', 'u8', '4'] }),
      {
        mode,
      },
    );
    const b = compile<{ x: number }>(one({ x: 'u32' }), { mode });
    const [out, log] = [new Uint8Array(8), new Uint8Array(64)];
    const value = {
      get id(): number {
        b.encodeInto({ x: 1 }, log, 0);
        return 7;
      },
      key: Uint8Array.of(1, 2, 3, 4),
    };
    t.is(a.encodeInto(value, out, 0), 8);
    t.deepEqual([...out], [7, 0, 0, 0, 1, 2, 3, 4]);
    t.deepEqual(
      [...log.subarray(4)],
      Array.from({ length: 60 }, () => 0),
    );
  });

  test(`[T35] ${mode}: billions of nothing are refused, some are values`, (t) => {
    const codec = compile<{ u: null[] }>(one({ u: ['vec', 'unit'] }), { mode });
    const some = Array.from({ length: 4096 }, () => null);
    t.deepEqual(codec.decode(codec.encode({ u: some })).u, some);
    t.throws(() => codec.encode({ u: [...some, null] }), { code: 'ERR_SERIALIZE_FAILED' });
    const endless = Buffer.from([0, 0, 0, 0, 255, 255, 255, 255]);
    const looks = [
      () => codec.decode(endless),
      () => codec.validate(endless),
      () => codec.view(endless).u.toArray(),
      () => codec.view(endless).u.length,
    ];
    for (const look of looks) t.throws(look, { code: 'ERR_ARCHIVE_INVALID' });
  });

  test(`[T06] ${mode}: two keys that say the same are refused`, (t) => {
    for (const map of ['hashmap', 'btreemap'] as const) {
      const codec = compile<{ m: Map<number[], number> }>(
        one({ m: [map, ['tuple', 'u8', 'u8'], 'u8'] }),
        { mode },
      );
      const value = (...keys: number[][]): { m: Map<number[], number> } => {
        return { m: new Map(keys.map((key, i) => [key, i])) };
      };
      t.is(codec.decode(codec.encode(value([1, 2], [2, 1]))).m.size, 2);
      const doubled = value([1, 2], [0, 0], [1, 2]);
      t.throws(() => codec.encode(doubled), { code: 'ERR_SERIALIZE_FAILED' }, map);
    }
  });

  test(`[T09] ${mode}: names of variants and counters of code do not meet`, (t) => {
    const list = Object.fromEntries(
      ['V1', 'Qa', 'Qb', 'Qc', 'Qd', 'V'].map((name) => [name, ['u32']]),
    );
    const codec = compile(describe('a.E', { 'a.E': { enum: list } as TypeSketch }), { mode });
    t.deepEqual(codec.decode(codec.encode({ kind: 'V', value: [7] })), { kind: 'V', value: [7] });
  });

  test(`[T09] ${mode}: looking up while iterating a map in place`, (t) => {
    const codec = compile<{ m: Map<number, number> }>(one({ m: ['btreemap', 'u32', 'u32'] }), {
      mode,
    });
    const entries = Array.from({ length: 100 }, (_, i) => [i, i * i] as const);
    const archive = codec.encode({ m: new Map(entries) });
    const [a, b] = [codec.view(archive), codec.view(archive)];
    const seen: number[] = [];
    a.m.forEach((value, key) => {
      t.is(b.m.get(99 - key), (99 - key) ** 2);
      t.is(a.m.get(key), value);
      seen.push(key);
    });
    t.is(seen.length, 100);
    t.deepEqual(
      [...a.m],
      entries.map(([key, value]) => [key, value]),
    );
    for (const [key] of a.m) if (key === 3) break;
  });

  test(`[T02] ${mode}: buffers that grow are read and written to their end`, (t) => {
    const codec = compile<{ s: string }>(one({ s: 'string' }), { mode });
    const memory = Reflect.construct(ArrayBuffer, [64, { maxByteLength: 4096 }]) as ArrayBuffer & {
      resize(bytes: number): void;
    };
    const bytes = new Uint8Array(memory);
    const value = { s: 'a text that is not inline' };
    t.true(codec.encodeInto(value, bytes, 0) > 0);
    memory.resize(4096);
    const size = codec.encodeInto(value, bytes, 2048);
    t.deepEqual(codec.decode(bytes.subarray(2048, 2048 + size)), value);
    t.is(codec.view(bytes, 2048, size).s, value.s);
  });

  test(`[T34] ${mode}: bytes with holes, and sizes that are no numbers, are refused`, (t) => {
    const codec = compile<{ b: Uint8Array }>(one({ b: ['vec', 'u8'] }), { mode });
    // oxlint-disable-next-line no-sparse-arrays
    t.throws(() => codec.encode({ b: [1, , 3] as never }), { code: 'ERR_SERIALIZE_FAILED' });
    const archive = codec.encode({ b: Uint8Array.of(1) });
    t.throws(() => codec.view(archive, 0, '8' as never), { code: 'ERR_INVALID_ARGUMENT' });
  });
}

test('[T09] keys of maps that are enums are hashed and ordered as in Rust', (t) => {
  const types: Record<string, TypeSketch> = {
    'a.K': { enum: { A: ['u8'] } },
    'a.M': { h: ['hashmap', 'a.K', 'u8'] },
  };
  const single = compile<{ h: Map<unknown, number> }>(describe('a.M', types));
  registry.register(single);
  const keys = Array.from({ length: 40 }, (_, i) => ({ kind: 'A', value: [i] }));
  const value = { h: new Map(keys.map((key, i) => [key, i])) };
  const pairs = keys.map((key, i) => [key, i]);
  const rust = registry.convert('a.M', Buffer.from(JSON.stringify({ h: pairs })), {
    from: 'json',
    to: 'rkyv',
  });
  t.deepEqual(single.encode(value), rust);

  const tagged = JSON.parse(
    JSON.stringify(describe('a.S', { 'a.S': { enum: { A: null, B: null, C: null } } })),
  );
  const type = tagged.types['a.S'];
  type.variants.forEach((variant: { tag: number }, i: number) => (variant.tag = [5, 1, 3][i] ?? 0));
  const set = {
    abi: 1,
    format: tagged.format,
    root: 'a.Tree',
    types: {
      'a.S': { kind: 'enum', variants: type.variants },
      'a.Tree': {
        kind: 'struct',
        fields: [
          {
            name: 't',
            kind: 'btreemap',
            key: { kind: 'type', type: 'a.S' },
            value: { kind: 'u8' },
          },
        ],
      },
    },
  };
  const tree = compile<{ t: Map<string, number> }>(JSON.stringify(set));
  const archive = tree.encode({
    t: new Map([
      ['A', 1],
      ['B', 2],
      ['C', 3],
    ]),
  });
  t.deepEqual([...tree.decode(archive).t.keys()], ['B', 'C', 'A']);
});

test('[T29] a type that was registered anew is looked up anew', (t) => {
  const type = (ts?: 'number'): ReturnType<typeof describe> =>
    describe('a.Anew', { 'a.Anew': { id: ts === undefined ? 'u64' : { of: 'u64', ts } } });
  const { hash } = registry.register(type('number'));
  const first = registry.lookup<{ id: number | bigint }>('a.Anew');
  t.is(first.decode(first.encode({ id: 5 })).id, 5);
  registry.unregister('a.Anew', hash);
  registry.register(type());
  const second = registry.lookup<{ id: number | bigint }>('a.Anew');
  t.is(second.decode(second.encode({ id: 5n })).id, 5n);
  t.throws(() => compile(type(), { u64: 'Number' as never }), { code: 'ERR_INVALID_ARGUMENT' });
});

test('[T38] names are what Rust takes as identifiers', (t) => {
  for (const name of ['größe', '_', 'Ⅷ', 'x·y', '℘']) {
    t.notThrows(() => compile(one({ [name]: 'u8' })), name);
  }
  for (const name of ['', '9a', 'a-b', 'a b', 'ⓐ', '\u037a', '😀']) {
    t.throws(() => compile(one({ [name]: 'u8' })), { code: 'ERR_SCHEMA_INVALID' }, name);
  }
});

for (const mode of MODES) {
  test(`[T09] ${mode}: cursors are shown as what they stand on, not the memory around`, (t) => {
    const codec = compile<{ a: number; list: string[]; map: Map<string, number> }>(
      one({ a: 'u32', list: ['vec', 'string'], map: ['btreemap', 'string', 'u8'] }),
      { mode },
    );
    const value = { a: 7, list: ['x'], map: new Map([['k', 1]]) };
    const view = codec.view(codec.encode(value));
    t.is(JSON.stringify(view), '{"a":7,"list":["x"],"map":{}}');
    t.is(inspect(view), inspect(value));
    t.is(inspect(view.list), "[ 'x' ]");
    t.is(inspect(view.map), inspect(value.map));
    t.is(JSON.stringify(view.list), '["x"]');
    const broken = codec.view(new Uint8Array(codec.layout.types['a.T']?.size ?? 0).fill(0xee));
    t.regex(inspect(broken), /a cursor that cannot be read/);
  });
}

for (const mode of MODES) {
  test(`[T09] ${mode}: no copy of a cursor has the memory around it`, (t) => {
    const codec = compile<{ list: { n: number }[]; map: Map<string, number>; at: [number] }>(
      describe('a.T', {
        'a.T': { list: ['vec', 'a.I'], map: ['hashmap', 'string', 'u8'], at: ['tuple', 'u8'] },
        'a.I': { n: 'u8' },
      }),
      { mode },
    );
    const secret = Buffer.from('a secret that lies beside it');
    const archive = codec.encode({ list: [{ n: 1 }], map: new Map([['k', 1]]), at: [2] });
    const memory = Buffer.concat([archive, secret]);
    const view = codec.view(memory, 0, archive.length);
    for (const cursor of [view, view.list, view.list.at(0), view.map, view.at]) {
      const error = t.throws(() => structuredClone(cursor), { any: true, name: 'DataCloneError' });
      t.regex((error as Error).message, /A cursor; clone what \$toObject\(\)/);
    }
    t.deepEqual(structuredClone(view.$toObject()), codec.decode(archive));
    const odd = compile<{ toJSON: number; next: string }>(one({ toJSON: 'u8', next: 'string' }), {
      mode,
    });
    const odds = odd.view(odd.encode({ toJSON: 5, next: 'x' }));
    t.is(JSON.stringify(odds), '{}');
    t.is(odds.next, 'x');
  });
}

test('[T05] types may be called as what generated code needs', (t) => {
  const types = { 'a.ShownCursor': { b: 'b.ListCursor' }, 'b.ListCursor': { n: 'u8' } };
  const source = sourceOf(describe('a.ShownCursor', types));
  for (const name of ['ShownCursor', 'ListCursor']) {
    t.false(new RegExp(`(interface|const|class) ${name}\\b`).test(source), name);
  }
});

test('[T09] fields may be called as what shows cursors', (t) => {
  const codec = compile<{ toJSON: number }>(one({ toJSON: 'u8' }));
  t.is(codec.view(codec.encode({ toJSON: 5 })).toJSON, 5);
});

test('[T06] what is misspelt in a descriptor or in options is an error', (t) => {
  const draft = (field: object): never => {
    const types = { 'a.T': { kind: 'struct', fields: [{ name: 'a', kind: 'u8', ...field }] } };
    return { abi: 1, format: 'rkyv0.8/le/aligned/p32', root: 'a.T', types } as never;
  };
  for (const field of [{ defualt: 3 }, { alias: ['b'] }, { default: 256 }, { kind: 'str' }]) {
    t.throws(() => compile(draft(field)), { code: 'ERR_SCHEMA_INVALID' }, JSON.stringify(field));
  }
  t.notThrows(() => compile(draft({ kind: 'u64', default: 5n })));
  t.notThrows(() => compile(JSON.stringify(draft({ later: true }))), 'of a later version');
  t.throws(() => compile({ foo: 1 } as never), { message: /no descriptor/ });
  t.throws(() => compile(draft({}), { u64s: 'number' } as never), { message: /u64s.*mean u64/ });
});

test('[T18] misspelt options of typed pipes are errors', async (t) => {
  const codec = compile<{ a: number }>(one({ a: 'u8' }));
  const listener = bindInproc('schema-edges-options');
  const pipe = connectInproc('schema-edges-options');
  t.throws(() => pipe.typed(codec, { resolv: true } as never), { message: /resolv/ });
  t.throws(() => pipe.typed(undefined as never), { message: /codec is undefined/ });
  const typed = pipe.typed(codec);
  await t.throwsAsync(typed.receive({ timeout: 5 } as never), { message: /timeout.*timeoutMs/ });
  await t.throwsAsync(typed.send({ a: 1 }, { timoutMs: 5 } as never), { message: /timoutMs/ });
  await pipe.close();
  await listener.close();
});

for (const mode of MODES) {
  test(`[T35] ${mode}: many lists of nothing are bounded together`, (t) => {
    const codec = compile<{ v: object[][] }>(
      describe('a.T', { 'a.T': { v: ['vec', ['vec', 'a.U']] }, 'a.U': null }),
      { mode },
    );
    const value = (lists: number): { v: object[][] } => {
      const list = Array.from({ length: 4096 }, () => ({}));
      return { v: Array.from({ length: lists }, () => list) };
    };
    const most = codec.encode(value(16));
    t.is(codec.decode(most).v.length, 16);
    t.is(codec.view(most).v.toArray().length, 16);
    const message = /values that take no bytes/;
    t.throws(() => codec.encode(value(17)), { code: 'ERR_SERIALIZE_FAILED', message });
    t.is(codec.encodedSize(value(16)), most.length);
    const lists = 2000;
    const many = Buffer.alloc(lists * 8 + 8);
    for (let i = 0; i < lists; i++) many.writeUInt32LE(4096, i * 8 + 4);
    many.writeInt32LE(-lists * 8, lists * 8);
    many.writeUInt32LE(lists, lists * 8 + 4);
    const refusal = { code: 'ERR_ARCHIVE_INVALID', message: /values of no bytes/ };
    t.throws(() => codec.decode(many), refusal);
    t.throws(() => codec.view(many).v.toArray(), refusal);
    t.is(codec.view(many).v.at(1999).length, 4096);
  });

  test(`[T34] ${mode}: bytes that are refused leave the last ones open`, (t) => {
    const codec = compile<{ n: number; s: string }>(one({ n: 'u32', s: 'string' }), { mode });
    const value = { n: 7, s: 'a text that is not inline' };
    const archive = codec.encode(value);
    const [bytes, target] = [new Uint8Array(archive), new Uint8Array(64)];
    const view = codec.view(bytes);
    t.is(codec.encodeInto(value, target), archive.length);
    // Memory of which there is a DataView, but no Buffer: as if it were longer than one may be.
    const { from } = Buffer;
    const others = [new Uint8Array(128), new Uint8Array(256)] as const;
    Buffer.from = () => {
      throw new RangeError('too long');
    };
    try {
      t.throws(() => codec.decode(others[0]), { code: 'ERR_BUFFER_DETACHED' });
      t.throws(() => codec.encodeInto(value, others[1]), { code: 'ERR_BUFFER_DETACHED' });
    } finally {
      Buffer.from = from;
    }
    t.deepEqual(codec.decode(bytes), value);
    t.is((view as unknown as { $move(b: Uint8Array): typeof view }).$move(bytes).n, 7);
    target.fill(0xee);
    t.is(codec.encodeInto(value, target), archive.length);
    t.deepEqual(Buffer.from(target.subarray(0, archive.length)), archive);
    t.true(
      others.every((other) => other.every((byte) => byte === 0)),
      'nothing is written there',
    );
  });

  test(`[T34] ${mode}: bytes whose buffer was transferred are said to be`, (t) => {
    const codec = compile<{ n: number; s: string }>(one({ n: 'u32', s: 'string' }), { mode });
    const archive = codec.encode({ n: 7, s: 'a text that is not inline' });
    const known = new Uint8Array(archive);
    t.is(codec.decode(known).n, 7);
    const view = codec.view(known) as unknown as { n: number; $move(bytes: Uint8Array): object };
    structuredClone(known.buffer, { transfer: [known.buffer] });
    const fresh = new Uint8Array(archive);
    structuredClone(fresh.buffer, { transfer: [fresh.buffer] });
    for (const bytes of [known, fresh]) {
      const looks = [
        () => codec.decode(bytes),
        () => codec.view(bytes),
        () => view.$move(bytes),
        () => codec.validate(bytes),
      ];
      for (const look of looks) t.throws(look, { code: 'ERR_BUFFER_DETACHED' }, `${look}`);
    }
    t.throws(() => view.n, { instanceOf: TypeError });
    t.throws(() => codec.decode(new Uint8Array(0)), { code: 'ERR_ARCHIVE_INVALID' });
  });
}

test('[T34] an archive ends where its pointers do, whatever room there is', (t) => {
  const [limit, offset] = [2 ** 31 - 1, 16];
  const target = new Uint8Array(2 ** 31 + 64);
  const s = new Sink();
  const start = s.into(target, offset);
  t.is(s.take(limit - 7, 1), start);
  t.throws(() => s.take(8, 8), { message: OVERFLOW.message });
  t.is(s.take(7, 1), start + limit - 7);
  t.throws(() => s.take(1, 1), { message: OVERFLOW.message });
});
