// @ts-check
/**
 * Protobuf-ES with the code of protoc-gen-es. 64-bit integers are bigints, its fastest form.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';

import {
  BlobSchema,
  OrderSchema,
  PositionSchema,
  SnapshotSchema,
} from '../generated/protobuf.js';
import { BIGINTS } from '../payloads.js';

/** @type {Record<string, any>} */
const SCHEMAS = {
  position: PositionSchema,
  order: OrderSchema,
  snapshot: SnapshotSchema,
  blob: BlobSchema,
};

/** @type {import('../codec.js').Setup} */
export function setup(payload) {
  const schema = SCHEMAS[payload];
  return {
    // An absent field is undefined.
    forms: { ...BIGINTS, note: (text) => text ?? undefined },
    wrap: (value) => create(schema, value),
    encode: (message) => toBinary(schema, message),
    decode: (bytes) => fromBinary(schema, bytes),
  };
}
