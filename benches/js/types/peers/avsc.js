// @ts-check
/**
 * avsc, Avro with generated code: 64-bit integers as numbers, enums by name, an option as a union
 * with null.
 */
import avro from 'avsc';

import { NAMES } from '../payloads.js';

const FLOATS = { type: 'array', items: 'float' };
const POSITION = record('Position', {
  id: 'long',
  pos: FLOATS,
  vel: FLOATS,
  flags: 'long',
  ts: 'long',
});
const SCHEMAS = {
  position: POSITION,
  order: record('Order', {
    id: 'long',
    symbol: 'string',
    side: { type: 'enum', name: 'Side', symbols: ['Buy', 'Sell'] },
    price: 'double',
    qty: 'double',
    tags: { type: 'array', items: 'string' },
    note: ['null', 'string'],
  }),
  snapshot: record('Snapshot', {
    entities: {
      type: 'array',
      items: record('Entity', { position: POSITION, name: 'string' }),
    },
  }),
  blob: record('Blob', {
    header: record('Header', { id: 'long', kind: 'int' }),
    bytes: 'bytes',
  }),
};

/** @type {import('../codec.js').Setup} */
export function setup(payload) {
  const type = avro.Type.forSchema(SCHEMAS[/** @type {keyof typeof SCHEMAS} */ (payload)]);
  return {
    forms: NAMES,
    // It takes bytes in Buffers only.
    wrap: payload === 'blob' ? withBuffer : undefined,
    encode: (value) => type.toBuffer(value),
    encodeInto: (value, target) => type.encode(value, target, 0),
    decode: (message) => type.fromBuffer(message),
  };
}

function withBuffer(/** @type {any} */ { header, bytes }) {
  return { header, bytes: Buffer.from(bytes) };
}

/**
 * @param {string} name
 * @param {Record<string, any>} fields
 * @returns {any}
 */
function record(name, fields) {
  const list = Object.entries(fields).map(([field, type]) => ({ name: field, type }));
  return { type: 'record', name, fields: list };
}
