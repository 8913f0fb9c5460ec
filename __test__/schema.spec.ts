/** Codecs of types described by hand, through the public API; Rust checks the same descriptors. */

import { readFileSync } from 'node:fs';

import test from 'ava';

import { BusbarError, compile, type Descriptor, type DescriptorDraft } from '../index.js';
import { random, seedOfRun } from './helpers/data.js';
import { pairOf } from './helpers/pairs.js';

/** Archives made by rkyv 0.8.16 of the values below. */
const ARCHIVES = JSON.parse(
  readFileSync(new URL('fixtures/archives.json', import.meta.url), 'utf8'),
) as Record<string, string>;

type UserType = DescriptorDraft['types'][string];
type Field = NonNullable<Extract<UserType, { kind: 'struct' }>['fields']>[number];

const u32 = { kind: 'u32' } as const;
const string = { kind: 'string' } as const;
const user = (type: string): { kind: 'type'; type: string } => ({ kind: 'type', type });

const POSITION: UserType = struct([
  { name: 'id', kind: 'u64', ts: 'number' },
  { name: 'pos', kind: 'array', length: 3, elem: { kind: 'f32' } },
  { name: 'vel', kind: 'array', length: 3, elem: { kind: 'f32' } },
  { name: 'flags', kind: 'u32' },
  { name: 'ts', kind: 'u64' },
]);

const TYPES: Readonly<Record<string, UserType>> = {
  'market.Position': POSITION,
  'market.Side': plain(['Buy', 'Sell']),
  'market.Order': struct([
    { name: 'id', kind: 'u64' },
    { name: 'symbol', kind: 'string' },
    { name: 'side', ...user('market.Side') },
    { name: 'price', kind: 'f64' },
    { name: 'qty', kind: 'f64' },
    { name: 'tags', kind: 'vec', elem: string },
    { name: 'note', kind: 'option', elem: string },
  ]),
  'market.Entity': struct([
    { name: 'position', ...user('market.Position') },
    { name: 'name', kind: 'string' },
  ]),
  'market.Snapshot': struct([
    { name: 'tick', kind: 'u64' },
    { name: 'entities', kind: 'vec', elem: user('market.Entity') },
  ]),
  'spec.Scalars': struct(
    ['bool', 'u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64', 'u128', 'i128', 'f32', 'f64']
      .concat(['char', 'unit'])
      .map((kind, i) => ({ name: 'abcdefghijklmno'.charAt(i), kind }) as Field),
  ),
  'spec.Plain': {
    kind: 'enum',
    variants: [
      { name: 'North', shape: 'unit', fields: [] },
      { name: 'East', tag: 5, shape: 'unit', fields: [] },
      { name: 'South', tag: 6, shape: 'unit', fields: [] },
    ],
  },
  'spec.Shape': {
    kind: 'enum',
    variants: [
      { name: 'Empty', tag: 0, shape: 'unit', fields: [] },
      {
        name: 'Rgb',
        tag: 1,
        shape: 'tuple',
        fields: [
          { name: '0', kind: 'u8' },
          { name: '1', kind: 'u16' },
          { name: '2', kind: 'u8' },
        ],
      },
      {
        name: 'Circle',
        tag: 2,
        shape: 'named',
        fields: [
          { name: 'radius', kind: 'f64' },
          { name: 'label', kind: 'string' },
        ],
      },
      {
        name: 'Nested',
        tag: 3,
        shape: 'tuple',
        fields: [{ name: '0', kind: 'box', elem: user('spec.Plain') }],
      },
    ],
  },
  'spec.Pair': {
    kind: 'struct',
    shape: 'tuple',
    fields: [
      { name: '0', kind: 'string' },
      { name: '1', kind: 'u32' },
    ],
  },
  'spec.Unit': { kind: 'struct', shape: 'unit', fields: [] },
  'spec.Node': struct([
    { name: 'name', kind: 'string' },
    {
      name: 'next',
      kind: 'option',
      elem: { kind: 'box', elem: { kind: 'type', type: 'spec.Node', recursive: true } },
    },
    { name: 'kids', kind: 'vec', elem: { kind: 'type', type: 'spec.Node', recursive: true } },
  ]),
  'spec.Wide': struct([
    { name: 'text', kind: 'string' },
    { name: 'boxed', kind: 'boxstr' },
    { name: 'bytes', kind: 'vec', elem: { kind: 'u8' } },
    { name: 'fixed', kind: 'array', length: 3, elem: { kind: 'u8' } },
    { name: 'words', kind: 'vec', elem: { kind: 'u16' } },
    { name: 'matrix', kind: 'vec', elem: { kind: 'vec', elem: u32 } },
    { name: 'names', kind: 'vec', elem: string },
    { name: 'slice', kind: 'boxslice', elem: string },
    { name: 'big', kind: 'box', elem: { kind: 'u64' } },
    { name: 'tuple', kind: 'tuple', elems: [{ kind: 'u8' }, string, u32] },
    { name: 'triple', kind: 'array', length: 2, elem: user('spec.Pair') },
    { name: 'unit', ...user('spec.Unit') },
    { name: 'none', kind: 'option', elem: string },
    { name: 'some', kind: 'option', elem: string },
    { name: 'nested', kind: 'option', elem: { kind: 'option', elem: { kind: 'u16' } } },
    { name: 'empty', kind: 'vec', elem: { kind: 'u64' } },
    { name: 'shapes', kind: 'vec', elem: user('spec.Shape') },
    { name: 'plain', ...user('spec.Plain') },
  ]),
};

const node = (name: string, next: unknown = null, kids: unknown[] = []): unknown => {
  return { name, next, kids };
};

/** What each archive is of. Those of the market are read and written back. */
const VALUES: readonly [archive: string, type: string, value: unknown][] = [
  [
    'scalars',
    'spec.Scalars',
    {
      a: true,
      b: 200,
      c: -100,
      d: 60_000,
      e: -30_000,
      f: 4_000_000_000,
      g: -2_000_000_000,
      h: 1n << 63n,
      i: -(1n << 63n),
      j: (1n << 128n) - 6n,
      k: -(1n << 127n) + 7n,
      l: 1.5,
      m: -0.1,
      n: '🦀',
      o: null,
    },
  ],
  [
    'node',
    'spec.Node',
    node('root of the tree', node('next'), [
      node('first child', null, [node('grandchild')]),
      node('b'),
    ]),
  ],
  [
    'wide',
    'spec.Wide',
    {
      text: 'exactly8',
      boxed: 'Grüße',
      bytes: Uint8Array.of(1, 2, 3, 4, 5),
      fixed: Uint8Array.of(7, 8, 9),
      words: [1, 500, 65_535],
      matrix: [[1, 2], [], [3]],
      names: ['short', 'rather long name', ''],
      slice: ['one', 'two hundred and two'],
      big: 1n << 40n,
      tuple: [9, 'in a tuple, long', 77],
      triple: [
        ['left', 1],
        ['right hand side', 2],
      ],
      unit: {},
      none: null,
      some: 'something more',
      nested: { some: null },
      empty: [],
      shapes: [
        { kind: 'Empty' },
        { kind: 'Rgb', value: [1, 2, 3] },
        { kind: 'Circle', value: { radius: 2.5, label: 'a round one' } },
        { kind: 'Nested', value: ['East'] },
      ],
      plain: 'South',
    },
  ],
];

const RECORDED: readonly [archive: string, type: string][] = [
  ['position', 'market.Position'],
  ['order0', 'market.Order'],
  ['order1', 'market.Order'],
  ['snapshot3', 'market.Snapshot'],
];

for (const [archive, type, value] of VALUES) {
  test(`[T02] ${archive}: the archive is rkyv's, byte for byte, and reads as it was`, (t) => {
    const codec = compile(describe(type));
    t.is(hex(codec.encode(value)), archiveOf(archive));
    t.deepEqual(codec.decode(bytesOf(archive)), value);
    const target = new Uint8Array(2000).fill(0xee);
    const length = codec.encodeInto(value, target, 8);
    t.is(hex(target.subarray(8, 8 + length)), archiveOf(archive));
    t.true(
      target.subarray(8 + length).every((byte) => byte === 0xee),
      'nothing beyond',
    );
    const small = target.subarray(0, 8 + length - 1);
    t.throws(() => codec.encodeInto(value, small, 8), { code: 'ERR_BUFFER_TOO_SMALL' });
  });
}

for (const [archive, type] of RECORDED) {
  test(`[T02] ${archive}: what rkyv wrote reads, and is written the same`, (t) => {
    const codec = compile<Record<string, unknown>>(describe(type));
    const value = codec.decode(bytesOf(archive));
    t.is(hex(codec.encode(value)), archiveOf(archive));
    if (archive === 'order0') t.like(value, { symbol: 'BTC-USDT', side: 'Buy', qty: 0.5 });
    if (archive === 'order1') t.like(value, { side: 'Sell', tags: ['algo', 'ioc', 'desk7', 'eu'] });
    if (archive === 'position') t.like(value, { id: 1_000_001, flags: 0xdead_0001 });
  });
}

test('[T25] Rust checks the same descriptors, texts and hashes', (t) => {
  // crates/busbar-types/tests/it/descriptors.rs reads what is recorded here.
  const ours = Object.keys(TYPES).map((name) => JSON.parse(compile(describe(name)).descriptor));
  const recorded = new URL('fixtures/descriptors.json', import.meta.url);
  t.deepEqual(JSON.parse(readFileSync(recorded, 'utf8')), ours);
});

test('[T35] archives that break the rules are refused, whatever is in them', (t) => {
  const codec = compile(describe('market.Order'));
  const good = bytesOf('order0');
  const broken: [string, (bytes: Buffer) => Buffer][] = [
    ['too short', (bytes) => bytes.subarray(0, 63)],
    ['empty', () => Buffer.alloc(0)],
    ['bytes behind the root', (bytes) => Buffer.concat([bytes, Buffer.alloc(8)])],
    ['a tag beyond the variants', (bytes) => set(bytes, 'side', 2)],
    ['an option of tag 2', (bytes) => set(bytes, 'note', 2)],
    ['a pointer before the start', (bytes) => set(bytes, 'tags', 0, 0, 0, 0x80)],
    ['a length beyond the end', (bytes) => set(bytes, 'length', 0xff, 0xff, 0xff, 0x7f)],
  ];
  for (const [what, spoil] of broken) {
    const bytes = spoil(Buffer.from(good));
    t.throws(() => codec.validate(bytes), { code: 'ERR_ARCHIVE_INVALID' }, what);
  }
  const nodes = compile(describe('spec.Node'));
  const cycle = bytesOf('node');
  cycle.writeInt32LE(-16, cycle.length - 16 + 8 - 4);
  t.throws(() => nodes.validate(cycle), { code: 'ERR_ARCHIVE_INVALID' }, 'a list of itself');
});

test('[T35] mutated archives are values or typed errors; valid ones are always values', (t) => {
  const seed = seedOfRun();
  t.log(`BUSBAR_SEED=${seed}`);
  const chance = random(seed);
  const below = (end: number): number => Math.floor(chance() * end);
  const all = [...VALUES, ...RECORDED] as [string, string][];
  const rounds = Math.ceil(Number(process.env['BUSBAR_FUZZ_ROUNDS'] ?? 100_000) / all.length);
  const tally = { valid: 0, value: 0, refused: 0 };
  for (const [archive, type] of all) {
    const codec = compile(describe(type));
    const view = codec.view(bytesOf(archive));
    const good = bytesOf(archive);
    for (let i = 0; i < rounds; i++) {
      const bytes = Buffer.from(good);
      for (let n = 1 + below(3); n > 0; n--) bytes[below(bytes.length)] = below(256);
      const isValid = !refused(() => codec.validate(bytes));
      const isValue = !refused(() => codec.encode(codec.decode(bytes)), /too large for a number/);
      refused(() => view.$move(bytes).$toObject());
      if (isValid && !isValue) t.fail(`a valid archive is no value: ${hex(bytes)}`);
      tally.valid += Number(isValid);
      tally.value += Number(isValue);
      tally.refused += Number(!isValue);
    }
  }
  t.true(tally.valid > 1000 && tally.refused > 1000, JSON.stringify(tally));
});

const REFUSALS: ReadonlySet<string> = new Set(['ERR_ARCHIVE_INVALID', 'ERR_SCHEMA_VARIANT']);

/** Whether reading is refused, as it should be where there is no value; unless for `reason`. */
function refused(read: () => unknown, reason?: RegExp): boolean {
  try {
    read();
    return false;
  } catch (error) {
    if (error instanceof Error && reason?.test(error.message) === true) return false;
    if (error instanceof BusbarError && REFUSALS.has(error.code)) return true;
    throw error;
  }
}

test('[T18 T26] described values travel through a pipe', async (t) => {
  const { client, server } = await pairOf(t, 'shm');
  const codec = compile(describe('spec.Wide'));
  const wide = VALUES[2]?.[2];
  await client.typed(codec).sendBatch([wide, wide]);
  const far = server.typed(compile(JSON.parse(codec.descriptor) as Descriptor));
  t.deepEqual(await far.receive(), wide);
  t.deepEqual(await far.receive(), wide);
});

function struct(fields: readonly Field[]): UserType {
  return { kind: 'struct', fields };
}

function plain(names: readonly string[]): UserType {
  const shape = 'unit';
  return { kind: 'enum', variants: names.map((name, tag) => ({ name, tag, shape, fields: [] })) };
}

function describe(root: string): DescriptorDraft {
  return { abi: 1, format: 'rkyv0.8/le/aligned/p32', root, types: TYPES };
}

function archiveOf(name: string): string {
  return ARCHIVES[name] as string;
}

function bytesOf(archive: string): Buffer {
  return Buffer.from(archiveOf(archive), 'hex');
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Where parts of an order lie, from the start of its root. */
const PARTS = { side: 16, tags: 40, length: 44, note: 48 } as const;

function set(bytes: Buffer, part: keyof typeof PARTS, ...to: number[]): Buffer {
  Buffer.from(to).copy(bytes, bytes.length - 64 + PARTS[part]);
  return bytes;
}
