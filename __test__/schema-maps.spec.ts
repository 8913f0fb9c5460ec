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
