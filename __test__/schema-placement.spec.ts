/** Where codecs write: at every offset, in memory of every size, and nowhere but in their place. */

import { constants } from 'node:buffer';

import test, { type ExecutionContext } from 'ava';

import { compile, type ArchiveCodec } from '../lib/schema/codec.js';
import type { Descriptor } from '../lib/schema/descriptor.js';
import { describe, GOLDEN, SAMPLES, type Sketch } from './helpers/schemas.js';

const MODES = ['generated', 'interpreted'] as const;
const FILL = 0xaa;

const NESTED = { 'a.Odd': { a: ['option', 'u16'], b: 'u8' } };
const TAGGED = { 'a.Tag': { enum: { None: null, Pair: ['u8', 'u16'], Wide: ['u16', 'u16'] } } };

/** Types with options and padding: alignment, fields, and values of each field. */
const PADDED: readonly (readonly [number, Readonly<Record<string, [Sketch, ...unknown[]]>>])[] = [
  [1, { a: [['option', ['tuple', 'u8', 'u8', 'u8']], null, [1, 2, 3]] }],
  [
    1,
    { x: ['u8', 7], a: [['option', ['tuple', 'u8', 'i8', 'u8', 'bool']], null, [1, -2, 3, true]] },
  ],
  [1, { a: [['option', ['option', 'bool']], null, { some: null }, { some: true }] }],
  [
    1,
    { a: [['option', ['array', 'u8', '11']], null, Uint8Array.from({ length: 11 }, (_, i) => i)] },
  ],
  [
    1,
    {
      a: [
        ['array', ['option', 'u8'], '8'],
        [1, null, 3, null, null, null, null, 8],
      ],
    },
  ],
  [2, { a: [['option', 'u16'], null, 0xbeef] }],
  [2, { b: ['u16', 1], c: ['u16', 2], a: [['option', 'u16'], null, 3] }],
  [2, { a: [['option', ['option', 'u16']], null, { some: null }, { some: 5 }], z: ['u8', 9] }],
  [2, { a: [['option', ['tuple', 'u16', 'u8', 'i16']], null, [1, 2, -3]], z: ['u8', 9] }],
  [2, { a: ['a.Odd', { a: null, b: 1 }, { a: 2, b: 3 }], z: [['option', 'a.Odd'], null] }],
  [2, { a: ['a.Tag', { kind: 'None' }, { kind: 'Pair', value: [1, 2] }], z: ['u8', 1] }],
  [
    2,
    {
      a: [
        ['array', ['option', 'i16'], '3'],
        [null, -2, null],
        [1, null, 3],
      ],
    },
  ],
  [4, { a: [['option', 'u32'], null, 7], b: ['u8', 1], c: [['option', 'f32'], null, 1.5] }],
  [4, { b: ['u16', 1], a: [['option', ['tuple', 'u16', 'u32', 'u8']], null, [1, 2, 3]] }],
  [8, { b: ['u8', 1], a: [['option', 'f64'], null, -0.5], c: [['option', 'u16'], null, 9] }],
  [8, { a: [{ of: 'u64', ts: 'number' }, 2 ** 40], c: [['option', 'i32'], null, -9] }],
  [16, { a: ['u128', 2n ** 100n], c: [['option', 'u16'], null, 9] }],
];

/** Every combination of the fields' values. */
function valuesOf(fields: Readonly<Record<string, [Sketch, ...unknown[]]>>): unknown[] {
  return Object.entries(fields).reduce<object[]>(
    (values, [name, [, ...choices]]) =>
      values.flatMap((value) => choices.map((choice) => ({ ...value, [name]: choice }))),
    [{}],
  );
}

/** Writes a value at every offset, by offset and by subarray. */
function place(
  t: ExecutionContext,
  codec: ArchiveCodec<unknown>,
  value: unknown,
  archive: Buffer,
): void {
  const size = archive.length;
  const memory = new ArrayBuffer(size + 48);
  const all = Buffer.from(memory);
  for (let at = 0; at <= 16; at++) {
    const expected = Buffer.alloc(memory.byteLength, FILL);
    archive.copy(expected, 16 + at);
    const targets = [
      [all, 16 + at],
      [new Uint8Array(memory, 16), at],
      [new Uint8Array(memory, 16 + at, size), 0],
    ] as const;
    for (const [target, offset] of targets) {
      all.fill(FILL);
      const written = codec.encodeInto(value, target, offset);
      // An assertion for each of so many would take longer than all of the writing.
      if (written === size && all.equals(expected)) continue;
      t.is(written, size);
      t.is(all.toString('hex'), expected.toString('hex'), `at ${target.byteOffset} + ${offset}`);
    }
  }
}

function placeAll(t: ExecutionContext, descriptor: Descriptor, values: readonly unknown[]): void {
  const reference = compile(descriptor, { mode: 'interpreted' });
  for (const mode of MODES) {
    const codec = compile<unknown>(descriptor, { mode });
    for (const value of values) {
      const archive = codec.encode(value);
      t.is(archive.toString('hex'), reference.encode(value as never).toString('hex'));
      place(t, codec, value, archive);
    }
  }
}

for (const { name, type, hex } of GOLDEN) {
  test(`[T34] ${name} is written at every offset, and nothing beside it`, (t) => {
    const descriptor = SAMPLES[type] as Descriptor;
    placeAll(t, descriptor, [compile(descriptor).decode(Buffer.from(hex, 'hex'))]);
  });
}

for (const [index, [align, fields]] of PADDED.entries()) {
  test(`[T34] padding of alignment ${align} is written in its place only (${index})`, (t) => {
    const sketch = Object.fromEntries(Object.entries(fields).map(([name, [kind]]) => [name, kind]));
    const descriptor = describe('a.T', { 'a.T': sketch, ...NESTED, ...TAGGED });
    t.is(compile(descriptor).layout.types['a.T']?.align, align);
    placeAll(t, descriptor, valuesOf(fields));
  });
}

test('[T34] an enum of alignment 2 is written in its place only', (t) => {
  const values = [
    { kind: 'None' },
    { kind: 'Pair', value: [1, 2] },
    { kind: 'Wide', value: [3, 4] },
  ];
  placeAll(t, describe('a.Tag', TAGGED), values);
});

for (const mode of MODES) {
  test(`[T34] ${mode}: memory of 4 GiB and more is written to`, (t) => {
    const types = { 'a.T': { a: 'u32', b: ['option', 'f64'] } };
    const codec = compile<unknown>(describe('a.T', types), { mode });
    const value = { a: 7, b: 1.5 };
    const archive = codec.encode(value);
    for (const bytes of [2 ** 32 - 8, 2 ** 32, 2 ** 32 + 64]) {
      let memory: ArrayBuffer;
      try {
        memory = new ArrayBuffer(bytes);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        t.log(`there is no memory of ${bytes} bytes here`);
        continue;
      }
      for (const from of [0, bytes - 64]) {
        const target = new Uint8Array(memory, from, 64);
        if (bytes > constants.MAX_LENGTH) {
          const error = { code: 'ERR_INVALID_ARGUMENT', message: /must have \d+ at most/ };
          t.throws(() => codec.encodeInto(value, target, 8), error);
          continue;
        }
        // Twice: the second time it is the memory that was written to last.
        for (let time = 0; time < 2; time++) {
          target.fill(FILL);
          t.is(codec.encodeInto(value, target, 8), archive.length);
          const expected = Buffer.alloc(64, FILL);
          archive.copy(expected, 8);
          t.is(Buffer.from(target).toString('hex'), expected.toString('hex'), `${bytes}: ${from}`);
        }
      }
    }
    const small = Buffer.alloc(archive.length);
    codec.encodeInto(value, small);
    t.deepEqual(small, archive);
  });
}
