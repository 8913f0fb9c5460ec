// @ts-check
/**
 * Busbar's own codecs. Reading moves one cursor from message to message. `intern` shares short
 * strings, `place` says where messages are read, `resolves` reads what an older version wrote.
 */
import { compile } from '../../../../index.js';
import { fresh } from '../codec.js';
import { NAMES } from '../payloads.js';

const TRIPLE = { kind: 'array', length: 3, elem: { kind: 'f32' } };
const POSITION = struct({
  id: { kind: 'u64' },
  pos: TRIPLE,
  vel: TRIPLE,
  flags: { kind: 'u32', default: 0 },
  ts: { kind: 'u64' },
});
const SIDE = {
  kind: 'enum',
  variants: ['Buy', 'Sell'].map((name) => ({ name, shape: 'unit', fields: [] })),
};
const ORDER = struct({
  id: { kind: 'u64' },
  symbol: { kind: 'string' },
  side: { kind: 'type', type: 'bench.Side' },
  price: { kind: 'f64' },
  qty: { kind: 'f64', default: 0 },
  tags: { kind: 'vec', elem: { kind: 'string' } },
  note: { kind: 'option', elem: { kind: 'string' } },
});
const SNAPSHOT = struct({
  entities: { kind: 'vec', elem: { kind: 'type', type: 'bench.Entity' } },
});
const ENTITY = struct({
  position: { kind: 'type', type: 'bench.Position' },
  name: { kind: 'string' },
});
const BLOB = struct({
  header: { kind: 'type', type: 'bench.Header' },
  bytes: { kind: 'vec', elem: { kind: 'u8' } },
});
const HEADER = struct({ id: { kind: 'u64' }, kind: { kind: 'u16' } });

/** The types of each payload, the first of them its root. @type {Record<string, Types>} */
const TYPES = {
  position: { 'bench.Position': POSITION },
  order: { 'bench.Order': ORDER, 'bench.Side': SIDE },
  snapshot: { 'bench.Snapshot': SNAPSHOT, 'bench.Entity': ENTITY, 'bench.Position': POSITION },
  blob: { 'bench.Blob': BLOB, 'bench.Header': HEADER },
};

/**
 * Older versions: the fields in reverse, and without the one that readers have a default for.
 *
 * @type {Record<string, Types>}
 */
const WRITERS = {
  position: { 'bench.Position': olderThan(POSITION) },
  order: { 'bench.Order': olderThan(ORDER), 'bench.Side': SIDE },
};

/**
 * What `pick` reads, in place.
 *
 * @type {Record<string, (cursor: any, wanted: any) => Read>}
 */
const READERS = {
  position: (cursor, wanted) => (bytes, offset, size) => {
    cursor.$move(bytes, offset, size);
    return (cursor.id === wanted.id ? 1 : 0) + cursor.pos.at(0);
  },
  order: (cursor, wanted) => (bytes, offset, size) => {
    cursor.$move(bytes, offset, size);
    return (cursor.symbol === wanted.symbol ? 1 : 0) + cursor.price;
  },
  snapshot: (cursor) => (bytes, offset, size) => {
    const { entities } = cursor.$move(bytes, offset, size);
    const { length } = entities;
    let sum = 0;
    for (let index = 0; index < length; index++) {
      const { position } = entities.at(index);
      sum += position.pos.at(0) + position.flags;
    }
    return sum;
  },
  blob: (cursor, wanted) => (bytes, offset, size) => {
    cursor.$move(bytes, offset, size);
    return (cursor.header.id === wanted.header.id ? 1 : 0) + cursor.bytes[7];
  },
};

/** @type {import('../codec.js').Setup} */
export function setup(payload, { intern = false, place = 'batch', resolves = false }) {
  const codec = codecOf(of(TYPES, payload), intern);
  const writer = resolves ? codecOf(of(WRITERS, payload), intern) : codec;
  const reader = resolves ? codec.resolve(writer.descriptor) : codec;
  return {
    forms: NAMES,
    place,
    encode: writer.encode,
    encodeInto: writer.encodeInto,
    decode: resolves ? undefined : codec.decode,
    read: (wanted) => fresh(of(READERS, payload))(reader.view(writer.encode(wanted)), wanted),
  };
}

/** @typedef {Record<string, object>} Types */
/** @typedef {import('../codec.js').Read} Read */

/**
 * @template T
 * @param {Record<string, T>} table
 * @param {string} payload
 * @returns {T}
 */
function of(table, payload) {
  const entry = table[payload];
  if (entry === undefined) throw new Error(`busbar does not do this with ${payload}`);
  return entry;
}

function codecOf(/** @type {Types} */ types, /** @type {boolean} */ intern) {
  const [root] = Object.keys(types);
  const descriptor = { abi: 1, format: 'rkyv0.8/le/aligned/p32', root, types };
  return compile(JSON.stringify(descriptor), { u64: 'number', intern });
}

function struct(/** @type {Record<string, object>} */ fields) {
  const named = Object.entries(fields).map(([name, kind]) => ({ name, ...kind }));
  return { kind: 'struct', fields: named };
}

function olderThan(/** @type {ReturnType<typeof struct>} */ { kind, fields }) {
  return { kind, fields: fields.filter((field) => !('default' in field)).toReversed() };
}
