/** Maps whose keys or values are of another version, odd or hostile. */

import test from 'ava';

import { compile } from '../lib/schema/codec.js';
import type { Descriptor } from '../lib/schema/descriptor.js';
import { describe, type Sketch, type TypeSketch } from './helpers/schemas.js';

const MODES = ['generated', 'interpreted'] as const;
const KINDS = ['hashmap', 'btreemap'] as const;

type Types = Readonly<Record<string, TypeSketch>>;
type Holder<K, V> = { m: Map<K, V> };

const holder = (map: Sketch, types: Types = {}): Descriptor =>
  describe('a.T', { 'a.T': { m: map }, ...types });

interface Cursor<K, V> {
  m: { get(key: K): V | undefined; keys(): K[]; toMap(): Map<K, V> };
}

for (const mode of MODES) {
  for (const kind of KINDS) {
    test(`[T10] ${mode}: a ${kind} with values of another version is read as the own one`, (t) => {
      const before = holder([kind, 'string', 'a.P'], { 'a.P': { x: 'u32' } });
      const after = holder([kind, 'string', 'a.P'], {
        'a.P': { x: 'u32', y: { of: 'u32', default: 7 }, tags: ['option', 'string'] },
      });
      const archive = compile<Holder<string, { x: number }>>(before, { mode }).encode({
        m: new Map([
          ['a', { x: 1 }],
          ['b', { x: 2 }],
        ]),
      });
      const read = compile<Holder<string, object>>(after, { mode }).resolve(before);
      const { m } = read.decode(archive);
      t.is(m.size, 2);
      t.deepEqual(m.get('a'), { x: 1, y: 7, tags: null });
      const view = read.view(archive) as unknown as Cursor<string, { x: number; y: number }>;
      t.is(view.m.get('b')?.x, 2);
      t.is(view.m.get('b')?.y, 7);
      t.is(view.m.get('c'), undefined);

      const plain = holder([kind, 'string', 'u8']);
      const optional = holder([kind, 'string', ['option', 'u16']]);
      const bytes = compile<Holder<string, number>>(plain, { mode }).encode({
        m: new Map([['k', 3]]),
      });
      const widened = compile(optional, { mode }).resolve(plain);
      t.deepEqual(widened.decode(bytes), { m: new Map([['k', 3]]) });
    });

    test(`[T10] ${mode}: a ${kind} with keys of another version is read as the own one`, (t) => {
      const plain = holder([kind, 'u32', 'u8']);
      const optional = holder([kind, ['option', 'u32'], 'u8']);
      const numbers = new Map([
        [1, 10],
        [2, 20],
      ]);
      const bytes = compile<Holder<number, number>>(plain, { mode }).encode({ m: numbers });
      const widened = compile<Holder<number | null, number>>(optional, { mode }).resolve(plain);
      t.deepEqual(widened.decode(bytes).m, numbers);
      const cursor = widened.view(bytes) as unknown as Cursor<number | null, number>;
      t.is(cursor.m.get(2), 20);
      t.is(cursor.m.get(null), undefined);
      t.is(cursor.m.get(3), undefined);

      const before = holder([kind, 'a.K', 'u8'], { 'a.K': { x: 'u32' } });
      const after = holder([kind, 'a.K', 'u8'], {
        'a.K': { x: 'u32', y: { of: 'u32', default: 7 }, z: ['option', 'string'] },
      });
      const archive = compile<Holder<object, number>>(before, { mode }).encode({
        m: new Map([
          [{ x: 1 }, 10],
          [{ x: 2 }, 20],
        ]),
      });
      const resolved = compile<Holder<object, number>>(after, { mode }).resolve(before);
      const keys = [
        { x: 1, y: 7, z: null },
        { x: 2, y: 7, z: null },
      ];
      const sorted = [...resolved.decode(archive).m].sort(([, a], [, b]) => a - b);
      t.deepEqual(sorted, [
        [keys[0], 10],
        [keys[1], 20],
      ]);
      const view = resolved.view(archive) as unknown as Cursor<object, number>;
      t.is(view.m.get({ x: 2, y: 7, z: null }), 20);
      t.is(view.m.get({ x: 2, y: 7 }), 20, 'what is missing is None');
      t.is(view.m.get({ x: 2, y: 8, z: null }), undefined, 'no key has another y');
    });

    test(`[T10] ${mode}: variants that a ${kind} was not written with are not found`, (t) => {
      const side = (names: readonly string[], more: object = {}): Types => {
        const list = Object.fromEntries(names.map((name) => [name, null]));
        return { 'a.S': { enum: list, ...more } as TypeSketch };
      };
      const before = holder([kind, 'a.S', 'u8'], side(['A', 'B']));
      const after = holder([kind, 'a.S', 'u8'], side(['A', 'B', 'C']));
      const archive = compile<Holder<string, number>>(before, { mode }).encode({
        m: new Map([['A', 1]]),
      });
      const read = compile<Holder<string, number>>(after, { mode }).resolve(before);
      const view = read.view(archive) as unknown as Cursor<string, number>;
      t.is(view.m.get('A'), 1);
      t.is(view.m.get('C'), undefined);
      t.deepEqual(read.decode(archive).m, new Map([['A', 1]]));
    });
  }
}

for (const mode of MODES) {
  test(`[T06] ${mode}: undefined, or no member, is None in keys of maps as well`, (t) => {
    const tuples = Array.from({ length: 40 }, (_, i) => [i % 2 === 0 ? null : i, i] as const);
    for (const kind of KINDS) {
      const codec = compile<Holder<unknown, number>>(
        holder([kind, ['tuple', ['option', 'u32'], 'u32'], 'u8']),
        { mode },
      );
      const encode = (none: null | undefined): string =>
        codec.encode({ m: new Map(tuples.map(([a, b]) => [[a ?? none, b], b])) }).toString('hex');
      t.is(encode(undefined), encode(null), kind);

      const structs = compile<Holder<object, number>>(
        holder([kind, 'a.K', 'u8'], { 'a.K': { x: ['option', 'u8'], y: 'u8' } }),
        { mode },
      );
      const [absent, present] = [{ y: 1 }, { x: null, y: 1 }];
      const bytes = structs.encode({ m: new Map([[absent, 5]]) });
      t.deepEqual(bytes, structs.encode({ m: new Map([[present, 5]]) }));
      const doubled = [
        [absent, 1],
        [present, 2],
      ] as const;
      const twice = { m: new Map<object, number>(doubled) };
      t.throws(() => structs.encode(twice), { code: 'ERR_SERIALIZE_FAILED' }, kind);

      const options = compile<Holder<number | null | undefined, number>>(
        holder([kind, ['option', 'u8'], 'u8']),
        { mode },
      );
      const none = options.encode({ m: new Map([[undefined, 5]]) });
      t.deepEqual(none, options.encode({ m: new Map([[null, 5]]) }));
      t.is(options.view(none).m.get(undefined), 5);
      for (const keys of [
        [3, null, undefined],
        [undefined, null, 3],
      ]) {
        const both = { m: new Map(keys.map((key) => [key, 1])) };
        t.throws(() => options.encode(both), { code: 'ERR_SERIALIZE_FAILED' }, kind);
      }
    }
  });

  test(`[T35] ${mode}: maps in the same bytes are refused before they take long`, (t) => {
    for (const kind of KINDS) {
      const codec = compile<{ v: Map<number, number>[] }>(
        describe('a.T', { 'a.T': { v: ['vec', [kind, 'u8', 'u8']] } }),
        { mode },
      );
      const entries = Array.from({ length: 5 }, (_, i) => [i, i] as const);
      const one = codec.encode({ v: [new Map(entries)] });
      const header = kind === 'hashmap' ? 12 : 8;
      const maps = one.length - header - 8;
      const at = one.readInt32LE(maps) + maps;
      const count = 2000;
      const many = Buffer.alloc(maps + count * header + 8);
      one.copy(many, 0, 0, maps);
      // Nothing is in it, so that there is nothing to read but where something could be.
      if (kind === 'hashmap') many.fill(0xff, at, at + 21);
      else many.writeUInt32LE(0, at + 12);
      for (let i = 0; i < count; i++) {
        const p = maps + i * header;
        many.writeInt32LE(at - p, p);
        one.copy(many, p + 4, maps + 4, maps + header);
      }
      const end = many.length - 8;
      many.writeInt32LE(maps - end, end);
      many.writeUInt32LE(count, end + 4);
      t.throws(() => codec.decode(many), { code: 'ERR_ARCHIVE_INVALID' }, kind);
      t.throws(() => codec.view(many).v.toArray(), { code: 'ERR_ARCHIVE_INVALID' }, kind);
      t.is(
        codec
          .view(many)
          .v.at(count - 1)
          .get(3),
        undefined,
        'one of them may be looked at',
      );
    }
  });

  test(`[T35] ${mode}: a table with next to nothing in many buckets is refused`, (t) => {
    const codec = compile<Holder<number, number>>(holder(['hashmap', 'u8', 'u8']), { mode });
    const capacity = 4096;
    const controls = capacity + 15;
    const bytes = Buffer.alloc(capacity * 2 + controls + 1 + 12, 0);
    const at = capacity * 2;
    bytes.fill(0xff, at, at + controls);
    bytes[at] = 5;
    bytes[at + capacity] = 5;
    const p = bytes.length - 12;
    bytes.writeInt32LE(at - p, p);
    bytes.writeUInt32LE(1, p + 4);
    bytes.writeUInt32LE(capacity, p + 8);
    const message = /a table of 1 has 4096 buckets/;
    t.throws(() => codec.decode(bytes), { code: 'ERR_ARCHIVE_INVALID', message });
    t.throws(() => codec.view(bytes).m.get(0), { code: 'ERR_ARCHIVE_INVALID', message });
  });

  test(`[T10] ${mode}: keys that become one in another version are refused, not lost`, (t) => {
    for (const kind of KINDS) {
      const side = (names: readonly string[], more: object = {}): Types => {
        const list = Object.fromEntries(names.map((name) => [name, null]));
        return { 'a.S': { enum: list, ...more } as TypeSketch };
      };
      const before = holder([kind, 'a.S', 'u8'], side(['A', 'B', 'C']));
      const after = holder([kind, 'a.S', 'u8'], side(['A'], { defaultVariant: 'A' }));
      const writer = compile<Holder<string, number>>(before, { mode });
      const reader = compile<Holder<string, number>>(after, { mode }).resolve(before);
      const two = writer.encode({
        m: new Map([
          ['A', 1],
          ['C', 2],
        ]),
      });
      const refusal = { code: 'ERR_ARCHIVE_INVALID', message: /occurs twice/ };
      t.throws(() => reader.decode(two), refusal, kind);
      t.throws(() => reader.view(two).m.toMap(), refusal, kind);
      t.deepEqual(reader.decode(writer.encode({ m: new Map([['C', 2]]) })).m, new Map([['A', 2]]));

      const wide = holder([kind, 'a.K', 'u8'], { 'a.K': { x: 'u8', y: 'u8' } });
      const narrow = holder([kind, 'a.K', 'u8'], { 'a.K': { x: 'u8' } });
      const keys = (...ys: number[]): Holder<object, number> => {
        return { m: new Map(ys.map((y) => [{ x: y % 2, y }, y])) };
      };
      const structs = compile<Holder<object, number>>(wide, { mode });
      const fewer = compile<Holder<object, number>>(narrow, { mode }).resolve(wide);
      t.throws(() => fewer.decode(structs.encode(keys(1, 2, 3))), refusal, kind);
      t.is(fewer.decode(structs.encode(keys(1, 2))).m.size, 2);
    }
  });
}
